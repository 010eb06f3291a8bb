"""Suppression rules: who may do what a rule detects, until when, and whether that explains a finding. Pure.

A suppression rule for some callers explains a finding only if nothing would fire without their records. So it never
hides a stranger who joins them.
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
"""Suppression rules that one finding names if several explain it together; keeps the column small."""


class Suppression(msgspec.Struct, frozen=True, rename="pascal"):
    """The suppression of a finding: nobody is alerted."""

    reason: str
    owner: str
    expires: date


@dataclass(frozen=True, slots=True)
class Scope:
    """The groups that a change or a suppression rule applies to.

    Attributes:
        rule: a rule's id, or `EVERY`.
        resource: a pattern for the first group field, such as the resource id; `*` stands for any characters and `?`
            for one, upper and lower case are the same.
    """

    rule: str = EVERY
    resource: str = EVERY

    def matches(self, rule_id: str, entity: str) -> bool:
        """Check whether the scope holds this entity for this rule."""
        return self.rule in {EVERY, rule_id} and (
            self.resource == EVERY or fnmatchcase(entity.lower(), self.resource.lower())
        )


@dataclass(frozen=True, slots=True)
class SuppressionRule:
    """A suppression rule: its scope, reason, owner and last day.

    Attributes:
        scope: rules and resources.
        callers: object ids or ARNs in lower case; empty for every caller.
        reason: shown in findings.
        owner: whom to ask.
        expires: the last day (UTC) on which it is in force.
    """

    scope: Scope
    callers: frozenset[str]
    reason: str
    owner: str
    expires: date

    def in_force(self, at: datetime) -> bool:
        """Check whether it is in force for a window that ends then; a window to midnight belongs to the day before."""
        return (at - timedelta(microseconds=1)).date() <= self.expires


def explanation(
    suppression_rules: Iterable[SuppressionRule],
    tally: Tally,
    triggers: Sequence[Trigger],
    requires: Literal["any", "all"],
) -> Suppression | None:
    """Explain a finding by all suppression rules together; None if some trigger stays unexplained.

    Args:
        suppression_rules: the rules in force for the finding's group.
        tally: the finding's tally.
        triggers: every trigger of the finding.
        requires: `any` if each trigger alone makes the finding, `all` if only all of them together do.
    """
    found = list(suppression_rules)
    for suppression_rule in found:
        if not suppression_rule.callers:
            return _named([suppression_rule])
    callers = frozenset[str]().union(*(suppression_rule.callers for suppression_rule in found))
    enough = all if requires == "any" else any  # if all are required, one that no longer fires is enough
    if not callers or not enough(_falls_away(trigger, tally, callers) for trigger in triggers):
        return None
    seen = {caller.lower() for caller in tally.callers.keys() | tally.caller_bytes.keys()}
    return _named([suppression_rule for suppression_rule in found if suppression_rule.callers & seen])


def _falls_away(trigger: Trigger, tally: Tally, callers: frozenset[str]) -> bool:
    """Check whether a trigger would not fire without the records of some callers. Unlisted callers are others."""
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
    """Combine one or more rules into what a finding shows; the first to expire ends the suppression."""
    named = suppression_rules[:MAX_NAMED]
    return Suppression(
        reason="; ".join(dict.fromkeys(suppression_rule.reason for suppression_rule in named)),
        owner=", ".join(dict.fromkeys(suppression_rule.owner for suppression_rule in named)),
        expires=min(suppression_rule.expires for suppression_rule in suppression_rules),
    )
