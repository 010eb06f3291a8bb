"""Bounds on the groups of one lead: what a group's first field names, such as an account or a caller.

Whoever makes up names must not take the room of others. So each lead has room for `MAX_GROUPS` groups of a rule in one
bucket of one partition, first come first kept; what comes for others is counted in one more group of that lead, in
which `OTHERS` stands for all fields behind the lead. It fires as any group does. Two things always hold: a lead's sum
over its groups is exact, and no lead changes what is counted of another. Which groups are kept does not depend on how
batches are cut: a new group counts from its first event on, and groups of one event are taken in order of their names.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from detectors.rules.catalogue import BY_ID
from detectors.rules.tally import MAX_CALLERS, Group, Key, Tally

OTHERS = "(others)"

MAX_GROUPS = 50
"""Groups told apart of one rule and lead: more models, callers or accounts than anybody uses in ten minutes, and few
enough that a lead which has them all, with long names, takes a share of a slice of storage and not all of it."""

MAX_MINUTES = 200
"""The same for rules by minute. An hour of arrival holds sixty minutes; logs that are late bring older ones."""

_EMPTY = Tally()


def others_of(group: Group) -> Group:
    """Name the group in which a lead's further groups are counted; a group of one field is its own."""
    return (group[0], *[OTHERS] * (len(group) - 1))


def is_crowd(group: Group) -> bool:
    """Tell whether a group is one of further groups, or of further leads."""
    return group[0] == OTHERS or group[-1] == OTHERS


def room_of(rule_id: str) -> int:
    """Return how many groups of a rule are told apart for one lead."""
    rule = BY_ID.get(rule_id)
    return MAX_MINUTES if rule and rule.per_minute else MAX_GROUPS


def merge_bounded(held: dict[Key, Tally], added: Iterable[tuple[Key, Tally]], crowded: Collection[str] = ()) -> None:
    """Add tallies to those of one bucket and partition, within the bounds on callers, members and groups.

    Args:
        held: what is known, changed in place.
        added: what events bring that follow those in `held`.
        crowded: leads that get no more groups and no more names: they have filled a segment before this one.
    """
    known: Counter[tuple[str, str]] | None = None
    for key, tally in sorted(added, key=_arrival):
        lead, names = key.group[0], MAX_CALLERS
        if lead in crowded:
            key, names = Key(key.rule_id, others_of(key.group)), 0  # noqa: PLW2901 - where it is counted instead
        elif len(key.group) > 1 and key not in held:
            if known is None:
                known = Counter((one.rule_id, one.group[0]) for one in held if not is_crowd(one.group))
            place = key.rule_id, lead
            if known[place] < room_of(key.rule_id):
                known[place] += 1
            else:
                key = Key(key.rule_id, others_of(key.group))  # noqa: PLW2901 - likewise
        held[key] = held.get(key, _EMPTY).merged(tally, max_callers=names)


def _arrival(one: tuple[Key, Tally]) -> tuple[int, Key]:
    key, tally = one
    return -1 if tally.first_sequence is None else tally.first_sequence, key


class Room(NamedTuple):
    """What is kept of one message that outgrows a segment.

    Attributes:
        names: callers and members of a group.
        groups: groups of a rule and lead.
        leads: leads of a rule.
    """

    names: int
    groups: int
    leads: int


ROOMS = (Room(5, MAX_GROUPS, 100_000), Room(0, 5, 100_000), Room(0, 0, 300), Room(0, 0, 0))
"""Tried one after another. The last one fits always: it leaves a group for each rule."""


def condensed(tallies: Mapping[Key, Tally], room: Room) -> dict[Key, Tally]:
    """Count the tallies of one message in fewer groups and with fewer names, the largest kept; sums stay exact."""
    by_lead: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
    records: Counter[tuple[str, str]] = Counter()
    for key, tally in tallies.items():
        by_lead[key.rule_id, key.group[0]].append(key)
        records[key.rule_id, key.group[0]] += tally.count
    leads: Counter[str] = Counter()
    held: dict[Key, Tally] = {}
    for rule_id, lead in sorted(by_lead, key=lambda place: (place[0], -records[place], place[1])):
        leads[rule_id] += 1
        ranked = sorted(by_lead[rule_id, lead], key=lambda key: (-tallies[key].count, key))
        for place, key in enumerate(ranked):
            group = key.group if place < room.groups else others_of(key.group)
            if leads[rule_id] > room.leads:
                group = (OTHERS,) * len(group)
            kept = Key(rule_id, group)
            held[kept] = held.get(kept, _EMPTY).merged(tallies[key].shortened(room.names))
    return {key: tally.shortened(room.names) for key, tally in held.items()}
