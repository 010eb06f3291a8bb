r'''Read a rule from its file: every problem at once, each with its place and what to write instead.

id = "model_theft"                  # the name of the file
name = "Potential Azure OpenAI Model Theft"
description = """…"""               # what it looks for, why, where that comes from, what it cannot see
version = 1                         # raised when the meaning changes
severity = "Medium"                 # Informational, Low, Medium or High
risk_score = 47                     # 0 to 100
techniques = ["AML.T0044"]          # MITRE ATLAS, OWASP
upstream = "4021e78d-…"             # the id of the rule that it is modelled on, if there is one
fires = "any"                       # any of its thresholds, or all of them together

[[select]]                          # one of several such tables has to accept a record, with all that it says
source = "azure_openai"
operation = "ListKey"               # a value; a list: one of; { not = … }; { known = true }; { at_least = 2 }

[group]
by = ["resource"]                   # what is counted apart
per = "minute"                      # and each minute of the records' own time (optional)
first_seen = "caller"               # only a last field fires that was never seen before (optional)

[thresholds.count]
measure = "count"
at_least = 100
unit = "Key listings"               # what the number is, for people
usual = true                        # below three times the usual the severity is Informational (optional)
unknown = "unusual"                 # who is new, after a week of learning, counts in full (optional, beside usual)

[[upstream_select]]                 # what the upstream rule's own query counts, for `as_upstream` in tuning (optional)
source = "azure_openai"

[alert]                             # what Microsoft Sentinel makes of it (optional); see Alert in detectors.rules.rule
id = "9b379941-5e39-4d05-bc3b-610fd88dda79"
version = "1.0.0"
raises = "incident"                 # incident, alert (without an incident) or nothing
attack = { CredentialAccess = ["T1528"] }
details = ["TenMinuteCounts"]       # columns of the alert's details (optional)
says = "…"
hunt = { id = "831c2d46-ca2c-4c16-b033-a35c2503bc28", name = "…", version = "1.0.0" }    # over raw logs (optional)
triage = "…"

[[example]]                         # what fires it and what does not: its test; see detectors.rules.examples
says = "a script lists the keys a hundred times"
fires = true
events = [{ times = 100, over_minutes = 50 }]
'''

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import get_args

from detectors.rules.examples import read_examples
from detectors.rules.rule import (
    MEASURES,
    MINUTE,
    Alert,
    Condition,
    Hunt,
    Measure,
    Raises,
    Rule,
    Selection,
    Severity,
    Test,
    Threshold,
)
from detectors.rules.tally import MAX_DISTINCT
from detectors.sources import catalogue as sources
from detectors.sources.source import CALLER, LogSource
from detectors.toml_table import TomlTable, lines_of, shown, suggestion

_MAX_TEXT = 200
_MAX_NUMBER = 2**53
_SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_RAISES: tuple[Raises, ...] = get_args(Raises)
_TESTS: Mapping[str, Test] = {
    "is": "is",
    "not": "is_not",
    "known": "known",
    "at_least": "at_least",
}


def read(path: Path, problems: list[str]) -> Rule | None:
    """Read the rule in a file; None if it cannot be read, and what is wrong is added to the problems."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(f"{text}\n")
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror}.")
        return None
    except ValueError as error:
        problems.append(f"{path.name} is no TOML: {error}.")
        return None
    found: list[str] = []
    rule = _rule(TomlTable(path.name, values, found, lines_of(text)), path.stem)
    problems += found
    return None if found else rule


def _rule(top: TomlTable, stem: str) -> Rule:
    rule_id = _text(top, "id", "the name of the file")
    if rule_id and rule_id != stem:
        top.refuse("id", f"id is {shown(rule_id)}: give it the name of the file, {stem}.")
    select = tuple(_selections(top, "select"))
    upstream_select = tuple(_selections(top, "upstream_select"))
    by, columns, per_minute, first_seen_only = _group(top, select)
    rule = Rule(
        id=rule_id,
        name=_text(top, "name", "a name for people"),
        version=top.number("version", 1, _MAX_NUMBER) or _missing_number(top, "version"),
        source_id=top.text("upstream", _MAX_TEXT) or "",
        severity=top.one_of("severity", _SEVERITIES) or _missing_severity(top),
        risk_score=top.number("risk_score", 0, 100) or 0,
        techniques=_texts(top, "techniques"),
        select=select,
        upstream_select=upstream_select,
        group_by=by,
        group_fields=columns,
        thresholds=tuple(_thresholds(top, select)),
        requires=top.one_of("fires", ("any", "all")) or "any",
        per_minute=per_minute,
        first_seen_only=first_seen_only,
        description=top.lines("description") or top.missing("description", "what it looks for, and what it cannot see"),
        alert=_alert(top),
        order=top.number("order", 1, _MAX_NUMBER) or 100,
        examples=tuple(read_examples(top, select)),
    )
    top.refuse_others()
    return rule


def _selections(top: TomlTable, key: str) -> Iterator[Selection]:
    """Read the tables `[[select]]`."""
    tables = list(top.tables(key))
    if not tables and key == "select":
        top.missing("select", "a table [[select]] that says which records count")
    for table in tables:
        name = table.one_of("source", tuple(sources.BY_NAME))
        if name is None:
            table.missing("source", f"one of {', '.join(sources.BY_NAME)}")
            continue
        conditions = [
            condition
            for field in sorted(table.names - {"source"})
            if (condition := _condition(table, field, sources.BY_NAME[name]))
        ]
        yield Selection(
            name,
            tuple(one for one in conditions if one.field not in sources.BY_NAME[name].numbers),
            tuple(one for one in conditions if one.field in sources.BY_NAME[name].numbers),
        )


def _condition(table: TomlTable, field: str, source: LogSource) -> Condition | None:
    value = table.take_any(field)
    if field == CALLER:
        table.refuse(
            field, "caller is many values, of which none is special: group by it, and name known ones in tuning."
        )
        return None
    if field not in source.fields and field not in source.number_wire:
        table.refuse_unknown(field, [one for one in (*source.fields, *source.number_wire) if one != CALLER])
        return None
    word, operand = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else ("is", value)
    test = _TESTS.get(word)
    values = tuple(operand) if isinstance(operand, list) and test in {"is", "is_not"} else (operand,)
    wanted = bool if test == "known" else int if test == "at_least" else str | int
    if test is None or not values or not all(_is_a(one, wanted) for one in values):
        words = ", ".join(f"{{ {word} = … }}" for word in _TESTS if word != "is")
        table.refuse(field, f"{field} is {shown(value)}: give it a text, a number, a list of these, or {words}.")
        return None
    return Condition(field, test, values)


def _is_a(value: object, wanted: type | UnionType) -> bool:
    return isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)


def _group(top: TomlTable, select: tuple[Selection, ...]) -> tuple[tuple[str, ...], tuple[str, ...], bool, bool]:
    """Read the fields to group by, their names in findings, and whether minutes and newcomers are separate groups."""
    group = top.table("group")
    if group is None:
        top.missing("group", "a table [group] with by, the fields to group by")
        return (), (), False, False
    by = _texts(group, "by")
    used = [sources.BY_NAME[selection.source] for selection in select]
    for field in by:
        for source in used:
            known = [name for name, one in source.fields.items() if one.column]
            if field not in known:
                group.refuse_unknown(field, known, key="by")
    columns = [source.fields[field].column for field in by for source in used[:1] if field in source.fields]
    per_minute = group.one_of("per", ("minute",)) is not None
    first_seen = group.text("first_seen", _MAX_TEXT)
    if first_seen is not None and first_seen != (by[-1] if by else None):
        group.refuse("first_seen", f"first_seen is {shown(first_seen)}: give it the last field in by.")
    group.refuse_others()
    return by, (*columns, MINUTE) if per_minute else tuple(columns), per_minute, first_seen is not None


def _thresholds(top: TomlTable, select: Sequence[Selection]) -> Iterator[Threshold]:
    """Read the tables `[thresholds.<name>]`."""
    tables = top.take("thresholds", dict, "tables, such as [thresholds.count]") or {}
    if not tables:
        top.missing("thresholds", "a table [thresholds.count], or of another name")
    for name, values in tables.items():
        if table := top.inner(
            f"[thresholds.{name}]", values, f"values below [thresholds.{name}]", ("thresholds", name)
        ):
            yield _threshold(table, name, [sources.BY_NAME[selection.source] for selection in select])


def _threshold(table: TomlTable, name: str, used: Sequence[LogSource]) -> Threshold:
    measure = table.one_of("measure", _measures(used)) or "count"
    if "measure" not in table.names:
        table.missing("measure", f"one of {', '.join(_measures(used))}")
    most = MAX_DISTINCT if measure == "distinct" else _MAX_NUMBER  # of more members none is told apart
    at_least = table.number("at_least", 1, most) or _missing_number(table, "at_least")
    unit = _text(table, "unit", "what the number is, such as Key listings")
    of = table.text("of", _MAX_TEXT) or ""
    fields = {field for source in used for field, one in source.fields.items() if one.column}
    if measure == "distinct" and not of:
        table.missing("of", f"the field of which distinct values are counted: {', '.join(sorted(fields))}")
    elif of and (measure != "distinct" or of not in fields):
        table.refuse("of", f"of is {shown(of)}: {suggestion(of, sorted(fields))} It goes with distinct alone.")
    usual = bool(table.take("usual", bool, "true or false"))
    unknown = table.one_of("unknown", ("unusual", "usual"))
    if unknown and not usual:
        table.refuse("unknown", "unknown goes with usual = true.")
    table.refuse_others()
    return Threshold(name, measure, at_least, unit, of, usual, unknown == "unusual")


def _measures(used: Sequence[LogSource]) -> tuple[Measure, ...]:
    """List the measures that the sources of a rule support."""
    numbers = {number for source in used for number in source.numbers}
    return tuple(
        measure
        for measure in MEASURES
        if "_" not in measure or measure in {"max_caller_bytes", "days_watched"} or measure.partition("_")[2] in numbers
    )


def _alert(top: TomlTable) -> Alert | None:
    """Return the table `[alert]`."""
    table = top.table("alert")
    if table is None:
        return None
    attack = table.table("attack")
    alert = Alert(
        id=_text(table, "id", "a GUID of its own"),
        version=_text(table, "version", "three numbers, such as 1.0.0"),
        raises=table.one_of("raises", _RAISES) or "nothing",
        attack={tactic: _texts(attack, tactic) for tactic in sorted(attack.names)} if attack else {},
        says=table.lines("says") or table.missing("says", "what the rule looks for, the rest of a sentence"),
        details=_texts(table, "details") if "details" in table.names else (),
        triage=table.lines("triage") or table.missing("triage", "the first steps"),
        hunt=_hunt(table),
    )
    if not attack:
        table.missing("attack", 'techniques by tactic, such as { CredentialAccess = ["T1528"] }')
    table.refuse_others()
    return alert


def _hunt(table: TomlTable) -> Hunt | None:
    """Return the table `hunt`."""
    hunt = table.table("hunt")
    if hunt is None:
        return None
    version = "three numbers, such as 1.0.0"
    read = Hunt(_text(hunt, "id", "a GUID of its own"), _text(hunt, "name", "a name"), _text(hunt, "version", version))
    hunt.refuse_others()
    return read


def _texts(table: TomlTable, name: str) -> tuple[str, ...]:
    wanted = "a list of texts"
    values = table.take(name, list, wanted)
    if values is None:
        table.missing(name, wanted)
        return ()
    if not values or not all(isinstance(value, str) for value in values):
        table.refuse(name, f"{name} is {shown(values)}: give it {wanted}, at least one.")
        return ()
    return tuple(values)


def _text(table: TomlTable, name: str, wanted: str) -> str:
    return table.text(name, _MAX_TEXT) or table.missing(name, wanted)


def _missing_number(table: TomlTable, name: str) -> int:
    table.missing(name, "a whole number from 1")
    return 1


def _missing_severity(table: TomlTable) -> Severity:
    table.missing("severity", f"one of {', '.join(_SEVERITIES)}")
    return "Informational"
