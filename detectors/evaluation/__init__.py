"""Evaluates buckets, window by window: thresholds, suppression rules, newcomers, episodes. Pure."""
