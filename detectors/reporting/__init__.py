"""Findings, heartbeats, and the sinks that they are posted to."""
