"""Holds what came out of a play against what was generated, rule by rule."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from detectors.rules.catalogue import CATALOGUE
from local.expected_findings import MINUTE_RULES, Expectation, Row, RowKey, about, expectation
from local.ground_truth import Group, Truth
from local.report import newest
from local.simulation import Outcome

type Counts = Counter[tuple[str, Group, datetime]]
"""Records by rule, group and bucket."""

_SHOWN_DIFFERENCES = 10


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What one rule counted and found, and where that is not what was generated.

    Attributes:
        rule_id: the rule.
        counted: records.
        rows: findings that fire, closing ones aside.
        alerts: episodes that began to alert.
        suppressed: findings that the exception explains.
        differences: a sentence for each record count, finding, alert or end that is wrong.
    """

    rule_id: str
    counted: int
    rows: int
    alerts: int
    suppressed: int
    differences: tuple[str, ...]


def verdicts(outcome: Outcome, truth: Truth) -> list[RuleVerdict]:
    """One for each rule."""
    generated, expected, found = truth.counts(), expectation(truth), _found(outcome)
    ids = dict.fromkeys([*(rule.id for rule in CATALOGUE), *(key[0] for key in generated)])
    return [_verdict(rule_id, outcome.counts, generated, found, expected) for rule_id in ids]


def _verdict(
    rule_id: str, counted: Counts, generated: Counts, found: Expectation, expected: Expectation
) -> RuleVerdict:
    records, rows = _of(rule_id, counted), _rows_of(rule_id, found)
    alerts, closed = _of(rule_id, found.alerts), _of(rule_id, found.closed)
    differences = (
        *_differences("records", records, _of(rule_id, generated)),
        *_differences("finding", rows, _rows_of(rule_id, expected)),
        *_differences("alerts", alerts, _of(rule_id, expected.alerts)),
        *_differences("ends", closed, _of(rule_id, expected.closed)),
    )
    suppressed = sum(row.suppressed for row in rows.values())
    return RuleVerdict(rule_id, records.total(), len(rows), alerts.total(), suppressed, differences)


def check(outcome: Outcome, truth: Truth, console: Console) -> bool:
    """Print what each rule did, and what of it is wrong; whether nothing is."""
    judged = verdicts(outcome, truth)
    console.print(_table(judged))
    for one in judged:
        for text in one.differences[:_SHOWN_DIFFERENCES]:
            console.print(f"[red]{one.rule_id}[/]: {escape(text)}", highlight=False, soft_wrap=True)
    exact = not any(one.differences for one in judged)
    console.print(
        f"{'[bold green]exact[/]' if exact else '[bold red]NOT exact[/]'}: {truth.records:,} records in "
        f"{truth.messages:,} messages, {truth.malformed.total():,} of them malformed; {outcome.invocations:,} "
        f"invocations, {outcome.redelivered:,} messages delivered more than once."
    )
    return exact


def _table(judged: list[RuleVerdict]) -> Table:
    table = Table(title="Held against what was generated, rule by rule", title_justify="left")
    table.add_column("Rule", no_wrap=True)
    for name in ("Records", "Rows", "Explained", "Alerts"):
        table.add_column(name, justify="right")
    table.add_column("")
    for one in judged:
        numbers = (f"{number:,}" for number in (one.counted, one.rows, one.suppressed, one.alerts))
        wrong = len(one.differences)
        table.add_row(one.rule_id, *numbers, f"[bold red]{wrong} wrong[/]" if wrong else "[green]exact[/]")
    return table


def _found(outcome: Outcome) -> Expectation:
    """Return the posted rows as a reader of the table sees them, in the form of what is expected."""
    found = Expectation()
    for row in newest(outcome.findings):
        place = row["RuleId"], tuple(row["Group"].values())
        if row["Status"] == "Closed":
            found.closed[place] += 1
            continue
        end = None if row["RuleId"] in MINUTE_RULES else datetime.fromisoformat(row["WindowEnd"])
        values = {trigger["Name"]: trigger["Value"] for trigger in row["Triggers"]}
        found.rows[RowKey(*place, end)] = Row(row["EventCount"], values, row["Status"] == "Suppressed")
        found.alerts[about(place)] += row["Status"] == "New"
    return found


def _of[Key: tuple[Any, ...]](rule_id: str, counts: Mapping[Key, int]) -> Counter[Key]:
    """Return what is about one rule; nothing of what is 0."""
    return Counter({key: count for key, count in counts.items() if key[0] == rule_id and count})


def _rows_of(rule_id: str, from_where: Expectation) -> dict[RowKey, Row]:
    return {key: row for key, row in from_where.rows.items() if key.rule_id == rule_id}


def _differences(what: str, found: Mapping[Any, object], expected: Mapping[Any, object]) -> Iterator[str]:
    for key in sorted(found.keys() | expected.keys(), key=_name):
        if found.get(key) != expected.get(key):
            yield f"{what} of {_name(key)}: {found.get(key, 'none')}, but {expected.get(key, 'none')} generated"


def _name(key: object) -> str:
    """Return what a count or a finding is about, without its rule."""
    if isinstance(key, RowKey):
        key = (key.rule_id, key.group, key.window_end)
    assert isinstance(key, tuple)
    _, group, *when = key
    return " ".join([*group, *(f"{at:%m-%d %H:%M}" for at in when if at)])
