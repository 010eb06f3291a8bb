"""What a person sees of a play: tables on the terminal."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.monitor import Row as PostedRow
from local.play import Outcome

_DAY, _TIME = slice(5, 10), slice(11, 16)
_SHOWN_CALLERS = 2
_SHOWN_FLAWS = 3  # of each reason


def show(outcome: Outcome, console: Console) -> None:
    """Print findings, health and quarantine."""
    console.print(_findings(outcome))
    console.print(_health(outcome))
    console.print(_quarantine(outcome))


def newest(rows: list[PostedRow]) -> list[dict[str, Any]]:
    """The newest row of each finding, which is what every reader of the table takes."""
    by_id: dict[object, dict[str, Any]] = {row["FindingId"]: row for row in rows}
    return sorted(by_id.values(), key=lambda row: (row["WindowEnd"], -row["EventCount"]))


def _findings(outcome: Outcome) -> Table:
    rows = newest(outcome.findings)
    ongoing = sum(row["Status"] == "Ongoing" for row in rows)
    table = Table(title=f"Findings ({len(rows)} rows, of which {ongoing} Ongoing are not shown)", title_justify="left")
    for name in ("Window end", "Status", "Resource", "Why", "By"):
        table.add_column(name, overflow="fold")
    for row in rows:
        if row["Status"] != "Ongoing":
            colour = {"New": "bold red", "Escalated": "red", "Closed": "green"}.get(row["Status"], "")
            table.add_row(
                f"{row['WindowEnd'][_DAY]} {row['WindowEnd'][_TIME]}",
                f"[{colour}]{row['Status']}[/]",
                f"{row['ResourceName']}\n[dim]in {row['SubscriptionId'][:8]}…[/]",
                _why(row),
                _by(row),
            )
    return table


def _why(row: dict[str, Any]) -> str:
    what = {"count": "ListKey", "response_length": "byte response"}
    reasons = [
        f"{trigger['Value']:,} {what.get(trigger['Name'], trigger['Name'])}, limit {trigger['Threshold']:,}"
        for trigger in row["Triggers"]
    ]
    return "\n".join(reasons) or f"{row['EventCount']:,} ListKey, below limits"


def _by(row: dict[str, Any]) -> str:
    callers = [f"{(caller['ObjectId'] or caller['IpAddress'])[:8]}… {caller['Count']}x" for caller in row["Callers"]]
    more = len(callers) - _SHOWN_CALLERS
    return "\n".join(callers[:_SHOWN_CALLERS]) + (f"\nand {more} more" if more > 0 else "")


def _health(outcome: Outcome) -> Table:
    beats: list[dict[str, Any]] = list(outcome.heartbeats)
    busiest = max(beats, key=lambda beat: beat["Records"])
    table = Table(title=f"Health ({len(beats)} heartbeats; this is the busiest hour)", title_justify="left")
    table.add_column("What")
    table.add_column("Value", overflow="fold")
    by_partition = ", ".join(f"{p['Partition']}: {p['LagSeconds']:.0f} s" for p in busiest["Partitions"])
    for what, value in (
        ("Window", f"{busiest['WindowStart'][_TIME]} to {busiest['WindowEnd'][_TIME]}"),
        ("Messages, records", f"{busiest['Messages']:,}, {busiest['Records']:,}"),
        ("Selected by a rule", f"{busiest['RecordsSelected']:,}"),
        ("… that carried a response length", f"{busiest['SelectedWithLength']:,} of {busiest['RecordsSelected']:,}"),
        ("Quarantined", f"{busiest['RecordsQuarantined']:,}"),
        ("Resources seen", f"{busiest['ResourcesSeen']:,}"),
        ("Lag by partition", by_partition),
        ("Windows caught up, most in a run", f"{max(beat['WindowsCaughtUp'] for beat in beats)}"),
        ("Windows evaluated again", f"{sum(beat['Reevaluated'] for beat in beats)}"),
    ):
        table.add_row(what, value)
    return table


def _quarantine(outcome: Outcome) -> Table:
    reasons = Counter(str(row.values["Reason"]) for row in outcome.quarantine)
    title = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    table = Table(title=f"Quarantined: {title or 'nothing'}", title_justify="left")
    for name in ("Place", "Reason", "What was there"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=16)
    shown: Counter[str] = Counter()
    for row in outcome.quarantine:
        reason, excerpt = str(row.values["Reason"]), str(row.values["Excerpt"])
        shown[reason] += 1
        if shown[reason] <= _SHOWN_FLAWS:
            place = "/".join(str(row.values[name]) for name in ("Partition", "Sequence", "Index"))
            table.add_row(place, reason, escape(" ".join(excerpt.split())))
    return table
