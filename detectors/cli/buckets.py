"""`buckets`: what is stored of the hours that a finding was made from."""

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from detectors.cli.arguments import add_rule_option, add_settings_file, add_span
from detectors.cli.environment import environment
from detectors.cli.layout import Rows, aligned, ndjson, write
from detectors.cli.parser import FAILED, TAKEN, Commands, add_command, add_format
from detectors.errors import SettingsError, StorageError

if TYPE_CHECKING:
    from detectors.cli.stored_tallies import Stored

ABOUT = """Shows stored 10-minute buckets, decoded: what each Event Hub partition brought, by rule and group.

Connects as the app does, by BucketStorage or AzureWebJobsStorage; no other setting is needed. Where these name no key,
your own sign-in is used (az login, with Storage Table Data Reader; leave __credential out). Nothing is written.
"""

EXAMPLES = """examples:
  python -m detectors buckets --file local.settings.json
  python -m detectors buckets --from -6h --to -2h --rule model_theft
  python -m detectors buckets --from 2026-11-23T08:00Z --to 2026-11-23T09:00Z --resource accounts/aoai-prod
  python -m detectors buckets --from -1d --resource "aoai-*" --format ndjson
"""

_SHOWN_CALLERS = 3


def add(commands: Commands) -> None:
    """Describe the command."""
    buckets = add_command(
        commands, "buckets", _run, summary="what is stored, bucket by bucket", about=ABOUT, examples=EXAMPLES
    )
    add_span(buckets, "-1h", "now")
    add_settings_file(buckets)
    add_rule_option(buckets, "tallies of one rule")
    buckets.add_argument(
        "--resource", metavar="PATTERN", help="part of the group's name, in any case; * and ? stand for any text"
    )
    add_format(buckets, "table", "ndjson")


def _run(options: argparse.Namespace) -> int:
    if options.first >= options.last:
        options.refuse("--from must be before --to")
    from detectors.cli.stored_tallies import Where, stored  # noqa: PLC0415 - loads Azure's clients

    logging.getLogger("azure").addHandler(logging.NullHandler())  # says at length what the error says in a line
    try:
        where = Where(options.first, options.last, options.rule, options.resource)
        found = stored(environment(options.file), where)
    except (SettingsError, StorageError) as error:
        sys.stderr.write(f"python -m detectors buckets: error: {error}\n")
        return FAILED
    if options.format == "ndjson":
        write(ndjson(map(_object, found)))
    elif found:
        write(aligned(_rows(found), text=(0, 1, 2, 6, 7, 8)))
    if not found:
        sys.stderr.write(
            f"Nothing is stored from {options.first:%Y-%m-%d %H:%M} to {options.last:%Y-%m-%d %H:%M} UTC.\n"
        )
    return TAKEN


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
