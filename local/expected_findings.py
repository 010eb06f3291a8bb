"""What the detector has to find in what was generated: the rules' files in plain loops, apart from its code.

Times are aware UTC. A window is the hour before its end, by arrival, and is evaluated at every tenth minute. The
numbers are those of the rules' files, but for what local/tuning.toml says.
"""

import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from local.ground_truth import FILES, MINUTE_RULES, Group, Place, Sum, Truth

type Values = Mapping[str, float]
"""What fired: by name of the threshold, the value that reached it."""

HOUR, STEP = timedelta(hours=1), timedelta(minutes=10)
TUNING: dict[str, Any] = tomllib.loads(Path(__file__).with_name("tuning.toml").read_text())
LIMITS: dict[str, dict[str, int]] = {
    rule_id: {name: one["at_least"] for name, one in rule["thresholds"].items()} | TUNING["rules"].get(rule_id, {})
    for rule_id, rule in FILES.items()
}
FIRST_SEEN = {rule_id for rule_id, rule in FILES.items() if "first_seen" in rule["group"]}


@dataclass(frozen=True, slots=True)
class Row:
    """A finding: its records, what fired, and whether the exception explains it."""

    count: int
    values: Values
    suppressed: bool = False


@dataclass(frozen=True, slots=True)
class RowKey:
    """Which finding: the window's end is None for a rule that reports each minute once."""

    rule_id: str
    group: Group
    window_end: datetime | None


@dataclass(slots=True)
class Expectation:
    """All findings that fire; and how often an episode begins to alert, and ends, by rule and what it is about."""

    rows: dict[RowKey, Row] = field(default_factory=dict)
    alerts: Counter[Place] = field(default_factory=Counter)
    closed: Counter[Place] = field(default_factory=Counter)


def expectation(truth: Truth) -> Expectation:
    """Return what the whole of the traffic leads to, once every window that holds some of it has been evaluated."""
    expected = Expectation()
    newcomers = _newcomers(truth)
    active: dict[Place, bool] = {}  # whether somebody was alerted
    for end in window_ends(truth):
        firing = _firing(truth, end, newcomers)
        for (rule_id, group), row in firing.items():
            key = RowKey(rule_id, group, None if rule_id in MINUTE_RULES else end)
            if key not in expected.rows or row.count > expected.rows[key].count:
                expected.rows[key] = row
        alarming = {about(place): False for place in firing}
        alarming |= {about(place): True for place, row in firing.items() if not row.suppressed}
        expected.closed.update(active.keys() - alarming.keys())
        expected.alerts.update(place for place, alarms in alarming.items() if alarms and not active.get(place, False))
        active = {place: alarms or active.get(place, False) for place, alarms in alarming.items()}
    return expected


def about(place: Place) -> Place:
    """Return what the episode of a finding is about: for some rules the group without its minute."""
    rule_id, group = place
    return (rule_id, group[:-1]) if rule_id in MINUTE_RULES else place


def window_ends(truth: Truth) -> Iterator[datetime]:
    """From the first record on, until the last has left the window."""
    end, last = min(truth.sums) + STEP, max(truth.sums) + STEP + HOUR
    while end <= last:
        yield end
        end += STEP


def _firing(truth: Truth, end: datetime, newcomers: Mapping[Place, tuple[datetime, int]]) -> dict[Place, Row]:
    """Return what fires in one window."""
    window: defaultdict[Place, Sum] = defaultdict(Sum)
    for step in range(6):
        for place, one in truth.sums.get(end - HOUR + step * STEP, {}).items():
            window[place].take(one)
    firing = {}
    for place, total in window.items():
        first, days = newcomers.get(place, (end, 0))
        if first >= end - HOUR and (values := _reached(place[0], total, days)):
            firing[place] = Row(total.count, values, _is_excused(place, total, values))
    return firing


def _reached(rule_id: str, total: Sum, days: int) -> Values:
    """Return what fires for one group, empty if nothing does."""
    measured: dict[str, float | None] = {
        "count": total.count,
        "distinct": len(total.members),
        "max_caller_bytes": max(total.received.values()),
        "days_watched": days,
    }
    for name, numbers in total.numbers.items():
        whole = sum(number * times for number, times in numbers.items())
        measured |= {f"max_{name}": max(numbers), f"sum_{name}": whole, f"avg_{name}": whole / numbers.total()}
    rule, limits = FILES[rule_id], LIMITS[rule_id]
    values = {name: measured.get(one["measure"]) for name, one in rule["thresholds"].items()}
    reached = {name: value for name, value in values.items() if value is not None and value >= limits[name]}
    return reached if rule.get("fires") != "all" or reached.keys() == limits.keys() else {}


def _is_excused(place: Place, total: Sum, values: Values) -> bool:
    """Whether the tuning file's exception explains all of it: what is left would not be enough."""
    rule_id, group = place
    (excused,) = TUNING["exceptions"]
    if rule_id != excused["rule"] or not fnmatchcase(group[0], excused["resource"]) or values.keys() != {"count"}:
        return False
    return total.count - sum(total.callers[caller] for caller in excused["callers"]) < LIMITS[rule_id]["count"]


def _newcomers(truth: Truth) -> dict[Place, tuple[datetime, int]]:
    """Who ever appeared, where that matters: the first bucket, and for how many days their account was known before."""
    first: dict[Place, datetime] = {}
    others: dict[Place, datetime] = {}
    for bucket in sorted(truth.sums):
        for rule_id, group in truth.sums[bucket]:
            if rule_id in FIRST_SEEN:
                first.setdefault((rule_id, group), bucket)
                others.setdefault((rule_id, group[:-1]), bucket)
    newcomers = {}
    for (rule_id, group), at in first.items():
        since = min(truth.known.get(group[0], at), at)
        if len(group) > 1 and others[rule_id, group[:-1]] == at:  # the first of all is nobody's newcomer
            since = at
        newcomers[rule_id, group] = at, (at - since).days
    return newcomers
