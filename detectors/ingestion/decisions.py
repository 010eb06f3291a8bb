"""What rules make of records with the same traits: decided once for each combination, not once a record.

A rule asks three kinds of things of a record: what sort it is (its shape: a category, an operation), what else
repeats (its traits: a resource, a caller), and its numbers. Most records are let go of by their shape alone.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from detectors.rules.rule import Condition, Rule, Selection
from detectors.rules.tally import MAX_MEMBER_CHARACTERS, Key, Observation
from detectors.sources.callers import named
from detectors.sources.source import CALLER, TOKENS, LogSource, Value

NO_TIME, NO_CALLER = "no_time", "no_caller"
"""The reasons under which records are quarantined that a rule counts by minute or by caller, and that tell none."""

_FIRST_NUMBER = 2
"""Where the numbers begin in an observation."""

_MAX_REMEMBERED = 4096
"""Answers remembered about records that cannot be read in full, and callers of one kind."""

_MAX_REMEMBERED_CHARACTERS = 256


class Choice:
    """A rule that selects records of some traits.

    Attributes:
        rule: the rule.
        check: whether it selects a record, by its numbers; None if it selects all of them.
        pick: those of some records that it selects; None as above.
        distinct: the field of which it counts distinct values; empty if of none.
        weighs: whether it looks at response bytes by caller.
    """

    __slots__ = ("check", "distinct", "pick", "rule", "weighs")

    def __init__(
        self,
        rule: Rule,
        check: Callable[[Observation], bool] | None = None,
        pick: Callable[[Sequence[Observation]], list[Observation]] | None = None,
    ) -> None:
        self.rule = rule
        self.check = check
        self.pick = pick
        self.distinct = rule.distinct
        self.weighs = rule.needs_bytes_by_caller

    def takes(self, one: Observation) -> bool:
        """Tell whether the rule selects a record."""
        return self.check is None or self.check(one)

    def take(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        """Return the records that the rule selects."""
        return observations if self.pick is None else self.pick(observations)


class Target:
    """Where one rule counts the records of one combination.

    Attributes:
        choice: the rule, and which of the records it takes.
        group: the values of the fields that it groups by, None for `CALLER`, which each record has for itself; None if
            it cannot be told. A minute, if the rule has one, comes behind them.
        missing: the reason why not.
        member: what the rule counts distinct ones of, None for the caller of each record, which is not known here.
        by_caller: whether each caller is a group.
        needs_caller: whether a record without a caller cannot count.
    """

    __slots__ = ("by_caller", "choice", "group", "member", "missing", "needs_caller")

    def __init__(
        self, choice: Choice, group: tuple[str | None, ...] | None, missing: str = "", member: str | None = None
    ) -> None:
        self.choice = choice
        self.group = group
        self.missing = missing
        self.member = member
        self.by_caller = group is not None and None in group
        self.needs_caller = self.by_caller or choice.distinct == CALLER

    def missed(self, one: Observation) -> str:
        """Say why a record that the rule takes does not count; empty if it does."""
        if self.missing:
            return self.missing
        if self.needs_caller and not one[4]:
            return NO_CALLER
        return NO_TIME if self.choice.rule.per_minute and one[1] is None else ""

    def key_of(self, caller: str, minute: str) -> Key:
        """Return the key of a caller's records in a minute; of all if either is empty."""
        group = [caller if value is None else value for value in self.group or ()]
        return Key(self.choice.rule.id, (*group, minute) if minute else tuple(group))


class Names(dict[str, str]):
    """Callers as they are kept, by what is written in records: remembered, as the same ones come again and again."""

    def __init__(self, name_of: Callable[[str], str]) -> None:
        self._name_of = name_of

    def __missing__(self, caller: str) -> str:
        """Name a caller; one with a long name is not remembered, since whoever writes it may choose it."""
        name = self._name_of(caller)
        if len(caller) <= _MAX_REMEMBERED_CHARACTERS:
            if len(self) >= _MAX_REMEMBERED:
                self.clear()
            self[caller] = name
        return name


class Decision:
    """What all rules make of one combination. Compared by identity: a batch's columns are kept by decision.

    Attributes:
        names: how the callers of its records are kept.
        targets: at least one.
        is_plain: whether its records need no look at each: every target has its group.
        by_minute: whether a target counts by the records' own time, which has to be readable then.
        by_caller: whether a target counts by caller, or callers, which has to be there then.
        takes_all: whether each of its records counts for some rule, whatever its numbers.
        tokens: whether the numbers of its records are tokens.
        account: the account that its records are about, if it is one to know.
    """

    __slots__ = ("account", "by_caller", "by_minute", "is_plain", "names", "takes_all", "targets", "tokens")

    def __init__(
        self, names: Mapping[str, str], targets: Sequence[Target], *, tokens: bool, account: str | None
    ) -> None:
        self.names = names
        self.tokens = tokens
        self.account = account
        self.targets = targets
        self.is_plain = all(target.group is not None for target in targets)
        self.by_minute = any(target.choice.rule.per_minute for target in targets)
        self.by_caller = any(target.needs_caller for target in targets)
        self.takes_all = not self.is_plain or any(target.choice.check is None for target in targets)

    def takes_plainly(self, moment: datetime | None, caller: str) -> bool:
        """Tell whether a record with this time and caller can be counted without a look at each target."""
        return self.is_plain and (moment is not None or not self.by_minute) and bool(caller or not self.by_caller)

    def selected(self, observations: Sequence[Observation]) -> Sequence[Observation]:
        """Return those of its records that count for at least one rule."""
        if self.takes_all:
            return observations
        if len(self.targets) == 1:
            return self.targets[0].choice.take(observations)
        return [one for one in observations if any(target.choice.takes(one) for target in self.targets)]


class Decider:
    """Decides for the rules that read one source."""

    def __init__(self, source: LogSource, rules: Sequence[Rule]) -> None:
        self._source = source
        self._shape_wire = source.shape_wire
        self._rules = [
            (rule, chosen)
            for rule in rules
            if (chosen := [selection for selection in rule.select if selection.source == source.name])
        ]
        self._selections = [selection for _, chosen in self._rules for selection in chosen]
        self._conditions = tuple(
            dict.fromkeys(condition for selection in self._selections for condition in selection.conditions)
        )
        self._chosen: dict[tuple[bool, ...], Sequence[Choice]] = {}
        self._choices: dict[tuple[object, ...], Choice] = {}
        self._decisions: dict[tuple[object, ...], Decision] = {}
        self._could_select: dict[object, bool] = {}
        self._names: dict[Callable[[str], str], Names] = {}

    def may_select(self, record: msgspec.Struct) -> bool:
        """Tell whether a rule may select records of a record's shape."""
        if not self._selections:  # nor are the source's fields read then
            return False
        fields = self._source.fields
        values = {name: field.of(record) for name, field in fields.items() if field.attribute}
        unknown = fields.keys() - values.keys()
        return any(selection.accepts(values, unknown) for selection in self._selections)

    def may_select_with(self, attribute: str, value: Value) -> bool:
        """Tell whether a rule may select records of which one attribute is known."""
        fields = self._source.fields
        values = {name: field.said(value) for name, field in fields.items() if field.attribute == attribute}
        unknown = fields.keys() - values.keys()
        return any(selection.accepts(values, unknown) for selection in self._selections)

    def could_select(self, record: msgspec.Struct, unreadable: frozenset[str]) -> bool:
        """Tell whether a rule selects a record, or would if what cannot be read (names in JSON) were there."""
        if self._shape_wire & unreadable:
            return True
        traits, _, *numbers, _, more = self._source.observe(record)
        unread = unreadable | more
        question = traits, *numbers, unread
        if question not in self._could_select:
            if len(self._could_select) >= _MAX_REMEMBERED:
                self._could_select.clear()
            self._could_select[question] = self._could(traits, numbers, unread)
        return self._could_select[question]

    def _could(self, traits: tuple[Any, ...], numbers: Sequence[int | None], unread: frozenset[str]) -> bool:
        fields, of = self._source.fields, self._source.traits(*traits)
        values = {name: field.read(of) for name, field in fields.items()}
        unknown = {name for name, field in fields.items() if field.wire & unread}
        values |= dict(zip(self._source.numbers, numbers, strict=True))
        unknown |= {name for name, wire in self._source.number_wire.items() if wire & unread}
        return any(
            selection.accepts(values, unknown) and selection.measures(values, unknown) for selection in self._selections
        )

    def decide(self, traits: tuple[Any, ...]) -> Decision | None:
        """Decide what becomes of records with these traits; None if no rule selects them."""
        fields, of = self._source.fields, self._source.traits(*traits)
        holding = tuple([condition.holds(fields[condition.field].read(of)) for condition in self._conditions])
        choices = self._chosen.get(holding)
        if choices is None:
            choices = self._chosen[holding] = self._choose(dict(zip(self._conditions, holding, strict=True)))
        if not choices:
            return None
        values: dict[str, Value] = {}
        return self._decision(
            [self._target(choice, of, values) for choice in choices],
            self._source.name_of_caller(of),
            self._source.account(of),
        )

    def _decision(self, targets: Sequence[Target], name_of: Callable[[str], str], account: str | None) -> Decision:
        """Make a decision, or return the one that is the same: the fewer differ, the more records add up at once."""
        same = name_of, account, *[(target.choice, target.group, target.member, target.missing) for target in targets]
        if same in self._decisions:
            return self._decisions[same]
        if len(self._decisions) >= _MAX_REMEMBERED:
            self._decisions.clear()
        if name_of not in self._names:
            self._names[name_of] = Names(name_of)
        tokens = self._source.numbers == TOKENS
        decision = self._decisions[same] = Decision(self._names[name_of], targets, tokens=tokens, account=account)
        return decision

    def _choose(self, holding: Mapping[Condition, bool]) -> Sequence[Choice]:
        """Return the rules that select records for which these conditions hold."""
        choices = []
        for rule, selections in self._rules:
            accepting = [one for one in selections if all(holding[condition] for condition in one.conditions)]
            if accepting:
                same = rule.id, *[one.numbers for one in accepting]
                if same not in self._choices:
                    self._choices[same] = _choice(rule, accepting, self._source.numbers)
                choices.append(self._choices[same])
        return choices

    def _target(self, choice: Choice, of: tuple[Any, ...], values: dict[str, Value]) -> Target:
        group: list[str | None] = []
        for name in choice.rule.group_by:
            if name not in values:
                values[name] = self._source.fields[name].read(of)
            value = values[name]
            if value is None and name != CALLER:
                return Target(choice, None, self._source.fields[name].missing)
            group.append(None if value is None else str(value))
        distinct = choice.rule.distinct
        if distinct and distinct != CALLER:
            member = self._source.fields[distinct].read(of)
            if member is None:
                return Target(choice, None, self._source.fields[distinct].missing)
            return Target(choice, tuple(group), "", named(str(member), MAX_MEMBER_CHARACTERS))
        return Target(choice, tuple(group), "")


def _choice(rule: Rule, selections: Sequence[Selection], numbers: Sequence[str]) -> Choice:
    """Combine a rule with what its selections ask of numbers."""
    if not all(selection.numbers for selection in selections):
        return Choice(rule)
    checks = [[_check(condition, numbers) for condition in selection.numbers] for selection in selections]
    if len(checks) == len(checks[0]) == 1:
        return Choice(rule, *checks[0][0])
    check = _any_of([[one for one, _ in alternative] for alternative in checks])
    return Choice(rule, check, lambda observations: [one for one in observations if check(one)])


def _any_of(alternatives: Sequence[Sequence[Callable[[Observation], bool]]]) -> Callable[[Observation], bool]:
    return lambda one: any(all(check(one) for check in alternative) for alternative in alternatives)


def _check(
    condition: Condition, numbers: Sequence[str]
) -> tuple[Callable[[Observation], bool], Callable[[Sequence[Observation]], list[Observation]]]:
    """Compile a condition on a number, for one record and for many; the two that occur most call nothing."""
    place, values, holds = _FIRST_NUMBER + numbers.index(condition.field), condition.values, condition.holds
    if condition.test == "is":
        return lambda one: one[place] in values, lambda them: [one for one in them if one[place] in values]
    if condition.test == "known" and values[0]:
        return lambda one: one[place] is not None, lambda them: [one for one in them if one[place] is not None]
    return lambda one: holds(one[place]), lambda them: [one for one in them if holds(one[place])]
