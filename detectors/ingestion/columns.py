"""Selected records -> tallies. Column by column, since that is several times faster than record by record."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from detectors.ingestion.decisions import Decision, Target
from detectors.ingestion.delta import Tallies
from detectors.rules.counters import Counters, Selected
from detectors.rules.tally import ACCOUNT_SEEN, Group, Key, Observation, Tally
from detectors.windows import MINUTE_MICROSECONDS, minute_of

NameOf = Callable[[str], str]


class Columns:
    """Selected records, before they become tallies.

    Attributes:
        observations: by decision, one behind the other; of a decision that is not plain those alone that count.
    """

    __slots__ = ("observations",)

    def __init__(self) -> None:
        self.observations: defaultdict[Decision, list[Observation]] = defaultdict(list)

    def add_up(self) -> tuple[Tallies, Counters]:
        """Sum up tallies by rule and group; count how many records each rule selected, and how many any rule did."""
        tallies: Tallies = {}
        counted: list[int | None] = []
        for decision, observations in self.observations.items():
            name_of = decision.name_of_caller
            whole = Tally.of(observations, name_of, tokens=decision.tokens)
            for target in decision.targets:
                rule = target.choice.rule
                for group, part in _groups(target, observations, name_of):
                    tally = whole if part is observations else Tally.of(part, name_of, tokens=decision.tokens)
                    if rule.needs_bytes_by_caller:
                        tally = tally.weighed(part, name_of)
                    if rule.distinct:
                        tally = tally.of_member(target.member)
                    key = Key(rule.id, group)
                    if key in tallies:
                        tallies[key].add(tally)
                    else:
                        tallies[key] = tally.copy()
            if decision.account is not None:
                _note(tallies, Key(ACCOUNT_SEEN, (decision.account,)), whole)
            counted += _responses_counted(decision, observations)
        any_rule = Selected(len(counted), len(counted) - counted.count(None))
        return tallies, Counters(selected=_by_rule(tallies), by_any_rule=any_rule)


def _note(tallies: Tallies, key: Key, whole: Tally) -> None:
    """Count records without callers and numbers."""
    seen = tallies.setdefault(key, Tally())
    seen.add(Tally(whole.count, first_sequence=whole.first_sequence, last_sequence=whole.last_sequence))


def _groups(
    target: Target, observations: Sequence[Observation], name_of: NameOf
) -> Iterator[tuple[Group, Sequence[Observation]]]:
    """Yield the groups of one rule among the records of one combination: mostly one, else by caller and by minute."""
    if target.group is None:
        return
    taken = target.choice.take(observations)
    if not taken:
        return
    if not target.by_caller:
        yield from _by_minute(target, target.group_of(""), taken)
        return
    callers: defaultdict[str, list[Observation]] = defaultdict(list)
    for one in taken:
        callers[one[4]].append(one)
    for caller, part in callers.items():
        if caller:
            yield from _by_minute(target, target.group_of(name_of(caller)), part)


def _by_minute(
    target: Target, group: Group, observations: Sequence[Observation]
) -> Iterator[tuple[Group, Sequence[Observation]]]:
    """One group, or one for each minute if the rule asks for minutes."""
    if not target.choice.rule.per_minute:
        yield group, observations
        return
    parts: defaultdict[int, list[Observation]] = defaultdict(list)
    for one in observations:
        if one[1] is not None:
            parts[one[1] // MINUTE_MICROSECONDS].append(one)  # type: ignore[operator]  # a number, see Decision.by_minute
    for minute, part in parts.items():
        yield (*group, minute_of(minute)), observations if len(part) == len(observations) else part


def _responses_counted(decision: Decision, observations: Sequence[Observation]) -> list[int | None]:
    """Return the response lengths of the records of a combination that count for at least one rule."""
    takes_all = any(target.choice.check is None for target in decision.targets)
    return [
        None if decision.tokens else one[3]
        for one in observations
        if takes_all or not decision.is_plain or any(target.choice.takes(one) for target in decision.targets)
    ]


def _by_rule(tallies: Tallies) -> dict[str, Selected]:
    by_rule: dict[str, Selected] = {}
    for key, tally in tallies.items():
        if key.rule_id == ACCOUNT_SEEN:
            continue
        more = Selected(tally.count, tally.responses.records)
        by_rule[key.rule_id] = by_rule[key.rule_id].merged(more) if key.rule_id in by_rule else more
    return by_rule
