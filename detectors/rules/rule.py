"""What a rule is: data and pure functions of a record; the engine does the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from detectors.records import Properties, Record
from detectors.tally import Group, Tally

Measure = Literal["count", "max_response_length", "avg_request_length", "max_caller_bytes", "days_watched"]
Number = int | float
"""A count stays whole on its way through JSON; `float` alone would make 100 into 100.0."""

Severity = Literal["Informational", "Low", "Medium", "High"]


class Ungrouped(StrEnum):
    """Why a selected record belongs to no group: the reason under which it is quarantined."""

    NO_RESOURCE = "no_resource"
    NO_TIME = "no_time"
    NO_CALLER = "no_caller"
    NO_ACCOUNT = "no_account"
    NO_MODEL = "no_model"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition of a rule: a measure of the window's tally that reaches a number.

    Attributes:
        name: how settings and command lines call it, such as `response_length`.
        measure: what is compared.
        at_least: the default; a value equal to it fires.
    """

    name: str
    measure: Measure
    at_least: int


@dataclass(frozen=True, slots=True)
class Trigger:
    """A threshold that was reached, by how much."""

    threshold: str
    measure: Measure
    value: Number
    at_least: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One detection.

    Attributes:
        id: stable; names the rule in settings and findings.
        name: for people.
        version: raised when the meaning changes.
        source_id: the upstream rule's id.
        severity: as Microsoft Sentinel spells it.
        risk_score: 0 to 100.
        techniques: MITRE ATLAS and OWASP ids.
        operations: the operation names it reads, exact case, None for all; a record without one goes by its schema
            type. A quick first test: `selects` has the last word.
        selects: whether a record counts.
        group_fields: the names of what it groups by. What comes first tells resources apart.
        group: their values for a record, its properties and its own time (microseconds since 1970, or None), or why
            it has none.
        thresholds: the conditions.
        requires: whether any of them fires the rule, or all must hold together.
        per_minute: whether the last group field is a minute of the records' own time. Each such minute is a finding
            of its own; the minutes of one group without it are one episode.
        only_new: whether only a last group field fires that was never seen before with the fields ahead of it, such
            as a caller of a resource. Its measure `days_watched` says for how long others were. It never escalates:
            one call of a newcomer says as much as two.
    """

    id: str
    name: str
    version: int
    source_id: str
    severity: Severity
    risk_score: int
    techniques: tuple[str, ...]
    operations: frozenset[str] | None
    selects: Callable[[Record, Properties], bool]
    group_fields: tuple[str, ...]
    group: Callable[[Record, Properties, int | None], Group | Ungrouped]
    thresholds: tuple[Threshold, ...]
    requires: Literal["any", "all"]
    per_minute: bool = False
    only_new: bool = False

    @property
    def weighs_callers(self) -> bool:
        """Whether it looks at response bytes by caller."""
        return any(threshold.measure == "max_caller_bytes" for threshold in self.thresholds)

    def about(self, group: Group) -> Group:
        """What an episode is about: the group, without its minute if it has one."""
        return group[: len(self.group_fields) - 1] if self.per_minute else group

    def triggers(
        self, tally: Tally, at_least: Mapping[str, int], days_watched: int | None = None
    ) -> tuple[Trigger, ...]:
        """What fires for a window's tally; empty if the rule does not.

        Args:
            tally: the window's aggregate for one group.
            at_least: the thresholds in force, by name.
            days_watched: for a rule that looks at newcomers, how long others were seen before this one.
        """
        reached = tuple(
            Trigger(threshold.name, threshold.measure, value, at_least[threshold.name])
            for threshold in self.thresholds
            if (value := measure(tally, threshold.measure, days_watched)) is not None
            and value >= at_least[threshold.name]
        )
        return reached if self.requires == "any" or len(reached) == len(self.thresholds) else ()


def measure(tally: Tally, what: Measure, days_watched: int | None = None) -> Number | None:
    """The value of a measure; None if no record carried what it is made of."""
    match what:
        case "count":
            return tally.count
        case "max_response_length":
            return tally.responses.largest if tally.responses.records else None
        case "avg_request_length":
            return tally.requests.total / tally.requests.records if tally.requests.records else None
        case "max_caller_bytes":
            return max(tally.caller_bytes.values(), default=None)
        case "days_watched":
            return days_watched
