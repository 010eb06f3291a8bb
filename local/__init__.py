"""Runs the functions on a developer's machine: storage, ingestion endpoint, task hub and traffic, all on loopback."""
