"""The file of a rule: its form, and the words that it may use."""

import inspect
from typing import get_args

from detectors.rules import reading
from detectors.rules.rule import Measure
from detectors.sources.catalogue import SOURCES
from generate.markdown import code, marked, table

_MEASURES = {
    "count": "records",
    "max_response_length": "bytes of the largest response",
    "avg_request_length": "bytes of a request, on average over those that carry a length",
    "max_caller_bytes": "response bytes of the caller who got most",
    "days_watched": "days since the first caller of the resource was seen; with `first_seen`",
}


def form() -> str:
    """Show every word of a rule's file."""
    _, _, text = (inspect.getdoc(reading) or "").partition("\n\n")
    return code("toml", text)


def fields() -> str:
    """Make the table of what sources say of their records, and what findings call it."""
    rows = [
        (marked(source.name), marked(name), marked(field.column) if field.column else "")
        for source in SOURCES
        for name, field in source.fields.items()
    ]
    numbers = [(marked(source.name), marked(name), "") for source in SOURCES for name in source.number_wire]
    return table(("Source", "Field", "Column of `Group`, if a rule may group by it"), sorted(rows + numbers))


def measures() -> str:
    """Make the table of what thresholds can measure."""
    return table(("Measure", "What it is"), ((marked(name), _MEASURES[name]) for name in get_args(Measure)))
