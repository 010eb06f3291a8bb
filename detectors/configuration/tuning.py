"""The tuning file: changes to the catalogue's rules, and suppression rules, kept and reviewed as code.

    [rules.<rule id>]     enabled, severity, and thresholds by their names
    [[resources]]         the same for the resources that a pattern matches; the last matching entry wins
    [[exceptions]]        what explains findings, until a day

A misspelt name would silently change nothing, so every unknown name is an error. All problems are reported at once,
each with its place.
"""

import re
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, get_args

from detectors.evaluation.policy import MAX_THRESHOLD, PolicyChange
from detectors.evaluation.suppressions import EVERY, Scope, SuppressionRule
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Severity
from detectors.toml_table import TomlTable, lines_of, shown, suggestion

MAX_PATTERN, MAX_REASON, MAX_OWNER = 500, 300, 100
"""The most characters: findings and heartbeats show these texts, in columns of 64 KB."""

_SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_THRESHOLDS = sorted({threshold.name for rule in CATALOGUE for threshold in rule.thresholds})
_ID_STARTS = ("/subscriptions/", "arn:")
"""The prefixes of a rule's first group field: resource ids, and ARNs of users."""

_CALLER = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|arn:\S{1,252}")


class Tuning(NamedTuple):
    """The contents of a tuning file, and its problems."""

    changes: tuple[PolicyChange, ...] = ()
    suppression_rules: tuple[SuppressionRule, ...] = ()
    problems: tuple[str, ...] = ()


def read(path: Path, name: str) -> Tuning:
    """Read the file at a path; problems and origins call it `name`."""
    try:
        return parse(path.read_text(encoding="utf-8-sig"), name)
    except OSError as error:
        problem = (
            f"TUNING_FILE names {name}, which cannot be read ({error.strerror}): give it a path from the app's folder."
        )
    except UnicodeDecodeError as error:
        problem = f"{name} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8."
    return Tuning(problems=(problem,))


def parse(text: str, name: str) -> Tuning:
    """Parse the text of a tuning file."""
    problems: list[str] = []
    try:
        values = tomllib.loads(f"{text}\n")  # so that tomllib can name the last line too
        top = TomlTable(name, values, problems, lines_of(text))
    except ValueError as error:
        return Tuning(problems=(f"{name} is no TOML: {error}.",))
    changes = [_of_rule(rule_id, entry) for rule_id, entry in _rules(top)]
    changes += [_of_resources(entry) for entry in top.tables("resources")]
    suppression_rules = [_suppression_rule(entry) for entry in top.tables("exceptions")]
    top.refuse_others()
    return Tuning(tuple(changes), tuple(suppression_rules), tuple(problems))


def _rules(top: TomlTable) -> Iterator[tuple[str, TomlTable]]:
    """Yield the tables `[rules.<rule id>]`."""
    for rule_id, values in (top.take("rules", dict, "tables, such as [rules.model_theft]") or {}).items():
        name = f"[rules.{rule_id}]"
        if rule_id not in BY_ID:
            top.refuse("rules", f"{name} is no rule: {suggestion(rule_id, BY_ID)}")
        if entry := top.inner(name, values, f"values below {name}", ("rules", rule_id)):
            yield rule_id, entry


def _of_rule(rule_id: str, entry: TomlTable) -> PolicyChange:
    values = _values(entry, rule_id)
    as_upstream = entry.take("as_upstream", bool, "true or false")
    if as_upstream is not None and rule_id in BY_ID and not BY_ID[rule_id].source_id:
        entry.refuse("as_upstream", f"{rule_id} has no upstream rule: write a rule of your own instead.")
    entry.refuse_others()
    return PolicyChange(entry.place, Scope(rule_id), **values, as_upstream=as_upstream)


def _of_resources(entry: TomlTable) -> PolicyChange:
    scope = Scope(_rule(entry), _pattern(entry) or entry.missing("resource", "a pattern, such as */accounts/aoai-ci-*"))
    values = _values(entry, scope.rule)
    reason = entry.text("reason", MAX_REASON) or entry.missing("reason", "the reason, for whoever reads this next")
    if entry.names <= {"rule", "resource", "reason"}:
        entry.refuse("", "it changes nothing: give it enabled, severity or a threshold.")
    entry.refuse_others()
    return PolicyChange(entry.place, scope, **values, reason=reason)


def _suppression_rule(entry: TomlTable) -> SuppressionRule:
    suppression_rule = SuppressionRule(
        scope=Scope(_rule(entry), _pattern(entry) or EVERY),
        callers=_callers(entry),
        reason=entry.text("reason", MAX_REASON) or entry.missing("reason", "the reason, which findings show"),
        owner=entry.text("owner", MAX_OWNER) or entry.missing("owner", "whom to ask, such as a team"),
        expires=_day(entry),
    )
    if entry.names <= {"rule", "reason", "owner", "expires"}:
        entry.refuse("", "it would explain every finding: give it resource, callers or both.")
    entry.refuse_others()
    return suppression_rule


def _values(entry: TomlTable, rule_id: str) -> dict[str, Any]:
    """Read enabled, severity and thresholds: those of the rule, or of any rule if the entry applies to every rule."""
    names = [threshold.name for threshold in BY_ID[rule_id].thresholds] if rule_id in BY_ID else _THRESHOLDS
    enabled = entry.take("enabled", bool, "true or false")
    severity = entry.one_of("severity", _SEVERITIES)
    numbers = {name: entry.number(name, 1, MAX_THRESHOLD) for name in names}
    thresholds = {name: number for name, number in numbers.items() if number is not None}
    return {"enabled": enabled, "severity": severity, "thresholds": thresholds}


def _rule(entry: TomlTable) -> str:
    rule_id = entry.one_of("rule", (*BY_ID, EVERY))
    return rule_id or entry.missing("rule", 'the id of a rule, or "*"') or EVERY


def _pattern(entry: TomlTable) -> str | None:
    pattern = entry.text("resource", MAX_PATTERN)
    literal = re.split(r"[*?[]", pattern or "", maxsplit=1)[0].lower()
    if not any(start.startswith(literal) or literal.startswith(start) for start in _ID_STARTS):
        entry.refuse(
            "resource", f"resource {pattern!r} fits no id: ids begin with {' or '.join(_ID_STARTS)}; begin it with *."
        )
    return pattern


def _callers(entry: TomlTable) -> frozenset[str]:
    wanted = "a list of object ids (or ARNs), or leave it out to explain whoever calls"
    callers = entry.take("callers", list, wanted)
    if callers == []:  # taken for none, it would explain everybody
        entry.refuse("callers", f"callers is empty: give it {wanted}.")
    known = [caller for caller in callers or [] if isinstance(caller, str) and _CALLER.fullmatch(caller)]
    for caller in callers or []:
        if caller not in known:
            entry.refuse("callers", f"callers holds {shown(caller)}: give it {wanted}.")
    return frozenset(caller.lower() for caller in known)


def _day(entry: TomlTable) -> date:
    wanted = "the last day on which it holds, such as 2027-03-31, without quotes"
    day = entry.take("expires", date, wanted)
    if day is None:
        entry.missing("expires", wanted)
    return day or date.min
