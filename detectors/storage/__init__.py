"""Storage in tables: buckets of counts, the journal of windows, the quarantine, and results handed between steps."""
