"""What a person sees of a play: tables on the terminal."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from detectors.rules.catalogue import CATALOGUE
from local.monitor import Row as PostedRow
from local.simulation import Outcome

_DAY, _TIME = slice(10), slice(11, 16)
_SHOWN_CALLERS = 2
_SHOWN_FLAWS = 3  # of each reason
_COLOURS = {"New": "bold red", "Escalated": "red", "Closed": "green", "Suppressed": "dim"}
_COUNTED = {
    "model_theft": "ListKey",
    "denial_of_service": "chats in a minute",
    "insecure_output": "empty answers",
    "new_key_lister": "ListKey",
    "bedrock_denied_models": "denials",
    "bedrock_validation_exceptions": "invalid requests in a minute",
    "bedrock_guardrail_violations": "blocked requests",
}
_MEASURED = {
    "max_response_length": "bytes of a response",
    "avg_request_length": "bytes of a request on average",
    "max_caller_bytes": "bytes to one caller",
    "days_watched": "days after others were first seen",
}


def show(outcome: Outcome, console: Console) -> None:
    """Print findings, health and quarantine."""
    console.print(_findings(outcome))
    console.print(_health(outcome))
    console.print(_quarantine(outcome))


def newest(rows: list[PostedRow]) -> list[dict[str, Any]]:
    """Return the newest row of each finding, which is what every reader of the table takes."""
    by_id: dict[object, dict[str, Any]] = {row["FindingId"]: row for row in rows}
    return sorted(by_id.values(), key=lambda row: (row["WindowEnd"], -row["EventCount"]))


def _findings(outcome: Outcome) -> Table:
    """Return a row for each episode, by rule."""
    episodes: dict[str, list[dict[str, Any]]] = {}
    rows = newest(outcome.findings)
    for row in rows:
        episodes.setdefault(row["EpisodeId"], []).append(row)
    table = Table(title=f"Findings: {len(rows)} rows of {len(episodes)} episodes", title_justify="left")
    for name in ("Window end", "Where, and by whom", "Rule, and why at its peak"):
        table.add_column(name, overflow="fold")
    for rule in CATALOGUE:
        for episode in episodes.values():
            if episode[0]["RuleId"] == rule.id:
                table.add_row(_course(episode), *_peak(episode))
        table.add_section()
    return table


def _course(episode: Iterable[dict[str, Any]]) -> str:
    """When an episode came to another status."""
    lines, day, before = [], "", "Ongoing"
    for row in episode:
        if row["Status"] not in {"Ongoing", before}:
            lines += [f"[dim]{row['WindowEnd'][_DAY]}[/]"] if day != row["WindowEnd"][_DAY] else []
            day = row["WindowEnd"][_DAY]
            colour = _COLOURS.get(row["Status"], "")
            lines.append(f"{row['WindowEnd'][_TIME]} [{colour}]{row['Status']}[/]")
        before = row["Status"]
    return "\n".join(lines)


def _peak(episode: Iterable[dict[str, Any]]) -> tuple[str, str]:
    """Where and by whom, which rule and why, of the row in which most was over the limits."""
    row = max(episode, key=lambda row: (len(row["Triggers"]), row["EventCount"]))
    return f"{_where(row)}\n{_by(row)}".strip(), f"[bold]{row['RuleId']}[/]\n{_why(row)}"


def _where(row: dict[str, Any]) -> str:
    """Return the resource, or the model."""
    if row["ResourceName"]:
        return f"{row['ResourceName']} [dim]in {row['SubscriptionId'][:8]}…[/]"
    return escape(row["Group"].get("ModelId", row["Group"].get("AccountId", "")))


def _why(row: dict[str, Any]) -> str:
    counted = _COUNTED.get(row["RuleId"], "records")
    what = {**_MEASURED, "count": counted}
    reasons = [
        f"{trigger['Value']:,.0f} {what.get(trigger['Measure'], trigger['Name'])}, limit {trigger['Threshold']:,}"
        for trigger in row["Triggers"]
    ]
    if known := row["Suppression"]:
        reasons.append(f"[dim]{escape(known['Reason'])} ({escape(known['Owner'])}, until {known['Expires']})[/]")
    return "\n".join(reasons) or f"{row['EventCount']:,} {counted}, below limits"


def _by(row: dict[str, Any]) -> str:
    callers = [f"{_short(caller)} {caller['Count']:,}x" for caller in row["Callers"]]
    more = len(callers) - _SHOWN_CALLERS
    return "\n".join(callers[:_SHOWN_CALLERS]) + (f"\nand {more} more" if more > 0 else "")


def _short(caller: dict[str, Any]) -> str:
    """Return a caller in few characters: the beginning of an object id, the end of an ARN."""
    name = caller["ObjectId"]
    return escape(name.rpartition(":")[2] if ":" in name else name[:8] + "…" if name else caller["IpAddress"])


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
