"""How much work some code does, counted and not timed: calls of Python functions, whoever else uses the machine."""

import sys
from collections.abc import Callable

_TOOL = sys.monitoring.PROFILER_ID


def calls(act: Callable[[], object]) -> int:
    """Count the calls of Python functions, and the steps of generators, while something runs."""
    monitoring, counted = sys.monitoring, 0

    def count(*_: object) -> None:
        nonlocal counted
        counted += 1

    events = (monitoring.events.PY_START, monitoring.events.PY_RESUME)
    monitoring.use_tool_id(_TOOL, "work")
    try:
        for event in events:
            monitoring.register_callback(_TOOL, event, count)
        monitoring.set_events(_TOOL, events[0] | events[1])
        act()
    finally:
        monitoring.set_events(_TOOL, 0)
        for event in events:
            monitoring.register_callback(_TOOL, event, None)
        monitoring.free_tool_id(_TOOL)
    return counted
