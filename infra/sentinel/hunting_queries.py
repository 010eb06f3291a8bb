"""Renders a rule as a hunting query over raw logs: `python -m infra.sentinel.analytic_rules` writes the files.

The query counts as the detector does: buckets of ten minutes by arrival, windows of six of them, and a minute for as
much as the window that saw most of it. What the rule asks of records is told by its source's `RawTable`.
"""  # noqa: INP001

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from textwrap import fill, indent

from detectors.configuration.settings import setting_of
from detectors.rules.rule import Alert, Condition, Hunt, Measure, Rule, Selection
from detectors.sources.catalogue import BY_NAME
from detectors.sources.source import CALLER, LENGTHS, RawTable

HERE = Path(__file__).parent
_WIDTH = 118
_NUMBER_COLUMNS = {"request_length": "Request", "response_length": "Response"}
_COLUMN: dict[Measure, str] = {
    "count": "EventCount",
    "max_response_length": "MaxResponseLength",
    "avg_request_length": "AvgRequestLength",
    "max_caller_bytes": "TopCallerBytes",
}
"""What a query can measure, and in which column."""

_NEEDS: dict[Measure, tuple[str, ...]] = {
    "avg_request_length": ("request_length",),
    "max_response_length": ("response_length",),
    "max_caller_bytes": ("response_length",),
}
_IN_BUCKET: dict[Measure, tuple[str, ...]] = {
    "count": (),
    "avg_request_length": ("RequestBytes = sum(Request)", "Requests = countif(isnotnull(Request))"),
    "max_response_length": ("MaxResponseLength = max(Response)",),
    "max_caller_bytes": ("Bytes = sum(Response)",),
}
_IN_WINDOW: dict[Measure, tuple[str, ...]] = {
    "count": (),
    "avg_request_length": ("RequestBytes = sum(RequestBytes)", "Requests = sum(Requests)"),
    "max_response_length": ("MaxResponseLength = max(MaxResponseLength)",),
    "max_caller_bytes": ("Bytes = sum(Bytes)",),
}


def path(rule_id: str) -> Path:
    """Where the hunting query of a rule stands."""
    return HERE / "hunting-queries" / f"{rule_id.replace('_', '-')}-in-raw-logs.yaml"


def raw_table(rule: Rule) -> RawTable | None:
    """Return the table whose records the rule counts, if that is one and KQL over it can say all that the rule does."""
    tables = {selection.source: BY_NAME[selection.source].raw for selection in rule.select}
    (table, *others) = tables.values()
    can_be_said = not rule.first_seen_only and all(one.measure in _COLUMN for one in rule.thresholds)
    return table if can_be_said and not others else None


def render(rule: Rule, alert: Alert, hunt: Hunt) -> str:
    """Return the hunting query as YAML."""
    raw = raw_table(rule)
    assert raw, f"{rule.id} cannot be a query over raw logs"
    says = " ".join(alert.says.split())
    description = f"This query searches raw logs for what the LLM abuse detector fires on: {says}"
    techniques = dict.fromkeys(chain.from_iterable(alert.attack.values()))
    lines = [
        f"id: {hunt.id}",
        f"name: {hunt.name}",
        f"version: {hunt.version}",
        "description: |",
        fill(description, _WIDTH, initial_indent="  ", subsequent_indent="  "),
        "requiredDataConnectors: []",
        "tactics:",
        *(f"  - {tactic}" for tactic in alert.attack),
        "relevantTechniques:",
        *(f"  - {technique}" for technique in techniques),
        "query: |",
        *(indent(line, "  ") for line in query(rule, raw)),
        "entityMappings:",
        *_entity("AzureResource", "ResourceId", "ResourceId"),
        *_entity("Account", "AadUserId", "ObjectId"),
    ]
    return "\n".join(lines) + "\n"


def _entity(kind: str, identifier: str, column: str) -> list[str]:
    mapping = [f"      - identifier: {identifier}", f"        columnName: {column}"]
    return [f"  - entityType: {kind}", "    fieldMappings:", *mapping]


def query(rule: Rule, raw: RawTable) -> Iterator[str]:
    """Yield the query, step by step."""
    settings = " and ".join(setting_of(rule.id, threshold.name) for threshold in rule.thresholds)
    yield "// The twin of the detector's rule, made from its file. It needs these logs in this workspace as well."
    yield f"// Keep the numbers equal to {settings}."
    yield from (f"let {_pascal(threshold.name)} = {threshold.at_least};" for threshold in rule.thresholds)
    yield raw.name
    for step in _selected(rule, raw):
        yield f"| {step}"
    yield from _counted(rule)
    yield from _fired(rule)


def _selected(rule: Rule, raw: RawTable) -> Iterator[str]:
    """Which records count, with the columns that the rule needs."""
    plain, others = _conditions(rule.select, raw)
    if plain:
        yield f"where {plain}"
    yield from raw.prepare
    numbers = {name for one in rule.thresholds for name in _NEEDS.get(one.measure, ())}
    numbers |= {one.field for selection in rule.select for one in selection.numbers}
    columns = [f"{_NUMBER_COLUMNS[name]} = {raw.fields[name]}" for name in LENGTHS if name in numbers]
    columns += [f"{column} = {raw.fields[name]}" for name, column in _groups(rule)]
    yield "extend\n" + _listed(columns)
    known = [f"isnotempty({column})" for _, column in _groups(rule)]
    yield "where " + " and ".join([*([others] if others else []), *known])


def _conditions(select: Sequence[Selection], raw: RawTable) -> tuple[str, str]:
    """Return what is asked of columns as they are, and of what has to be made first."""
    if len(select) > 1:
        texts = (" and ".join(_condition(one, raw) for one in (*some.conditions, *some.numbers)) for some in select)
        return "", " or ".join(f"({text or 'true'})" for text in texts)
    asked = (*select[0].conditions, *select[0].numbers)
    plain = [_condition(one, raw) for one in asked if re.fullmatch(r"\w+", raw.fields[one.field])]
    others = [_condition(one, raw) for one in asked if not re.fullmatch(r"\w+", raw.fields[one.field])]
    return " and ".join(plain), " and ".join(others)


def _condition(condition: Condition, raw: RawTable) -> str:
    is_number = condition.field in LENGTHS
    what = _NUMBER_COLUMNS[condition.field] if is_number else raw.fields[condition.field]
    values = [str(value) if is_number else f'"{value}"' for value in condition.values]
    there, missing = ("isnotnull", "isnull") if is_number else ("isnotempty", "isempty")
    match condition.test:
        case "is":
            return f"{what} == {values[0]}" if len(values) == 1 else f"{what} in ({', '.join(values)})"
        case "is_not":
            return f"{there}({what}) and {what} !in ({', '.join(values)})"
        case "known":
            return f"{there if condition.values[0] else missing}({what})"
        case "at_least":
            return f"{what} >= {values[0]}"


def _groups(rule: Rule) -> list[tuple[str, str]]:
    """Return the fields that the rule groups by, and the columns that hold them."""
    return [(name, BY_NAME[rule.select[0].source].fields[name].column) for name in rule.group_by]


def _counted(rule: Rule) -> Iterator[str]:
    """Buckets, and windows made of six of them."""
    measures = list(dict.fromkeys(threshold.measure for threshold in rule.thresholds))
    raw = raw_table(rule)
    assert raw
    by = [column for _, column in _groups(rule)]
    caller = [f"TopCaller = {raw.fields[CALLER]}", "ObjectId"] if rule.needs_bytes_by_caller else []
    minute = ["Minute = bin(TimeGenerated, 1m)"] if rule.per_minute else []
    own = [] if rule.needs_bytes_by_caller else ["ObjectIds = make_set(ObjectId, 50)"]
    span = ["FirstEventTime = min(TimeGenerated)", "LastEventTime = max(TimeGenerated)"]
    made = ["EventCount = count()", *chain.from_iterable(_IN_BUCKET[one] for one in measures), *span, *own]
    yield _summarised(made, [*by, *minute, *caller, "Bucket = bin(ingestion_time(), 10m)"])
    yield "| mv-expand Age = dynamic([1, 2, 3, 4, 5, 6]) to typeof(long) // each bucket is in six windows"
    yield "| extend WindowEnd = Bucket + Age * 10m"
    yield "| where WindowEnd <= now()"
    by += ["Minute"] if rule.per_minute else []
    by.append("WindowEnd")
    own = [] if rule.needs_bytes_by_caller else ["ObjectIds = make_set(ObjectIds, 50)"]
    span = ["FirstEventTime = min(FirstEventTime)", "LastEventTime = max(LastEventTime)"]
    made = ["EventCount = sum(EventCount)", *chain.from_iterable(_IN_WINDOW[one] for one in measures), *span, *own]
    yield _summarised(made, by + (["TopCaller", "ObjectId"] if rule.needs_bytes_by_caller else []))
    if rule.needs_bytes_by_caller:
        made[made.index("Bytes = sum(Bytes)")] = "TotalResponseLength = sum(Bytes)"
        yield _summarised([*made, "arg_max(Bytes, TopCaller, ObjectId)"], by)


def _fired(rule: Rule) -> Iterator[str]:
    """Yield what fires, and what is shown of it."""
    measures = list(dict.fromkeys(threshold.measure for threshold in rule.thresholds))
    if "avg_request_length" in measures:
        yield "| extend AvgRequestLength = iff(Requests > 0, todouble(RequestBytes) / Requests, real(null))"
    if rule.needs_bytes_by_caller:
        yield "| extend TopCallerBytes = Bytes"
    word = {"any": "or", "all": "and"}[rule.requires]
    reached = (f"{_COLUMN[one.measure]} >= {_pascal(one.name)}" for one in rule.thresholds)
    yield f"| where {f' {word} '.join(reached)}"
    by = [column for _, column in _groups(rule)]
    when = ["WindowStart = WindowEnd - 1h", "WindowEnd"]
    if rule.per_minute:
        yield "// A minute counts for as much as the window that saw most of it."
        yield f"| summarize arg_max(EventCount, *) by {', '.join(by)}, Minute"
        when = ["Minute"]
    shown = [_COLUMN[one] for one in measures if one != "count"]
    if not rule.needs_bytes_by_caller:
        yield "| extend ObjectId = tostring(ObjectIds[0])"
    who = ["TotalResponseLength", "TopCaller", "ObjectId"] if rule.needs_bytes_by_caller else ["ObjectId", "ObjectIds"]
    columns = ", ".join([*when, *by, "EventCount", *shown, "FirstEventTime", "LastEventTime", *who])
    yield fill(f"| project {columns}", _WIDTH - 2, subsequent_indent="    ")
    yield f"| order by {when[-1]} asc, EventCount desc"


def _summarised(made: Sequence[str], by: Sequence[str]) -> str:
    return f"| summarize\n{_listed(made)}\n    by {', '.join(by)}"


def _listed(columns: Sequence[str]) -> str:
    return ",\n".join(f"    {column}" for column in columns)


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
