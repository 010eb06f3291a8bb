"""Episodes as a table that sorts, with the numbers that the rest of the page calls them by."""

from xml.etree.ElementTree import Element

from detectors.backtest.outcome import EpisodeSummary, Outcome
from detectors.backtest.report.labels import RANKS, moment, resource_label, rule_label, severity
from detectors.backtest.report.markup import (
    MAX_ROWS,
    Cell,
    Column,
    cell,
    element,
    empty,
    left_out,
    note,
    row,
    section,
    table,
)
from detectors.backtest.report.timelines import Numbered
from detectors.presentation import amount, clipped, counted, number, resource_name, threshold_of
from detectors.rules import BY_ID


def numbered(outcome: Outcome) -> Numbered:
    """Episodes with their numbers, from 1 in the order of time; of too many those that matter most."""
    every = list(enumerate(outcome.episodes, start=1))
    every.sort(key=lambda item: (-RANKS[item[1].severity], -item[1].windows))
    return sorted(every[:MAX_ROWS], key=lambda item: item[0])


def episodes(outcome: Outcome, shown: Numbered) -> Element:
    """The section of episodes."""
    if not outcome.episodes:
        return section("episodes", "Episodes", empty(f"No episodes: {_why_none(outcome)}"))
    columns = (
        Column("No.", is_number=True),
        Column("Severity"),
        Column("Rule"),
        Column("Resource"),
        Column("First window", is_order=True),
        Column("Last window"),
        Column("Windows", is_number=True),
        Column("Peaks", is_number=True),
        Column("Callers", is_number=True),
        Column("State"),
    )
    rows = (row(columns, _episode(index, summary), id=f"episode-{index}") for index, summary in shown)
    return section(
        "episodes",
        "Episodes",
        note(
            "Consecutive windows in which one resource fires are one episode, and one alert. A window is an hour, one "
            "ends every 10 minutes, and it is named by its end in UTC. Rules that look at minutes post each minute "
            "once, in the first window that holds it. What a known exception explains is suppressed: nobody is "
            "alerted. Callers are those of the busiest window."
        ),
        left_out(len(outcome.episodes), "episodes", "those of the highest severity that fired in most windows"),
        table("Episodes", columns, rows, sortable=True),
    )


def _why_none(outcome: Outcome) -> str:
    if not outcome.quality.records:
        return "no record was read."
    if not any(selected.records for selected in outcome.quality.selected.values()):
        return "no rule selected a record."
    return "nothing reached a threshold."


def _episode(index: int, summary: EpisodeSummary) -> list[Cell]:
    rule = BY_ID[summary.rule_id]
    marks = ["minutes"] if rule.per_minute else []
    marks += [counted(summary.escalations, "escalation")] if summary.escalations else []
    more = "+" if summary.callers_truncated else ""
    return [
        cell(f"{index}"),
        cell(severity(summary.severity), sort=RANKS[summary.severity]),
        cell(rule_label(rule), sort=rule.name),
        cell(resource_label(rule, summary.resource), sort=resource_name(summary.resource)),
        cell(moment(summary.first_window)),
        cell(moment(summary.last_window)),
        cell(number(summary.windows), *(element("small", mark) for mark in marks), sort=summary.windows),
        _peaks(summary),
        cell(f"{len(summary.callers):,}{more}", sort=len(summary.callers)),
        _state(summary),
    ]


def _peaks(summary: EpisodeSummary) -> Cell:
    """The largest value of each threshold that was reached, and which it is."""
    lines = []
    for name, value in sorted(summary.peaks.items()):
        text = amount(value, threshold_of(summary.rule_id, name).measure)
        lines.append(element("span", text, element("small", name), class_="peak"))
    return cell(*lines, sort=max(summary.peaks.values(), default=-1))


def _state(summary: EpisodeSummary) -> Cell:
    """Open, closed or suppressed; and what explains it, in full or in part."""
    state = "◌ suppressed" if summary.is_suppressed else "● open" if summary.is_open else "○ closed"
    notes = []
    if summary.suppressed and not summary.is_suppressed:
        notes.append(f"{summary.suppressed:,} of {summary.windows:,} suppressed")
    if summary.suppression:
        notes.append(clipped(summary.suppression.reason))
        notes.append(f"{clipped(summary.suppression.owner)}, until {summary.suppression.expires}")
    rank = 2 if summary.is_suppressed else int(not summary.is_open)
    return cell(element("span", state, class_="state"), *(element("small", text) for text in notes), sort=rank)
