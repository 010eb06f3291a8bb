"""What the detector has to find in what was generated: the rules told again in plain loops, apart from its code.

Times are aware UTC. A window is the hour before its end, by arrival, and is evaluated at every tenth minute. The
numbers are the catalogue's, but for what local/tuning.toml says.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from local.attacks import ROTATION_JOB
from local.ground_truth import Group, Place, Sum, Truth

type Values = Mapping[str, float]
"""What fired: by name of the threshold, the value that reached it."""

HOUR, STEP = timedelta(hours=1), timedelta(minutes=10)
MINUTE_RULES = {"denial_of_service", "bedrock_validation_exceptions"}
LIMITS = {
    "model_theft": {"count": 100, "response_length": 1_000_000},
    "denial_of_service": {"count": 10, "request_length": 5_000},
    "insecure_output": {"count": 10},
    "large_transfer": {"response_length": 1_000_000, "caller_bytes": 1_000_000_000},
    "new_key_lister": {"count": 1, "learning_days": 1},
    "bedrock_denied_models": {"count": 4},
    "bedrock_validation_exceptions": {"count": 4},
    "bedrock_guardrail_violations": {"count": 1},
}
_ALL_AT_ONCE = {"denial_of_service", "new_key_lister"}
"""Rules that fire only if everything is over its limit."""

_EXCUSED = "/accounts/aoai-agents"


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
        if values := _reached(place[0], total, days if first >= end - HOUR else 0):
            firing[place] = Row(total.count, values, _is_excused(place, total, values))
    return firing


def _reached(rule_id: str, total: Sum, days: int) -> Values:
    """Return what fires for one group, empty if nothing does."""
    measured = {
        "count": total.count,
        "response_length": total.longest or 0,
        "request_length": total.request_bytes / total.requests if total.requests else 0,
        "caller_bytes": max(total.received.values(), default=0),
        "learning_days": days,
    }
    limits = LIMITS[rule_id]
    reached = {name: measured[name] for name, limit in limits.items() if measured[name] >= limit}
    return reached if rule_id not in _ALL_AT_ONCE or reached.keys() == limits.keys() else {}


def _is_excused(place: Place, total: Sum, values: Values) -> bool:
    """Whether the rotation job explains all of it."""
    rule_id, group = place
    if rule_id != "model_theft" or not group[0].endswith(_EXCUSED) or "response_length" in values:
        return False
    return total.count - total.callers[ROTATION_JOB] < LIMITS[rule_id]["count"]


def _newcomers(truth: Truth) -> dict[Place, tuple[datetime, int]]:
    """Who ever listed keys of an account: the first bucket, and for how many days others had been seen before."""
    first: dict[Place, datetime] = {}
    since: dict[str, datetime] = {}
    for bucket in sorted(truth.sums):
        for place in truth.sums[bucket]:
            if place[0] == "new_key_lister":
                first.setdefault(place, bucket)
                since.setdefault(place[1][0], bucket)
    return {place: (bucket, (bucket - since[place[1][0]]).days) for place, bucket in first.items()}
