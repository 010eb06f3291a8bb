"""Episodes as a table that sorts, with the numbers that the rest of the page calls them by."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from detectors.backtest.outcome import EpisodeSummary, Outcome
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
from detectors.backtest.report.words import (
    RANKS,
    UNITS,
    counted,
    moment,
    number,
    resource_label,
    resource_name,
    rule_label,
    severity,
)
from detectors.rules import BY_ID, CATALOGUE


def numbered(outcome: Outcome) -> Numbered:
    """Episodes with their numbers, from 1 in the order of time; of too many those that matter most."""
    every = list(enumerate(outcome.episodes, start=1))
    every.sort(key=lambda item: (-RANKS[BY_ID[item[1].rule_id].severity], -item[1].windows))
    return sorted(every[:MAX_ROWS], key=lambda item: item[0])


def episodes(outcome: Outcome, shown: Numbered) -> Element:
    """The section of episodes."""
    if not outcome.episodes:
        return section("episodes", "Episodes", empty(f"No episodes: {_why_none(outcome)}"))
    peaks = _peak_columns(outcome.episodes)
    columns = (
        Column("No.", is_number=True),
        Column("Severity"),
        Column("Rule"),
        Column("Resource"),
        Column("First window", is_order=True),
        Column("Last window"),
        Column("Windows", is_number=True),
        *(Column(title, is_number=True) for title, _ in peaks),
        Column("Callers", is_number=True),
        Column("State"),
    )
    names = [name for _, name in peaks]
    rows = (row(columns, _episode(index, summary, names), id=f"episode-{index}") for index, summary in shown)
    return section(
        "episodes",
        "Episodes",
        note(
            "Consecutive windows in which one resource fires are one episode, and one alert. A window is an hour, one "
            "ends every 10 minutes, and it is named by its end in UTC. Callers are those of the busiest window."
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


def _peak_columns(summaries: Sequence[EpisodeSummary]) -> list[tuple[str, str]]:
    """The columns' titles and the thresholds' names, of those that any episode reached, in the catalogue's order."""
    reached = {name for summary in summaries for name in summary.peaks}
    units = {each.name: UNITS[each.measure] for rule in CATALOGUE for each in rule.thresholds if each.name in reached}
    return [(f"Peak {name}, {unit}", name) for name, unit in units.items()]


def _episode(index: int, summary: EpisodeSummary, peaks: Sequence[str]) -> list[Cell]:
    rule = BY_ID[summary.rule_id]
    escalated = counted(summary.escalations, "escalation") if summary.escalations else ""
    state = "● open" if summary.is_open else "○ closed"
    more = "+" if summary.callers_truncated else ""
    return [
        cell(f"{index}"),
        cell(severity(rule), sort=RANKS[rule.severity]),
        cell(rule_label(rule), sort=rule.name),
        cell(resource_label(summary.resource), sort=resource_name(summary.resource)),
        cell(moment(summary.first_window)),
        cell(moment(summary.last_window)),
        cell(number(summary.windows), element("small", escalated) if escalated else None, sort=summary.windows),
        *(cell(number(peak), sort=-1 if peak is None else peak) for peak in map(summary.peaks.get, peaks)),
        cell(f"{len(summary.callers):,}{more}", sort=len(summary.callers)),
        cell(element("span", state, class_="state"), sort=int(not summary.is_open)),
    ]
