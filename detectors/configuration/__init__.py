"""What the detector is told: app settings, and the tuning file that is kept as code."""
