"""A page for each rule, from its file and its guide; and tables of all of them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from detectors.configuration.settings import setting_of
from detectors.rules.catalogue import HERE
from detectors.rules.rule import MINUTE, Rule, Selection
from detectors.sources.catalogue import BY_NAME
from generate.markdown import code, lower_first, marked, table

_SHOWN = ("select", "group", "thresholds", "example")
"""The tables of a rule's file that say what it does; the others are told in words."""

_HEADER = re.compile(r"^(?=\[)", re.MULTILINE)
_NAME = re.compile(r"\[+([\w-]+)")


def rules(shown: Iterable[Rule], pages: str) -> str:
    """Make the table of rules, with links to their pages, which stand in a folder."""
    rows = (
        (f"[{rule.name}]({pages}/{rule.id}.md)".replace("(./", "("), _fires(rule), _counted_by(rule), rule.severity)
        for rule in shown
    )
    return table(("Detection", "Fires at", "Counted by", "Severity"), rows)


def alerts(shown: Iterable[Rule]) -> str:
    """Make the table of what Microsoft Sentinel makes of findings."""
    return table(
        ("Detection", "ATT&CK", "Severity"),
        ((marked(rule.id), _attack(rule), _severity(rule)) for rule in shown if rule.alert),
    )


def _severity(rule: Rule) -> str:
    return f"{rule.severity}, switched off" if rule.alert and rule.alert.raises == "nothing" else rule.severity


def page(rule: Rule) -> str:
    """Write the page of a rule."""
    text = (HERE / f"{rule.id}.toml").read_text()
    guide = Path(HERE / f"{rule.id}.md").read_text().strip()
    parts = [
        f"<!-- Written by `make generate` from detectors/rules/{rule.id}.toml and its guide. -->",
        f"# {rule.name}",
        table(("Rule", f"`{rule.id}`, version {rule.version}"), _facts(rule)),
        "## What it looks for",
        rule.description,
        "## Thresholds",
        table(("Threshold", "Fires at", "What it is", "App setting"), _thresholds(rule)),
        "## In its file",
        code("toml", _file(text)),
        re.sub(r"^(#+) ", r"#\1 ", guide, flags=re.MULTILINE).replace(f"## Triage: {rule.name}", "## Triage", 1),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(rule: Rule) -> Iterable[Sequence[str]]:
    yield "Severity", f"{rule.severity}, risk {rule.risk_score}"
    yield from (("Counts", _selected(selection)) for selection in rule.select)
    yield "Counted by", _counted_by(rule)
    yield "Fires at", _fires(rule)
    yield "Techniques", ", ".join(rule.techniques)
    if rule.alert:
        yield "ATT&CK", _attack(rule)
    if rule.source_id:
        yield "Modelled on", f"Elastic's prebuilt rule `{rule.source_id}`"


def _thresholds(rule: Rule) -> Iterable[Sequence[str]]:
    for one in rule.thresholds:
        yield marked(one.name), f"{one.at_least:,}", lower_first(one.unit), marked(setting_of(rule.id, one.name))


def _attack(rule: Rule) -> str:
    attack = rule.alert.attack if rule.alert else {}
    return ", ".join(f"{tactic} {', '.join(techniques)}" for tactic, techniques in attack.items())


def _fires(rule: Rule) -> str:
    """Say when a rule fires: `key listings ≥ 100 or bytes in one response ≥ 1,000,000`."""
    joined = " or " if rule.requires == "any" else " and "
    return joined.join(f"{lower_first(one.unit)} ≥ {one.at_least:,}" for one in rule.thresholds)


def _counted_by(rule: Rule) -> str:
    """Say what is counted apart, and over which time: `resource, hour`."""
    fields = [name.replace("_", " ") for name in rule.group_by]
    if rule.first_seen_only:
        fields[-1] = f"new {fields[-1]}"
    return ", ".join([*fields, "minute" if MINUTE in rule.group_fields else "hour"])


def _selected(selection: Selection) -> str:
    """Say what a selection accepts: `Azure OpenAI diagnostic logs with category Audit, operation ListKey`."""
    tests = {"is": "", "is_not": "not ", "at_least": "at least "}
    asked = []
    for condition in (*selection.conditions, *selection.numbers):
        values = " or ".join(f"`{value}`" for value in condition.values)
        if condition.test == "known":
            asked.append(f"{'a' if condition.values[0] else 'no'} {condition.field}")
        else:
            asked.append(f"{condition.field.replace('_', ' ')} {tests[condition.test]}{values}")
    return f"{BY_NAME[selection.source].title} with {', '.join(asked)}" if asked else BY_NAME[selection.source].title


def _file(text: str) -> str:
    """Show the tables of a rule's file that say what it does."""
    return "".join(part for part in _HEADER.split(text) if (name := _NAME.match(part)) and name[1] in _SHOWN)
