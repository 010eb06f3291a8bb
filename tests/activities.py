"""Activities as function_app.py carries them out."""

from datetime import datetime
from inspect import signature
from typing import Any

from detectors import orchestration
from detectors.evaluator import Evaluator


def carry_out(name: str, evaluator: Evaluator, work: dict[str, Any], now: datetime) -> Any:  # noqa: ANN401 - JSON
    """Carry out an activity, and tell it the time if it asks."""
    activity = getattr(orchestration, name)
    return activity(evaluator, work, now) if "now" in signature(activity).parameters else activity(evaluator, work)
