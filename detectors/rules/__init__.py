"""Rules: what they count, in which groups, and when they fire. Each is a data file and a guide."""
