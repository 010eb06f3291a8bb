"""Selected records -> tallies. All records of a combination at once, since that is several times faster than singly."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from detectors.ingestion.decisions import Decision, Target
from detectors.ingestion.delta import Tallies
from detectors.rules.counters import Counters, Selected
from detectors.rules.tally import ACCOUNT_SEEN, Key, Observation, Tally
from detectors.windows import MINUTE_MICROSECONDS, minute_number, minute_of


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
        parts: defaultdict[Key, list[Tally]] = defaultdict(list)
        selected = Selected()
        for decision, observations in self.observations.items():
            part = _Part(decision, observations)
            for target in decision.targets:
                for key, tally in part.groups(target):
                    parts[key].append(tally)
            if decision.account is not None:
                parts[Key(ACCOUNT_SEEN, (decision.account,))].append(part.seen())
            selected = selected.merged(part.selected())
        tallies = {key: _together(found) for key, found in parts.items()}
        return tallies, Counters(selected=_by_rule(tallies), by_any_rule=selected)


class _Part:
    """The records of one combination, and what several of its rules ask of them."""

    def __init__(self, decision: Decision, observations: Sequence[Observation]) -> None:
        self._decision = decision
        self._observations = observations

    @cached_property
    def _whole(self) -> Tally:
        return Tally.of(self._observations, tokens=self._decision.tokens)

    @cached_property
    def _minute(self) -> str:
        """The minute of all records, as mostly there is; empty if there are several, or some records tell no time."""
        first, last = self._whole.first_time, self._whole.last_time
        if first is None or last is None or None in [one[1] for one in self._observations]:
            return ""
        number = first // MINUTE_MICROSECONDS
        return minute_of(number) if number == last // MINUTE_MICROSECONDS else ""

    def groups(self, target: Target) -> Iterator[tuple[Key, Tally]]:
        """Yield the tallies of one rule: mostly one, else one for each caller or minute."""
        choice = target.choice
        taken = choice.take(self._observations) if target.group is not None else ()
        for caller, of_caller in _by_caller(taken) if target.by_caller else [("", taken)]:
            for minute, found in self._by_minute(of_caller) if choice.rule.per_minute else [("", of_caller)]:
                if found:
                    tally = self._sum(found)
                    if choice.weighs:
                        tally = tally.weighed(found)
                    yield target.key_of(caller, minute), tally.of_member(target.member) if choice.distinct else tally

    def _by_minute(self, observations: Sequence[Observation]) -> Iterable[tuple[str, Sequence[Observation]]]:
        return [(self._minute, observations)] if self._minute else _by_minute(observations)

    def seen(self) -> Tally:
        """Count the records without callers and numbers."""
        whole = self._whole
        return Tally(whole.count, first_sequence=whole.first_sequence, last_sequence=whole.last_sequence)

    def selected(self) -> Selected:
        """Count the records that at least one rule takes."""
        taken = self._decision.selected(self._observations)
        tally = self._sum(taken) if taken else Tally()
        return Selected(tally.count, tally.responses.records)

    def _sum(self, observations: Sequence[Observation]) -> Tally:
        """Add up some of the records, at least one."""
        if len(observations) == len(self._observations):
            return self._whole
        return Tally.of(observations, tokens=self._decision.tokens)


def _by_caller(observations: Sequence[Observation]) -> Iterable[tuple[str, Sequence[Observation]]]:
    """Tell records apart by caller; those without one are left out."""
    found: defaultdict[str, list[Observation]] = defaultdict(list)
    for one in observations:
        if one[4]:
            found[one[4]].append(one)
    return found.items()


def _by_minute(observations: Sequence[Observation]) -> Iterable[tuple[str, Sequence[Observation]]]:
    """Tell records apart by minute; those without a time are left out."""
    found: defaultdict[int, list[Observation]] = defaultdict(list)
    for one in observations:
        if one[1] is not None:
            found[minute_number(one[1])].append(one)
    return [(minute_of(number), part) for number, part in found.items()]


def _together(tallies: Sequence[Tally]) -> Tally:
    if len(tallies) == 1:
        return tallies[0]
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def _by_rule(tallies: Tallies) -> dict[str, Selected]:
    by_rule: defaultdict[str, list[Tally]] = defaultdict(list)
    for key, tally in tallies.items():
        if key.rule_id != ACCOUNT_SEEN:
            by_rule[key.rule_id].append(tally)
    return {
        rule_id: Selected(sum([one.count for one in found]), sum([one.responses.records for one in found]))
        for rule_id, found in by_rule.items()
    }
