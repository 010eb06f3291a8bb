"""`buckets`: what is stored of the hours that a finding was made from."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from detectors.cli.environment import environment
from detectors.cli.exit_codes import DONE, NOT_IN_ORDER
from detectors.cli.layout import Rows, aligned, ndjson, write
from detectors.cli.options import RULE, format_option, settings_file_option, span_options
from detectors.errors import SettingsError, StorageError

if TYPE_CHECKING:
    from detectors.cli.stored_tallies import Stored

EXAMPLES = """\b
Examples:
  llm-detector buckets --file local.settings.json
  llm-detector buckets --from -6h --to -2h --rule model_theft
  llm-detector buckets --from 2026-11-23T08:00Z --to 2026-11-23T09:00Z --resource accounts/aoai-prod
  llm-detector buckets --from -1d --resource "aoai-*" --format ndjson
"""

_SHOWN_CALLERS = 3


@click.command(epilog=EXAMPLES)
@span_options("-1h", "now")
@settings_file_option
@click.option("--rule", type=RULE, metavar="RULE", help="Tallies of one rule (default: all).")
@click.option(
    "--resource", metavar="PATTERN", help="PartialCounts of the group's name, in any case; * and ? stand for any text."
)
@format_option("table", "ndjson")
def command(
    *, first: datetime, last: datetime, file: Path | None, rule: str | None, resource: str | None, form: str
) -> int:
    """Show stored 10-minute buckets, decoded: what each Event Hub partition brought, by rule and group.

    Connects as the app does, by BucketStorage or AzureWebJobsStorage; no other setting is needed. Where these name no
    key, your own sign-in is used (az login, with Storage Table Data Reader; leave __credential out). Nothing is
    written.
    """
    if first >= last:
        raise click.UsageError("--from must be before --to")
    from detectors.cli.stored_tallies import Where, stored  # noqa: PLC0415 - loads Azure's clients

    logging.getLogger("azure").addHandler(logging.NullHandler())  # says at length what the error says in a line
    try:
        found = stored(environment(file), Where(first, last, rule, resource))
    except (SettingsError, StorageError) as error:
        click.echo(f"Error: {error}", err=True)
        return NOT_IN_ORDER
    if form == "ndjson":
        write(ndjson(map(_object, found)))
    elif found:
        write(aligned(_rows(found), text=(0, 1, 2, 6, 7, 8)))
    if not found:
        click.echo(f"Nothing is stored from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC.", err=True)
    return DONE


def _rows(found: "Iterable[Stored]") -> Rows:
    header = ["Bucket", "Partition", "Rule", "Count", "Longest response", "Average request"]
    return [[*header, "Sequence", "Callers", "Group"]] + [
        [
            f"{each.bucket:%Y-%m-%dT%H:%MZ}",
            "/".join(each.source),
            each.key.rule_id,
            f"{each.tally.count:,}",
            _number(each.longest_response),
            _number(each.average_request),
            f"{each.tally.first_sequence} to {each.tally.last_sequence}",
            _callers(each),
            " ".join(each.key.group),
        ]
        for each in found
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _callers(each: "Stored") -> str:
    """How many there are, and the most active ones."""
    more = "+" if each.tally.other_callers else ""
    first = ", ".join(f"{caller or 'unknown'} {count:,}" for caller, count in each.callers[:_SHOWN_CALLERS])
    return f"{len(each.callers)}{more}: {first}" if first else "0"


def _object(each: "Stored") -> Mapping[str, object]:
    """Return a stored tally as JSON values."""
    return {
        "bucket": f"{each.bucket:%Y-%m-%dT%H:%MZ}",
        **each.source._asdict(),
        "rule": each.key.rule_id,
        "group": each.key.group,
        "count": each.tally.count,
        "max_response_length": each.longest_response,
        "avg_request_length": each.average_request,
        "callers": dict(each.callers),
        "other_callers": each.tally.other_callers,
        "first_sequence": each.tally.first_sequence,
        "last_sequence": each.tally.last_sequence,
    }
