"""What holds for one resource, and why: every rule that can fire for it, and the exceptions that cover it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import click

from detectors.cli.layout import Rows
from detectors.evaluation.policy import Policy, Resolved, ResolvedRule
from detectors.evaluation.suppressions import SuppressionRule
from detectors.rules.rule import Rule
from detectors.sources import resources
from detectors.sources.aws_bedrock import principal

_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FIRST_FIELDS = {
    "ResourceId": re.compile(r"/subscriptions/.*"),
    "UserArn": re.compile(r"arn:\S+"),
    "Caller": re.compile(_GUID, re.IGNORECASE),
}
"""What rules group by first, and what such ids look like."""


class OfRule(NamedTuple):
    """One rule for the resource."""

    rule: Rule
    effective: ResolvedRule
    suppression_rules: Sequence[SuppressionRule]


def entity_of(text: str) -> str:
    """Return the id by which tallies go: of an Azure resource, or a child of one; of an AWS identity; an object id.

    Raises:
        click.BadParameter: it is none of them. A mere name will not do, as patterns are held against whole ids.
    """
    word = text.strip()
    if _FIRST_FIELDS["UserArn"].fullmatch(word):
        return principal(word)
    if _FIRST_FIELDS["Caller"].fullmatch(word):
        return word
    entity = resources.canonical(word)
    if entity is None:
        wanted = "/subscriptions/…/accounts/<name>, arn:…, or an object id"
        raise click.BadParameter(f"{text!r} is no whole id: give {wanted}")
    return entity


def of_rules(policy: Policy, rules: Iterable[Rule], entity: str) -> list[OfRule]:
    """List what is in force for the rules that look at this kind of entity."""
    return [
        OfRule(
            rule,
            policy.resolve(rule.id, entity),
            [
                suppression_rule
                for suppression_rule in policy.suppression_rules
                if suppression_rule.scope.matches(rule.id, entity)
            ],
        )
        for rule in rules
        if _FIRST_FIELDS[rule.group_fields[0]].fullmatch(entity)
    ]


def values(found: Sequence[OfRule]) -> Rows:
    """List a row for each value in force."""
    rows = [["Rule", "What", "In force", "Because of", "Reason"]]
    for rule, effective, _ in found:
        for name, value in _all_of(effective):
            rows.append([rule.id, name, _shown(value.value), value.origin, value.reason])
    return rows


def exceptions(found: Sequence[OfRule], now: datetime) -> Rows:
    """List a row for each exception, with the rules that it is about; the header alone if there is none."""
    rules: dict[SuppressionRule, list[str]] = {}
    for rule, _, suppression_rules in found:
        for suppression_rule in suppression_rules:
            rules.setdefault(suppression_rule, []).append(rule.id)
    header = ["Exception", "Holds until", "State", "Owner", "For callers", "For rules"]
    return [header] + [
        [
            suppression_rule.reason,
            suppression_rule.expires.isoformat(),
            "in force" if suppression_rule.in_force(now) else "expired",
            suppression_rule.owner,
            ", ".join(sorted(suppression_rule.callers)) or "all",
            "all" if len(ids) == len(found) else ", ".join(ids),
        ]
        for suppression_rule, ids in rules.items()
    ]


def objects(entity: str, found: Sequence[OfRule], now: datetime) -> Iterator[Mapping[str, Any]]:
    """Yield an object for each rule."""
    for rule, effective, suppression_rules in found:
        yield {
            "resource": entity,
            "rule": rule.id,
            **{name: _object(value) for name, value in _all_of(effective) if name not in effective.thresholds},
            "thresholds": {name: _object(value) for name, value in effective.thresholds.items()},
            "exceptions": [
                {
                    "reason": suppression_rule.reason,
                    "owner": suppression_rule.owner,
                    "expires": suppression_rule.expires.isoformat(),
                    "in_force": suppression_rule.in_force(now),
                    "callers": sorted(suppression_rule.callers),
                }
                for suppression_rule in suppression_rules
            ],
        }


def _all_of(effective: ResolvedRule) -> Iterator[tuple[str, Resolved[Any]]]:
    yield "enabled", effective.enabled
    yield "severity", effective.severity
    yield from effective.thresholds.items()


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else str(value)


def _object(value: Resolved[Any]) -> Mapping[str, Any]:
    return {"value": value.value, "origin": value.origin, "reason": value.reason}
