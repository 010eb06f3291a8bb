"""Backtests: exported logs through the production code, in memory, with what-if thresholds."""
