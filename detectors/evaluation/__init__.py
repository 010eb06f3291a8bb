"""Buckets -> what a window says: thresholds, exceptions, newcomers, episodes. Pure; does not know ingestion."""
