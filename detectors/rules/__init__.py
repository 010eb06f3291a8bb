"""Rules: what counts, in which groups, and when it fires. Each is a file of data and a guide."""
