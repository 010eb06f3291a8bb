"""What the detector costs, measured on loopback. Nothing here passes or fails on a time."""
