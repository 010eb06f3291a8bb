"""`rules`: what is detected; one rule in full, with what to do about its alerts; what holds for one resource."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from detectors.cli.arguments import add_settings_file, add_tuning, read_tuning
from detectors.cli.effective_rules import entity_of, exceptions, objects, of_rules, values
from detectors.cli.environment import environment
from detectors.cli.layout import Rows, aligned, markdown, ndjson, write
from detectors.cli.parser import FAILED, TAKEN, Commands, add_command, add_format
from detectors.errors import SettingsError
from detectors.rules.catalogue import BY_ID, CATALOGUE, guide
from detectors.rules.rule import Rule, Selection

ABOUT = """Every rule of the catalogue with its severity, thresholds, techniques (MITRE ATLAS, OWASP) and upstream rule.

With a name: that rule in full, the app settings that change its thresholds, what it cannot see, and the triage guide
for whoever gets its alert. Numbers are the defaults; `settings` shows those in force.

With --effective and the id of a resource (or of an AWS identity, for the rules about Bedrock): what holds for it, value
by value, and because of what: the catalogue's default, an entry of the tuning file, or an app setting. Below are the
exceptions that cover it. App settings come from the environment or --file; the tuning file is the one that they name.

With check: reads every file of a folder of rules, tells all that is wrong with any, and plays each rule's [[example]]s;
without a folder those of the catalogue.

exit codes: 0 done; 1 the tuning file, a setting of a rule or a rule's file has problems, or an example does not do what
it says; 2 the call cannot be taken
"""

EXAMPLES = """examples:
  python -m detectors rules
  python -m detectors rules model_theft
  python -m detectors rules model_theft --format markdown     # for a wiki
  python -m detectors rules check my-rules                    # before they are deployed
  python -m detectors rules --format ndjson                   # all of it, an object for each rule
  python -m detectors rules --effective arn:aws:iam::111122223333:user/dana --tuning detectors/tuning.toml
  python -m detectors rules --file local.settings.json --effective \
/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.CognitiveServices/accounts/<name>
"""

_CHECK = "check"
_WORDS = {"any": "or", "all": "and"}


def add(commands: Commands) -> None:
    """Describe the command."""
    rules = add_command(
        commands, "rules", _run, summary="what is detected, and how to triage it", about=ABOUT, examples=EXAMPLES
    )
    rules.add_argument("name", nargs="?", choices=(*BY_ID, _CHECK), metavar="NAME", help="one rule in full; or check")
    rules.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="of check: the folder of rules")
    rules.add_argument(
        "--effective", type=entity_of, metavar="ID", help="what holds for this resource or AWS identity, and why"
    )
    add_settings_file(rules)
    add_tuning(rules, "a tuning.toml in place of the one that the settings name")
    add_format(rules, "table", "ndjson", "markdown")


def _run(options: argparse.Namespace) -> int:
    if options.name == _CHECK:
        return _show_checked(options.folder)
    if options.folder:
        options.refuse(f"{options.folder}: only check takes a folder")
    chosen = [BY_ID[options.name]] if options.name else CATALOGUE
    if options.effective is not None:
        return _show_effective(options, chosen)
    if options.file or options.tuning:
        options.refuse("--file and --tuning go with --effective; without it the catalogue's values are shown")
    if options.format == "ndjson":
        write(ndjson(map(_object, chosen)))
    elif options.name:
        write(_in_full(chosen[0], as_markdown=options.format == "markdown"))
    else:
        layout = markdown if options.format == "markdown" else aligned
        write(layout(_catalogue(), text=(0, 1, 3, 4, 5)))
    return TAKEN


def _show_checked(folder: Path | None) -> int:
    """Print what is wrong with the rules of a folder, and return the exit code."""
    from detectors.cli.rules_check import check, lines  # noqa: PLC0415 - loads Azure's clients

    checked = check(folder)
    write(lines(checked))
    return TAKEN if checked.is_sound else FAILED


def _show_effective(options: argparse.Namespace, rules: Sequence[Rule]) -> int:
    """Print what is in force for one resource, and return the exit code."""
    from detectors.configuration.settings import policy_from_env  # noqa: PLC0415 - loads Azure's clients

    entity: str = options.effective
    tuned = read_tuning(options.tuning) if options.tuning else None
    try:
        found = of_rules(policy_from_env(environment(options.file), tuned), rules, entity)
    except SettingsError as error:
        sys.stderr.write(f"{options.file or 'The environment'}: {error}\n")
        return FAILED
    if not found:
        options.refuse(f"{options.name} never fires for {entity}: it groups by {BY_ID[options.name].group_fields[0]}")
    now = datetime.now(UTC)
    if options.format == "ndjson":
        write(ndjson(objects(entity, found, now)))
        return TAKEN
    layout = markdown if options.format == "markdown" else aligned
    covering = exceptions(found, now)
    write([entity, "", *layout(values(found), text=range(5)), ""])
    write(layout(covering, text=range(6)) if len(covering) > 1 else ["No exception covers it."])
    return TAKEN


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
    """Return a selection as the rule's file says it."""
    asked: dict[str, object] = {"source": selection.source}
    for condition in (*selection.conditions, *selection.numbers):
        value = condition.values[0] if len(condition.values) == 1 else list(condition.values)
        asked[condition.field] = value if condition.test == "is" else {condition.test: value}
    return asked


def _selection(selection: Selection) -> str:
    """Return a selection for people: `azure_openai, category Audit, operation ListKey`."""
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
