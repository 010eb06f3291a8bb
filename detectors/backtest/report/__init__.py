"""A backtest as one HTML page that needs nothing else: no network, no other file, no JavaScript to be read."""

from detectors.backtest.report.page import render

__all__ = ["render"]
