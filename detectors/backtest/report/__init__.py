"""The report of a backtest: one HTML page that needs no network, no other file, and no JavaScript to be read."""

from detectors.backtest.report.page import render

__all__ = ["render"]
