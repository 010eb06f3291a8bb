"""`rules`: what is detected; one rule in full, with what to do about its alerts."""

import argparse
from collections.abc import Iterable, Mapping

from detectors.commands.guides import description, guide
from detectors.commands.layout import Rows, aligned, markdown, ndjson, write
from detectors.commands.parser import TAKEN, Commands, add_command, add_format
from detectors.rules import BY_ID, CATALOGUE
from detectors.rules.rule import Rule

ABOUT = """Every rule of the catalogue with its severity, thresholds, techniques (MITRE ATLAS, OWASP) and upstream rule.

With a name: that rule in full, the app settings that change its thresholds, what it cannot see, and the triage guide
for whoever gets its alert. Numbers are the defaults; `settings` shows those in force.
"""

EXAMPLES = """examples:
  python -m detectors rules
  python -m detectors rules model_theft
  python -m detectors rules model_theft --format markdown     # for a wiki
  python -m detectors rules --format ndjson                   # all of it, an object for each rule
"""

_WORDS = {"any": "or", "all": "and"}


def add(commands: Commands) -> None:
    """Describe the command."""
    rules = add_command(
        commands, "rules", _run, summary="what is detected, and how to triage it", about=ABOUT, examples=EXAMPLES
    )
    rules.add_argument("name", nargs="?", choices=tuple(BY_ID), metavar="NAME", help="one rule in full")
    add_format(rules, "table", "ndjson", "markdown")


def _run(options: argparse.Namespace) -> int:
    chosen = [BY_ID[options.name]] if options.name else CATALOGUE
    if options.format == "ndjson":
        write(ndjson(map(_object, chosen)))
    elif options.name:
        write(_in_full(chosen[0], as_markdown=options.format == "markdown"))
    else:
        layout = markdown if options.format == "markdown" else aligned
        write(layout(_catalogue(), text=(0, 1, 3, 4, 5)))
    return TAKEN


def _catalogue() -> Rows:
    header = ["Rule", "Severity", "Risk", "Fires at", "Techniques", "Upstream"]
    return [header] + [
        [rule.id, rule.severity, str(rule.risk_score), _fires_at(rule), ", ".join(rule.techniques), rule.source_id]
        for rule in CATALOGUE
    ]


def _fires_at(rule: Rule) -> str:
    conditions = (f"{threshold.name} {threshold.at_least:,}" for threshold in rule.thresholds)
    return f" {_WORDS[rule.requires]} ".join(conditions)


def _in_full(rule: Rule, *, as_markdown: bool) -> Iterable[str]:
    """A heading, the facts, the thresholds, the description and the guide."""
    layout = markdown if as_markdown else aligned
    yield f"# {rule.name}" if as_markdown else rule.name
    yield ""
    yield from layout(_facts(rule), text=(0, 1))
    yield ""
    yield from layout(_thresholds(rule), text=(0, 2, 3))
    yield ""
    yield description(rule)
    yield ""
    yield guide(rule)


def _facts(rule: Rule) -> Rows:
    return [
        ["Rule", f"{rule.id}, version {rule.version}"],
        ["Severity", f"{rule.severity}, risk {rule.risk_score}"],
        ["Reads", f"operations {', '.join(sorted(rule.operations))}"],
        ["Groups by", ", ".join(rule.group_fields)],
        ["Fires", f"when {rule.requires} of its thresholds {'is' if rule.requires == 'any' else 'are'} reached"],
        ["Techniques", ", ".join(rule.techniques)],
        ["Upstream", rule.source_id],
    ]


def _thresholds(rule: Rule) -> Rows:
    header = ["Threshold", "Fires at", "Measure", "App setting"]
    return [header] + [
        [threshold.name, f"{threshold.at_least:,}", threshold.measure, _setting(rule, threshold.name)]
        for threshold in rule.thresholds
    ]


def _object(rule: Rule) -> Mapping[str, object]:
    """The rule in full as JSON values."""
    return {
        "id": rule.id,
        "name": rule.name,
        "version": rule.version,
        "severity": rule.severity,
        "risk_score": rule.risk_score,
        "techniques": rule.techniques,
        "source_id": rule.source_id,
        "operations": sorted(rule.operations),
        "group_fields": rule.group_fields,
        "requires": rule.requires,
        "thresholds": [
            {
                "name": threshold.name,
                "measure": threshold.measure,
                "at_least": threshold.at_least,
                "setting": _setting(rule, threshold.name),
            }
            for threshold in rule.thresholds
        ],
        "description": description(rule),
        "guide": guide(rule),
    }


def _setting(rule: Rule, threshold: str) -> str:
    from detectors.settings import setting_of  # noqa: PLC0415 - loads Azure's clients, which a list does without

    return setting_of(rule.id, threshold)
