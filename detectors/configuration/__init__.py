"""The configuration: app settings, and the tuning file that is kept as code."""
