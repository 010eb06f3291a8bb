"""What is in force for a rule and a resource: on or off, severity, thresholds, exceptions. Pure.

The catalogue's numbers come first. Changes follow in their order, and later ones win: the tuning file's for a rule,
its for resources, then the app settings, so that an operator can overrule everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from detectors.evaluation.suppressions import EVERY, Scope, Suppression, SuppressionRule, explanation
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Rule, Severity, Trigger
from detectors.rules.tally import Key, Tally

__all__ = ["EffectiveThresholds", "Policy", "PolicyChange", "Resolved", "ResolvedRule", "Suppression", "Thresholds"]

MAX_THRESHOLD = 2**53
"""The largest number that a threshold takes: JSON readers keep whole numbers exact up to here."""

_MAX_REMEMBERED = 100_000
"""Effective thresholds kept in memory, one for each rule and entity: some tens of megabytes."""

Thresholds = Mapping[str, Mapping[str, int]]
"""Numbers in force: by rule id, by threshold name."""


def catalogue_thresholds() -> Thresholds:
    """The numbers of the catalogue."""
    return {rule.id: {threshold.name: threshold.at_least for threshold in rule.thresholds} for rule in CATALOGUE}


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """One thing that somebody wants otherwise than the catalogue; None and what is missing leave things as they are.

    Attributes:
        origin: where it stands, such as `tuning.toml [[resources]] 2`.
        scope: for which rules and resources.
        enabled: on or off.
        severity: of findings.
        thresholds: numbers by threshold name; a rule without a threshold of that name is not changed.
        reason: why, where that has to be said.
    """

    origin: str
    scope: Scope
    enabled: bool | None = None
    severity: Severity | None = None
    thresholds: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resolved[T]:
    """A value, where it comes from, and the reason if one is given."""

    value: T
    origin: str = "default"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EffectiveThresholds:
    """What one rule holds one group against.

    Attributes:
        thresholds: numbers by threshold name.
        severity: of its findings.
    """

    thresholds: Mapping[str, int]
    severity: Severity


@dataclass(frozen=True, slots=True)
class ResolvedRule:
    """All that holds for one rule and resource, and why."""

    enabled: Resolved[bool]
    severity: Resolved[Severity]
    thresholds: Mapping[str, Resolved[int]]

    @property
    def effective(self) -> EffectiveThresholds | None:
        """Without the why; None if the rule is off."""
        if not self.enabled.value:
            return None
        return EffectiveThresholds(
            {name: number.value for name, number in self.thresholds.items()}, self.severity.value
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds, severities and exceptions, by rule and resource.

    Attributes:
        thresholds: the numbers to begin with; a rule that is not in it is off, and no change puts it on.
        changes: what is otherwise; later ones win.
        suppression_rules: the exceptions, whether they hold yet, still, or no longer.
    """

    thresholds: Thresholds = field(default_factory=catalogue_thresholds)
    changes: Sequence[PolicyChange] = ()
    suppression_rules: Sequence[SuppressionRule] = ()
    _remembered: dict[tuple[str, str], EffectiveThresholds | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that may be on for some resource."""
        return tuple(rule for rule in CATALOGUE if rule.id in self.thresholds and self._may_be_on(rule))

    def effective(self, key: Key) -> EffectiveThresholds | None:
        """What holds for a group; None if the rule is off for it. Asked for each group of each window: remembered."""
        place = key.rule_id, key.group[0]
        try:
            return self._remembered[place]
        except KeyError:
            effective = self.resolve(*place).effective
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[place] = effective
        return effective

    def resolve(self, rule_id: str, entity: str) -> ResolvedRule:
        """What holds for a rule and a resource, or whatever the rule's first group field is, and why."""
        enabled = Resolved(rule_id in self.thresholds)
        severity = Resolved(BY_ID[rule_id].severity)
        thresholds = {name: Resolved(number) for name, number in self.thresholds.get(rule_id, {}).items()}
        for change in self.changes:
            if not change.scope.matches(rule_id, entity):
                continue
            if change.enabled is not None and rule_id in self.thresholds:
                enabled = Resolved(change.enabled, change.origin, change.reason)
            if change.severity is not None:
                severity = Resolved(change.severity, change.origin, change.reason)
            for name in change.thresholds.keys() & thresholds.keys():
                thresholds[name] = Resolved(change.thresholds[name], change.origin, change.reason)
        return ResolvedRule(enabled, severity, thresholds)

    def suppression(self, key: Key, tally: Tally, triggers: Sequence[Trigger], at: datetime) -> Suppression | None:
        """What explains, in the window that ends at a time, all that fired; None if nothing does."""
        in_force = (
            suppression_rule
            for suppression_rule in self.suppression_rules
            if suppression_rule.in_force(at) and suppression_rule.scope.matches(key.rule_id, key.group[0])
        )
        return explanation(in_force, tally, triggers, BY_ID[key.rule_id].requires)

    def expired(self, at: datetime) -> list[SuppressionRule]:
        """The exceptions that no longer hold, those that ended last first."""
        ended = (suppression_rule for suppression_rule in self.suppression_rules if not suppression_rule.in_force(at))
        return sorted(ended, key=lambda suppression_rule: suppression_rule.expires, reverse=True)

    def with_number(self, rule_id: str, threshold: str, value: int) -> "Policy":
        """The policy with one number changed for every resource."""
        return replace(
            self, changes=(*self.changes, PolicyChange("what if", Scope(rule_id), thresholds={threshold: value}))
        )

    def is_split(self, rule_id: str, threshold: str) -> bool:
        """Whether some resources have a number of their own for a threshold."""
        return any(
            threshold in change.thresholds and change.scope.rule in {EVERY, rule_id} and change.scope.resource != EVERY
            for change in self.changes
        )

    def alone(self, rule_id: str) -> "Policy":
        """The policy with all other rules off."""
        return replace(self, thresholds={rule_id: self.thresholds[rule_id]})

    def _may_be_on(self, rule: Rule) -> bool:
        """Whether it is on, or some resource has it on."""
        on = True
        for change in self.changes:
            if change.enabled is not None and change.scope.rule in {EVERY, rule.id}:
                on = change.enabled or (on and change.scope.resource != EVERY)
        return on
