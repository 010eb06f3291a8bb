"""Suggested thresholds as a table that says what they rest on."""

from xml.etree.ElementTree import Element

from detectors.backtest.outcome import Outcome, Suggestion
from detectors.backtest.report.markup import (
    MAX_ROWS,
    Cell,
    Column,
    cell,
    empty,
    left_out,
    row,
    section,
    table,
    warning,
)
from detectors.backtest.report.words import (
    amount,
    counted,
    number,
    resource_label,
    resource_name,
    rule_label,
    threshold_of,
)
from detectors.rules import BY_ID


def suggestions(outcome: Outcome) -> Element:
    """The section of suggested thresholds."""
    title = "Suggested thresholds"
    if not outcome.suggestions:
        return section("suggestions", title, empty("No suggestions: no threshold was swept, or there was no history."))
    columns = (
        Column("Rule"),
        Column("Threshold"),
        Column("Resource"),
        *(Column(name, is_number=True) for name in ("Made from", "Median", "Largest", "In force", "Suggested")),
    )
    rows = (row(columns, _suggestion(each)) for each in outcome.suggestions[:MAX_ROWS])
    return section(
        "suggestions",
        title,
        warning(
            "nothing uses these numbers. Each lies just above what one resource usually does, made from as many "
            "windows, or minutes, as it says, and attacks among them raise it. Read the timeline before you set one.",
            title="Suggestions only",
        ),
        left_out(len(outcome.suggestions), "suggestions", "the largest"),
        table("Suggested thresholds, used by nothing", columns, rows, sortable=True),
    )


def _suggestion(each: Suggestion) -> list[Cell]:
    measure = threshold_of(each.rule_id, each.threshold).measure
    value = "too little history" if each.value is None else amount(each.value, measure)
    rule = BY_ID[each.rule_id]
    return [
        cell(rule_label(rule)),
        cell(each.threshold),
        cell(resource_label(rule, each.resource), sort=resource_name(each.resource)),
        cell(counted(each.windows, "minute" if rule.per_minute else "window"), sort=each.windows),
        cell(number(each.median), sort=each.median),
        cell(number(each.largest), sort=each.largest),
        cell(number(each.at_least), sort=each.at_least),
        cell(value, sort=-1 if each.value is None else each.value),
    ]
