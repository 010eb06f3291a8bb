"""`rules`: what is detected; one rule in full, with what to do about its alerts; what holds for one resource."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from detectors.cli.effective_rules import entity_of, exceptions, objects, of_rules, values
from detectors.cli.environment import environment
from detectors.cli.exit_codes import DONE, NOT_IN_ORDER
from detectors.cli.layout import Rows, aligned, markdown, ndjson, write
from detectors.cli.options import (
    RULE,
    format_option,
    read_tuning,
    require_sound_rules,
    settings_file_option,
    tuning_option,
)
from detectors.errors import SettingsError
from detectors.rules.catalogue import BY_ID, CATALOGUE, guide
from detectors.rules.rule import Rule, Selection

EXAMPLES = """\b
Examples:
  llm-detector rules
  llm-detector rules model_theft
  llm-detector rules model_theft --format markdown     # for a wiki
  llm-detector rules --format ndjson                   # all of it, an object for each rule
  llm-detector rules --effective arn:aws:iam::111122223333:user/dana --tuning tuning.toml
  llm-detector rules --file local.settings.json --effective \
/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.CognitiveServices/accounts/<name>

\b
Exit codes:
  0  done
  1  the tuning file or a setting of a rule has problems
  2  wrong usage, or a file that cannot be read
"""

_WORDS = {"any": "or", "all": "and"}


@click.command(epilog=EXAMPLES)
@click.argument("rule", type=RULE, metavar="[RULE]", required=False)
@click.option(
    "--effective", type=entity_of, metavar="ID", help="What holds for this resource or AWS identity, and why."
)
@settings_file_option
@tuning_option("A tuning.toml in place of the one that the settings name.")
@format_option("table", "ndjson", "markdown")
def command(rule: str | None, effective: str | None, file: Path | None, tuning: Path | None, form: str) -> int:
    """Show every rule with its severity, thresholds, techniques (MITRE ATLAS, OWASP) and upstream rule.

    With a name: that rule in full, the app settings that change its thresholds, what it cannot see, and the triage
    guide for whoever gets its alert. Numbers are the defaults; `settings` shows those in force.

    With --effective and the id of a resource (or of an AWS identity, for the rules about Bedrock): what holds for it,
    value by value, and because of what: the catalogue's default, an entry of the tuning file, or an app setting. Below
    are the exceptions that cover it. App settings come from the environment or --file; the tuning file is the one that
    they name.
    """
    require_sound_rules()
    chosen = [BY_ID[rule]] if rule else CATALOGUE
    if effective is not None:
        return _show_effective(effective, chosen, file, tuning, form)
    if file or tuning:
        raise click.UsageError("--file and --tuning go with --effective; without it the catalogue's values are shown")
    if form == "ndjson":
        write(ndjson(map(_object, chosen)))
    elif rule:
        write(_in_full(chosen[0], as_markdown=form == "markdown"))
    else:
        layout = markdown if form == "markdown" else aligned
        write(layout(_catalogue(), text=(0, 1, 3, 4, 5)))
    return DONE


def _show_effective(subject: str, rules: Sequence[Rule], file: Path | None, tuning: Path | None, form: str) -> int:
    """Show what holds for one resource; the exit code."""
    from detectors.configuration.settings import policy_from_env  # noqa: PLC0415 - loads Azure's clients

    tuned = read_tuning(tuning) if tuning else None
    try:
        found = of_rules(policy_from_env(environment(file), tuned), rules, subject)
    except SettingsError as error:
        click.echo(f"{file or 'The environment'}: {error}", err=True)
        return NOT_IN_ORDER
    if not found:
        raise click.UsageError(f"{rules[0].id} never fires for {subject}: it groups by {rules[0].group_fields[0]}")
    now = datetime.now(UTC)
    if form == "ndjson":
        write(ndjson(objects(subject, found, now)))
        return DONE
    layout = markdown if form == "markdown" else aligned
    covering = exceptions(found, now)
    write([subject, "", *layout(values(found), text=range(5)), ""])
    write(layout(covering, text=range(6)) if len(covering) > 1 else ["No exception covers it."])
    return DONE


def _catalogue() -> Rows:
    header = ["Rule", "Severity", "Risk", "Fires at", "Techniques", "Upstream"]
    return [header] + [
        [
            rule.id,
            rule.severity,
            str(rule.risk_score),
            _fires_at(rule),
            ", ".join(rule.techniques),
            _upstream(rule),
        ]
        for rule in CATALOGUE
    ]


def _upstream(rule: Rule) -> str:
    return rule.source_id or "none"


def _fires_at(rule: Rule) -> str:
    conditions = (f"{threshold.name} {threshold.at_least:,}" for threshold in rule.thresholds)
    return f" {_WORDS[rule.requires]} ".join(conditions)


def _in_full(rule: Rule, *, as_markdown: bool) -> Iterable[str]:
    """Yield a heading, the facts, the thresholds, the description and the guide."""
    layout = markdown if as_markdown else aligned
    yield f"# {rule.name}" if as_markdown else rule.name
    yield ""
    yield from layout(_facts(rule), text=(0, 1))
    yield ""
    yield from layout(_thresholds(rule), text=(0, 2, 3))
    yield ""
    yield rule.description
    yield ""
    yield guide(rule)


def _facts(rule: Rule) -> Rows:
    return [
        ["Rule", f"{rule.id}, version {rule.version}"],
        ["Severity", f"{rule.severity}, risk {rule.risk_score}"],
        *([["Reads", selection] for selection in map(_selection, rule.select)]),
        ["Groups by", ", ".join(rule.group_fields)],
        ["Fires", f"when {rule.requires} of its thresholds {'is' if rule.requires == 'any' else 'are'} reached"],
        ["Techniques", ", ".join(rule.techniques)],
        ["Upstream", _upstream(rule)],
    ]


def _selected(selection: Selection) -> dict[str, object]:
    """Show a selection as the rule's file says it."""
    asked: dict[str, object] = {"source": selection.source}
    for condition in (*selection.conditions, *selection.numbers):
        value = condition.values[0] if len(condition.values) == 1 else list(condition.values)
        asked[condition.field] = value if condition.test == "is" else {condition.test: value}
    return asked


def _selection(selection: Selection) -> str:
    """Describe a selection: `azure_openai, category Audit, operation ListKey`."""
    said = [selection.source]
    for condition in (*selection.conditions, *selection.numbers):
        values = " or ".join(map(str, condition.values))
        match condition.test:
            case "is":
                said.append(f"{condition.field} {values}")
            case "is_not":
                said.append(f"{condition.field} not {values}")
            case "known":
                said.append(f"{'with' if condition.values[0] else 'without'} {condition.field}")
            case "at_least":
                said.append(f"{condition.field} at least {values}")
    return ", ".join(said)


def _thresholds(rule: Rule) -> Rows:
    header = ["Threshold", "Fires at", "Measure", "App setting"]
    return [header] + [
        [threshold.name, f"{threshold.at_least:,}", threshold.measure, _setting(rule, threshold.name)]
        for threshold in rule.thresholds
    ]


def _object(rule: Rule) -> Mapping[str, object]:
    """Return the rule in full as JSON values."""
    return {
        "id": rule.id,
        "name": rule.name,
        "version": rule.version,
        "severity": rule.severity,
        "risk_score": rule.risk_score,
        "techniques": rule.techniques,
        "source_id": rule.source_id,
        "select": [_selected(selection) for selection in rule.select],
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
        "description": rule.description,
        "guide": guide(rule),
    }


def _setting(rule: Rule, threshold: str) -> str:
    from detectors.configuration.settings import setting_of  # noqa: PLC0415 - loads Azure's clients, which a list does without

    return setting_of(rule.id, threshold)
