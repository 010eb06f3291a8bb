"""Known exceptions: who may do what a rule looks for, until when, and whether that explains a finding. Pure.

Whether something is an attack is decided by what would be left of it: an exception for some callers explains a
finding only if nothing had fired without their records. A stranger who joins them is never hidden.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from detectors.rules.rule import Trigger
from detectors.rules.tally import Tally

EVERY = "*"
"""Stands for every rule, or for every resource."""

MAX_NAMED = 5
"""Exceptions that one finding names when several explain it together: keeps its column small."""


class Suppression(msgspec.Struct, frozen=True, rename="pascal"):
    """The exception that explains a finding, so that nobody is alerted."""

    reason: str
    owner: str
    expires: date


@dataclass(frozen=True, slots=True)
class Scope:
    """Which groups something is about.

    Attributes:
        rule: a rule's id, or `EVERY`.
        resource: a pattern for the first group field, such as the resource id; `*` stands for any characters and `?`
            for one, upper and lower case are the same.
    """

    rule: str = EVERY
    resource: str = EVERY

    def matches(self, rule_id: str, entity: str) -> bool:
        """Whether it is about groups of a rule with this first field."""
        return self.rule in {EVERY, rule_id} and (
            self.resource == EVERY or fnmatchcase(entity.lower(), self.resource.lower())
        )


@dataclass(frozen=True, slots=True)
class SuppressionRule:
    """An exception: what it is about, why, who answers for it, and its last day.

    Attributes:
        scope: rules and resources.
        callers: object ids or ARNs in lower case; empty for whoever calls.
        reason: shown in findings.
        owner: whom to ask.
        expires: the last day (UTC) on which it holds.
    """

    scope: Scope
    callers: frozenset[str]
    reason: str
    owner: str
    expires: date

    def in_force(self, at: datetime) -> bool:
        """Whether it holds for a window that ends then; one that ends at midnight belongs to the day before."""
        return (at - timedelta(microseconds=1)).date() <= self.expires


def explanation(
    suppression_rules: Iterable[SuppressionRule],
    tally: Tally,
    triggers: Sequence[Trigger],
    requires: Literal["any", "all"],
) -> Suppression | None:
    """What explains a finding, taking together all callers that are exempt; None if something stays unexplained.

    Args:
        suppression_rules: those in force for the finding's group.
        tally: of the finding.
        triggers: all that fired.
        requires: whether each of them is a finding, or only all of them together are one.
    """
    found = list(suppression_rules)
    for suppression_rule in found:
        if not suppression_rule.callers:
            return _named([suppression_rule])
    callers = frozenset[str]().union(*(suppression_rule.callers for suppression_rule in found))
    enough = all if requires == "any" else any  # where all must hold together, one that falls away is enough
    if not callers or not enough(_falls_away(trigger, tally, callers) for trigger in triggers):
        return None
    seen = {caller.lower() for caller in tally.callers.keys() | tally.caller_bytes.keys()}
    return _named([suppression_rule for suppression_rule in found if suppression_rule.callers & seen])


def _falls_away(trigger: Trigger, tally: Tally, callers: frozenset[str]) -> bool:
    """Whether it had not fired without the records of some callers. Who is not listed in the tally is none of them."""
    theirs = sum(count for caller, count in tally.callers.items() if caller.lower() in callers)
    match trigger.measure:
        case "count":
            return tally.count - theirs < trigger.at_least
        case "max_caller_bytes":
            others = (total for caller, total in tally.caller_bytes.items() if caller.lower() not in callers)
            return max(others, default=0) + tally.other_bytes < trigger.at_least  # any of them may be one caller's
        case _:
            return theirs == tally.count


def _named(suppression_rules: Sequence[SuppressionRule]) -> Suppression:
    """One or several, as a finding shows them: it stays explained until the first of them expires."""
    named = suppression_rules[:MAX_NAMED]
    return Suppression(
        reason="; ".join(dict.fromkeys(suppression_rule.reason for suppression_rule in named)),
        owner=", ".join(dict.fromkeys(suppression_rule.owner for suppression_rule in named)),
        expires=min(suppression_rule.expires for suppression_rule in suppression_rules),
    )
