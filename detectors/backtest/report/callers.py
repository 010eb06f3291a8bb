"""Who called in episodes, over all of them."""

from collections import defaultdict
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from detectors.backtest.outcome import Outcome
from detectors.backtest.report.markup import Cell, Column, Node, cell, element, empty, note, row, section, table
from detectors.backtest.report.timelines import Numbered
from detectors.presentation import DASH, clipped, counted, number

_MAX_CALLERS = 50
_MAX_LINKS = 10


@dataclass(slots=True)
class _Caller:
    records: int = 0
    episodes: list[int] = field(default_factory=list)
    resources: set[str] = field(default_factory=set)


def callers(outcome: Outcome, shown: Numbered) -> Element:
    """The section of callers: over all episodes, those with most records first."""
    known = _callers(outcome)
    if not known:
        text = "No callers: no episode names one." if outcome.episodes else "No callers: there are no episodes."
        return section("callers", "Callers", empty(text))
    columns = (
        Column("Caller"),
        Column("Kind"),
        Column("Records", is_number=True),
        Column("Episodes", is_number=True),
        Column("Resources", is_number=True),
        Column("In episodes"),
    )
    linked = {index for index, _ in shown}
    rows = (row(columns, _caller(*item, linked)) for item in known[:_MAX_CALLERS])
    hidden = len(known) - _MAX_CALLERS
    return section(
        "callers",
        "Callers",
        note("Records are those of each episode's busiest window, so a caller made at least as many."),
        note(f"{counted(hidden, 'caller')} with fewer records left out.") if hidden > 0 else None,
        table("Callers in episodes", columns, rows, sortable=True),
    )


def _callers(outcome: Outcome) -> list[tuple[tuple[str, str], _Caller]]:
    """By object id and address."""
    known: dict[tuple[str, str], _Caller] = defaultdict(_Caller)
    for index, summary in enumerate(outcome.episodes, start=1):
        for listed in summary.callers:
            caller = known[f"{listed['ObjectId']}", f"{listed['IpAddress']}"]
            caller.records += int(listed["Count"])
            caller.episodes.append(index)
            caller.resources.add(summary.resource.partition(" ")[0])
    return sorted(known.items(), key=lambda item: (-item[1].records, item[0]))


def _caller(identity: tuple[str, str], caller: _Caller, linked: set[int]) -> list[Cell]:
    object_id, address = identity
    kind = "address" if address else "not named"
    if object_id:
        kind = "AWS identity" if object_id.startswith("arn:") else "object id"
    links: list[Node] = []
    for index in [index for index in caller.episodes if index in linked][:_MAX_LINKS]:
        links += [", " if links else None, element("a", f"{index}", href=f"#episode-{index}")]
    return [
        cell(element("code", clipped(object_id or address or DASH), title=object_id or address or None)),
        cell(kind),
        cell(number(caller.records), sort=caller.records),
        cell(number(len(caller.episodes)), sort=len(caller.episodes)),
        cell(number(len(caller.resources)), sort=len(caller.resources)),
        cell(*links, " …" if len(caller.episodes) > _MAX_LINKS else None, sort=caller.episodes[0]),
    ]
