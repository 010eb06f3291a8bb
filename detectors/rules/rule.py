"""What a rule is: data and pure functions of a record; the engine does the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from detectors.records import Properties, Record
from detectors.tally import Group, Tally

Measure = Literal["count", "max_response_length", "avg_request_length"]
Number = int | float
"""A count stays whole on its way through JSON; `float` alone would make 100 into 100.0."""

Severity = Literal["Informational", "Low", "Medium", "High"]


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
        operations: the operation names it reads, exact case; a quick first test, `selects` has the last word.
        selects: whether a record counts.
        group_fields: the names of what it groups by; columns of the finding.
        group: their values for a record, None if the record cannot be attributed.
        ungrouped: the reason under which such a record is quarantined.
        caller: who made the call, None if nobody can be named; see `detectors.callers`.
        thresholds: the conditions.
        requires: whether any of them fires the rule, or all must hold together.
    """

    id: str
    name: str
    version: int
    source_id: str
    severity: Severity
    risk_score: int
    techniques: tuple[str, ...]
    operations: frozenset[str]
    selects: Callable[[Record], bool]
    group_fields: tuple[str, ...]
    group: Callable[[Record], Group | None]
    ungrouped: str
    caller: Callable[[Record, Properties], str | None]
    thresholds: tuple[Threshold, ...]
    requires: Literal["any", "all"]

    def triggers(self, tally: Tally, at_least: Mapping[str, int]) -> tuple[Trigger, ...]:
        """What fires for a window's tally; empty if the rule does not.

        Args:
            tally: the window's aggregate for one group.
            at_least: the thresholds in force, by name.
        """
        reached = tuple(
            Trigger(threshold.name, threshold.measure, value, at_least[threshold.name])
            for threshold in self.thresholds
            if (value := measure(tally, threshold.measure)) is not None and value >= at_least[threshold.name]
        )
        return reached if self.requires == "any" or len(reached) == len(self.thresholds) else ()


def measure(tally: Tally, what: Measure) -> Number | None:
    """The value of a measure; None if no record carried what it is made of."""
    match what:
        case "count":
            return tally.count
        case "max_response_length":
            return tally.responses.largest if tally.responses.records else None
        case "avg_request_length":
            return tally.requests.total / tally.requests.records if tally.requests.records else None
