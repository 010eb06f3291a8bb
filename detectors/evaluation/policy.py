"""The policy for a rule and an entity: on or off, severity, thresholds, suppression rules. Pure.

The catalogue's numbers come first. Changes follow in order, and later ones win: the tuning file's changes of rules,
its changes for resources, then the app settings, so that an operator can override everything.
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
    """Return the default thresholds of the catalogue."""
    return {rule.id: {threshold.name: threshold.at_least for threshold in rule.thresholds} for rule in CATALOGUE}


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """One change to the catalogue's defaults; None, or a missing threshold, changes nothing.

    Attributes:
        origin: where it stands, such as `tuning.toml [[resources]] 2`.
        scope: for which rules and resources.
        enabled: on or off.
        severity: of findings.
        thresholds: numbers by threshold name; a rule without a threshold of that name is not changed.
        as_upstream: count as the upstream rule does, whatever is usual; for a whole rule alone.
        reason: why, if a reason is required.
    """

    origin: str
    scope: Scope
    enabled: bool | None = None
    severity: Severity | None = None
    thresholds: Mapping[str, int] = field(default_factory=dict)
    as_upstream: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resolved[T]:
    """A value, its origin, and the reason if one is given."""

    value: T
    origin: str = "default"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EffectiveThresholds:
    """The thresholds and severity of one rule for one group.

    Attributes:
        thresholds: numbers by threshold name.
        severity: of its findings.
    """

    thresholds: Mapping[str, int]
    severity: Severity


@dataclass(frozen=True, slots=True)
class ResolvedRule:
    """Everything in force for one rule and one entity, with origins."""

    enabled: Resolved[bool]
    severity: Resolved[Severity]
    thresholds: Mapping[str, Resolved[int]]

    @property
    def effective(self) -> EffectiveThresholds | None:
        """The same without origins; None if the rule is off."""
        if not self.enabled.value:
            return None
        return EffectiveThresholds(
            {name: number.value for name, number in self.thresholds.items()}, self.severity.value
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds, severities and exceptions, by rule and resource.

    Attributes:
        thresholds: the initial numbers; a rule that is missing here is off, and no change enables it.
        changes: the changes to them; later ones win.
        suppression_rules: all of them, expired ones included.
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
        return tuple(
            rule.as_upstream() if self.is_as_upstream(rule.id) else rule
            for rule in CATALOGUE
            if rule.id in self.thresholds and self._may_be_on(rule)
        )

    def is_as_upstream(self, rule_id: str) -> bool:
        """Check whether a rule counts as the upstream rule does, whatever is usual."""
        said = [change.as_upstream for change in self.changes if change.scope.rule == rule_id]
        return next((one for one in reversed(said) if one is not None), False)

    def effective(self, key: Key) -> EffectiveThresholds | None:
        """Resolve the thresholds for a group; None if the rule is off for it. Cached, as every group needs them."""
        place = key.rule_id, key.group[0] if self.changes else ""
        try:
            return self._remembered[place]
        except KeyError:
            effective = self.resolve(*place).effective
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[place] = effective
        return effective

    def resolve(self, rule_id: str, entity: str) -> ResolvedRule:
        """Resolve everything in force for a rule and an entity, the value of the rule's first group field."""
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
        """Find the suppression that explains all triggers in the window that ends at a time; None if there is none."""
        in_force = (
            suppression_rule
            for suppression_rule in self.suppression_rules
            if suppression_rule.in_force(at) and suppression_rule.scope.matches(key.rule_id, key.group[0])
        )
        return explanation(in_force, tally, triggers, BY_ID[key.rule_id].requires)

    def expired(self, at: datetime) -> list[SuppressionRule]:
        """List the expired suppression rules, latest first."""
        ended = (suppression_rule for suppression_rule in self.suppression_rules if not suppression_rule.in_force(at))
        return sorted(ended, key=lambda suppression_rule: suppression_rule.expires, reverse=True)

    def with_number(self, rule_id: str, threshold: str, value: int) -> "Policy":
        """Return the policy with one threshold changed for every resource."""
        return replace(
            self, changes=(*self.changes, PolicyChange("what if", Scope(rule_id), thresholds={threshold: value}))
        )

    def is_split(self, rule_id: str, threshold: str) -> bool:
        """Check whether some resources have their own number for a threshold."""
        return any(
            threshold in change.thresholds and change.scope.rule in {EVERY, rule_id} and change.scope.resource != EVERY
            for change in self.changes
        )

    def alone(self, rule_id: str) -> "Policy":
        """Return the policy with all other rules off."""
        return replace(self, thresholds={rule_id: self.thresholds[rule_id]})

    def _may_be_on(self, rule: Rule) -> bool:
        """Check whether the rule is on, generally or for some resource."""
        on = True
        for change in self.changes:
            if change.enabled is not None and change.scope.rule in {EVERY, rule.id}:
                on = change.enabled or (on and change.scope.resource != EVERY)
        return on
