"""A batch of events -> what it adds to the buckets. Pure; does not know evaluation."""
