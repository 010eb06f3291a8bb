"""Detects abuse of LLM services on Azure from the diagnostic logs that they send to an Event Hub.

Data walks one way: records, tallies, buckets, results, findings.
"""

__version__ = "0.1.0"
