"""Selected records -> tallies. All records of a group at once, since that is several times faster than one by one."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import NamedTuple

from detectors.ingestion.decisions import Choice, Decision, Target
from detectors.ingestion.delta import Tallies
from detectors.rules.counters import Counters, Selected
from detectors.rules.tally import ACCOUNT_SEEN, Key, Observation, Tally
from detectors.windows import MINUTE_MICROSECONDS, minute_of

type _Kind = tuple[bool, str | None]
"""What the records of one combination share: whether their numbers are tokens, and the member that they are of."""

type _Parts = list[tuple[_Kind, Sequence[Observation]]]
"""The records of one group, in order, by their kind: mostly a single part."""


class _Gathered(NamedTuple):
    """The records of one group of one rule, from all combinations; not told apart by minute yet."""

    choice: Choice
    parts: _Parts


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
        gathered: dict[Key, _Gathered] = {}
        of_accounts: defaultdict[str, list[Sequence[Observation]]] = defaultdict(list)
        counted = with_length = 0
        for decision, observations in self.observations.items():
            for target in decision.targets:
                kind = decision.tokens, target.member
                for key, part in _groups(target, observations):
                    if key not in gathered:
                        gathered[key] = _Gathered(target.choice, [])
                    gathered[key].parts.append((kind, part))
            if decision.account is not None:
                of_accounts[decision.account].append(observations)
            selected = decision.selected(observations)
            counted += len(selected)
            with_length += 0 if decision.tokens else len([1 for one in selected if one[3] is not None])
        tallies = {key: _tally(choice, parts) for key, choice, parts in _by_minute(gathered)}
        by_rule = _by_rule(tallies)
        for account, seen in of_accounts.items():
            tallies[Key(ACCOUNT_SEEN, (account,))] = _seen(seen)
        return tallies, Counters(selected=by_rule, by_any_rule=Selected(counted, with_length))


def _groups(target: Target, observations: Sequence[Observation]) -> Iterator[tuple[Key, Sequence[Observation]]]:
    """Yield the groups of one rule among the records of one combination: one, or one for each caller."""
    if target.group is None:
        return
    taken = target.choice.take(observations)
    if not taken:
        return
    if target.key is not None:
        yield target.key, taken
        return
    callers: defaultdict[str, list[Observation]] = defaultdict(list)
    for one in taken:
        callers[one[4]].append(one)
    for caller, part in callers.items():
        if caller:
            yield Key(target.choice.rule.id, target.group_of(caller)), part


def _by_minute(gathered: dict[Key, _Gathered]) -> Iterator[tuple[Key, Choice, _Parts]]:
    """Yield the groups, those of rules by minute a minute at a time."""
    for key, (choice, parts) in gathered.items():
        joined = _joined(parts)
        if not choice.rule.per_minute:
            yield key, choice, joined
            continue
        minutes: defaultdict[int, _Parts] = defaultdict(list)
        for kind, part in joined:
            of_part: defaultdict[int, list[Observation]] = defaultdict(list)
            for one in part:
                if one[1] is not None:
                    of_part[one[1] // MINUTE_MICROSECONDS].append(one)
            for minute, found in of_part.items():
                minutes[minute].append((kind, found))
        for minute, found_parts in minutes.items():
            yield Key(key.rule_id, (*key.group, minute_of(minute))), choice, found_parts


def _joined(parts: _Parts) -> _Parts:
    """Join parts of one kind that follow each other."""
    if len(parts) == 1:
        return parts
    return [
        (kind, list(chain.from_iterable([part for _, part in run])))
        for kind, run in groupby(parts, lambda part: part[0])
    ]


def _tally(choice: Choice, parts: _Parts) -> Tally:
    """Add up the records of one group, at least one."""
    tallies = []
    for (tokens, member), observations in parts:
        tally = Tally.of(observations, tokens=tokens)
        if choice.weighs:
            tally = tally.weighed(observations)
        tallies.append(tally.of_member(member) if choice.distinct else tally)
    for later in tallies[1:]:
        tallies[0].add(later)
    return tallies[0]


def _seen(parts: Sequence[Sequence[Observation]]) -> Tally:
    """Count records without callers and numbers."""
    sequences = [one[0] for part in parts for one in part]
    return Tally(len(sequences), first_sequence=min(sequences), last_sequence=max(sequences))


def _by_rule(tallies: Tallies) -> dict[str, Selected]:
    by_rule: defaultdict[str, list[Tally]] = defaultdict(list)
    for key, tally in tallies.items():
        by_rule[key.rule_id].append(tally)
    return {
        rule_id: Selected(sum([one.count for one in found]), sum([one.responses.records for one in found]))
        for rule_id, found in by_rule.items()
    }
