"""What a rule is: data, read from a file; the engine does the rest. See `detectors.rules.reading` for the file."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from detectors.rules.tally import Group, Lengths, Tally
from detectors.sources.source import Value

Measure = str
"""What a threshold is about: one of `MEASURES`."""

_NUMBERS = {
    "request_length": "requests",
    "response_length": "responses",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
}
"""The numbers of sources, and where a tally keeps them."""

_OF_NUMBERS = {f"{how}_{number}": (how, kept) for number, kept in _NUMBERS.items() for how in ("max", "avg", "sum")}
MEASURES: tuple[Measure, ...] = ("count", "distinct", "max_caller_bytes", "days_watched", *_OF_NUMBERS)

Number = int | float
"""A count stays whole on its way through JSON; `float` alone would make 100 into 100.0."""

Test = Literal["is", "is_not", "known", "at_least"]

Raises = Literal["incident", "alert", "nothing"]

Severity = Literal["Informational", "Low", "Medium", "High"]

MINUTE = "Minute"
"""The last group field of a rule by minute: the minute of the records' own time."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a rule asks of one field of a record.

    Attributes:
        field: a field of the source, or one of its numbers.
        test: how: one of `values`, none of them, there or not there, or no less than a number.
        values: what the test is about; for `known` True or False, for `at_least` one number.
    """

    field: str
    test: Test
    values: tuple[Value, ...]

    def holds(self, value: Value) -> bool:
        """Tell whether a record with this value passes. A value that is not there is neither equal nor unequal."""
        test = self.test
        if test == "is":
            return value in self.values
        if test == "known":
            return (value is not None) == self.values[0]
        if test == "is_not":
            return value is not None and value not in self.values
        least = self.values[0]
        return isinstance(value, int | float) and isinstance(least, int) and value >= least  # 1.0 is 1, as for `is`


@dataclass(frozen=True, slots=True)
class Selection:
    """Records that a rule counts: of one source, those for which every condition holds.

    Attributes:
        source: the log source's name.
        conditions: on what repeats from record to record.
        numbers: on what does not.
    """

    source: str
    conditions: tuple[Condition, ...]
    numbers: tuple[Condition, ...] = ()

    def accepts(self, values: Mapping[str, Value], unknown: Collection[str] = ()) -> bool:
        """Tell whether records with these values may be selected; `unknown` fields are given the benefit of doubt."""
        return _hold(self.conditions, values, unknown)

    def measures(self, values: Mapping[str, Value], unknown: Collection[str] = ()) -> bool:
        """Tell the same by their numbers."""
        return _hold(self.numbers, values, unknown)


def _hold(conditions: Iterable[Condition], values: Mapping[str, Value], unknown: Collection[str]) -> bool:
    for condition in conditions:  # asked for each shape of a record that a sender can make up
        if condition.field not in unknown and not condition.holds(values.get(condition.field)):
            return False
    return True


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition of a rule: a measure of the window's tally that reaches a number.

    Attributes:
        name: how settings and command lines call it, such as `response_length`.
        measure: what is compared.
        at_least: the default; a value equal to it fires.
        unit: what the value is, for people: `Key listings`.
        of: for `distinct`, the field of which distinct values are counted.
        usual: whether what the value says depends on what is usual for the entity, see `detectors.evaluation.usual`.
        unknown_is_unusual: whether it counts in full for an entity that appears after the detector has learned.
    """

    name: str
    measure: Measure
    at_least: int
    unit: str = ""
    of: str = ""
    usual: bool = False
    unknown_is_unusual: bool = False


@dataclass(frozen=True, slots=True)
class Trigger:
    """A threshold that was reached, by how much, and what is usual for the entity, if that is known and matters."""

    threshold: str
    measure: Measure
    value: Number
    at_least: int
    usual: Number | None = None


@dataclass(frozen=True, slots=True)
class Hunt:
    """The rule once more, as a hunting query over raw logs: its id, which never changes, its name and its version."""

    id: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Alert:
    """What Microsoft Sentinel makes of a rule's findings.

    Attributes:
        id: of the analytics rule; never changes.
        version: raised with each change of the analytics rule.
        raises: an incident; an alert without one, to be found by whoever looks at the account; or nothing.
        attack: MITRE ATT&CK techniques by tactic. Sentinel takes no others; `Rule.techniques` are in the details.
        says: what the rule looks for, the rest of a sentence.
        details: columns in the alert's details, next to those that every alert has.
        triage: the first steps, from the guide.
        hunt: the hunting query; None if there is none.
    """

    id: str
    version: str
    raises: Raises
    attack: Mapping[str, tuple[str, ...]]
    says: str
    details: tuple[str, ...]
    triage: str
    hunt: Hunt | None = None


@dataclass(frozen=True, slots=True)
class ExampleEvent:
    """Records of an example: one that is repeated.

    Attributes:
        source: the log source's name.
        fields: what they say otherwise than the rule's selection and an ordinary record; None for what they do not.
        times: how many there are.
        over_minutes: they spread evenly over so many minutes; 0 if they come at once.
        after_minutes: they begin so many minutes after the example does.
        days_before: and so many days before.
    """

    source: str
    fields: Mapping[str, Value]
    times: int = 1
    over_minutes: int = 0
    after_minutes: int = 0
    days_before: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """What happens, in a few words and as events; and whether the rule fires."""

    says: str
    events: tuple[ExampleEvent, ...]
    fires: bool = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Rule:
    """One detection.

    Attributes:
        id: stable; names the rule in settings and findings, and its file.
        name: for people.
        version: raised when the meaning changes.
        source_id: the upstream rule's id; empty for a rule of our own.
        severity: as Microsoft Sentinel spells it.
        risk_score: 0 to 100.
        techniques: MITRE ATLAS and OWASP ids.
        select: what it counts: records that any of these accepts.
        upstream_select: what the upstream rule's own query counts, where that differs; empty where it does not.
        group_by: the fields that it groups by. What comes first tells resources apart.
        group_fields: what findings call them, `MINUTE` last for a rule by minute.
        thresholds: the conditions.
        requires: whether any of them fires the rule, or all must hold together.
        per_minute: whether each minute of the records' own time is a group and a finding of its own. The minutes of
            one group without it are one episode.
        first_seen_only: whether only a last group field fires that was never seen before with the fields ahead of it,
            such as a caller of a resource; with a single field, whether it fires only the first time. Its measure
            `days_watched` says for how long others were seen, or the account. It never escalates: one call of a
            newcomer says as much as two.
        description: what it looks for, why, where that comes from, and what it cannot see.
        alert: what Microsoft Sentinel makes of it; None if it is told nothing.
        order: its place in lists.
        examples: what fires it and what does not.
    """

    id: str
    name: str
    version: int
    source_id: str
    severity: Severity
    risk_score: int
    techniques: tuple[str, ...]
    select: tuple[Selection, ...]
    group_by: tuple[str, ...]
    group_fields: tuple[str, ...]
    thresholds: tuple[Threshold, ...]
    requires: Literal["any", "all"]
    per_minute: bool = False
    first_seen_only: bool = False
    description: str = ""
    upstream_select: tuple[Selection, ...] = ()
    alert: Alert | None = field(default=None, hash=False)
    order: int = 100
    examples: tuple[Example, ...] = field(default=(), hash=False)

    @property
    def distinct(self) -> str:
        """The field of which it counts distinct values; empty if of none."""
        return next((threshold.of for threshold in self.thresholds if threshold.of), "")

    @property
    def needs_bytes_by_caller(self) -> bool:
        """Whether it looks at response bytes by caller."""
        return any(threshold.measure == "max_caller_bytes" for threshold in self.thresholds)

    @property
    def goes_by_usual(self) -> bool:
        """Whether its severity depends on what is usual for the entity."""
        return any(threshold.usual for threshold in self.thresholds)

    def as_upstream(self) -> "Rule":
        """Return the rule with the upstream query's own selection."""
        return replace(self, select=self.upstream_select or self.select)

    def episode_group(self, group: Group) -> Group:
        """Return what an episode is about: the group, without its minute if it has one."""
        return group[: len(self.group_fields) - 1] if self.per_minute else group

    def triggers(
        self, tally: Tally, at_least: Mapping[str, int], days_watched: int | None = None
    ) -> tuple[Trigger, ...]:
        """List the thresholds that a window's tally reaches; empty if the rule does not fire.

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
    """Return the value of a measure; None if no record carried what it is made of."""
    if what in _OF_NUMBERS:
        how, kept = _OF_NUMBERS[what]
        return _of_lengths(how, getattr(tally, kept))
    match what:
        case "count":
            return tally.count
        case "distinct":
            return len(tally.members)
        case "max_caller_bytes":
            return max(tally.caller_bytes.values(), default=None)
        case _:
            return days_watched


def _of_lengths(how: str, lengths: Lengths) -> Number | None:
    if not lengths.records:
        return None
    match how:
        case "max":
            return lengths.largest
        case "avg":
            return lengths.total / lengths.records
        case _:
            return lengths.total
