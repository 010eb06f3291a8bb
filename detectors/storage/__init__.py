"""Tables: buckets of counts, the journal of windows, the quarantine, and what travels between steps."""
