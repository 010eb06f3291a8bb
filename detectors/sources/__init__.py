"""Log sources, one module each. What the rest of the detector knows of a cloud stands here."""
