"""`replay`: what the detector would have posted for exported logs, and what other thresholds would have."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from detectors.backtest.exports import InputChunk, find
from detectors.backtest.outcome import Outcome
from detectors.backtest.replay import BacktestRequest, Hooks, Sweep, replay
from detectors.cli.arguments import add_span, add_tuning, read_tuning, threshold_values
from detectors.cli.layout import write
from detectors.cli.parser import FAILED, INTERRUPTED, REFUSED, TAKEN, Commands, add_command, add_format
from detectors.cli.progress import progress
from detectors.cli.summary import summary, swept, warnings
from detectors.configuration.tuning import Tuning
from detectors.errors import InputError
from detectors.evaluation.policy import Policy
from detectors.reporting.finding import Finding
from detectors.rules.catalogue import BY_ID

ABOUT = """What the detector would have posted for exported logs: the production code, in memory, without any Azure.

PATH is a file, a folder (all files below it, in the order of their time) or - for standard input. Forms are told by
content, not by name: a record or a message on each line, as in a storage account's PT1H.json; one JSON document; Event
Hubs Capture Avro; and gzip or zstd of these. A record arrives at the enqueued time where the input has one, else at its
own `time`. Thresholds are the catalogue's defaults. --tuning changes them as the file of the app would
(detectors/tuning.toml); its exceptions suppress what they explain. --set and --sweep go over both, for every resource.

The table lists episodes: consecutive windows that fire. With --format ndjson each line is a finding with the columns of
LlmThreatFindings_CL, or with --sweep a line for each value tried. Rules that look at minutes print a minute again,
under the same FindingId, if records that arrive later make it larger.
"""

EXAMPLES = """examples:
  python -m detectors replay insights-logs-audit/
  python -m detectors replay capture/ --from 2026-11-01 --to 2026-11-08 --report november.html
  python -m detectors replay PT1H.json --set model_theft.count=50 --format ndjson
  python -m detectors replay logs/ --tuning detectors/tuning.toml --rule denial_of_service
  python -m detectors replay logs/ --sweep model_theft.count=25,50,100,200
  zcat day.json.gz | python -m detectors replay - --fail-on-findings

exit codes: 0 done; 1 with --fail-on-findings, if there are findings that no exception explains; 2 the call cannot be
taken, or nothing could be read; 130 interrupted: what was read until then was judged
"""

ONE_PROCESS_BYTES = 32 * 1024 * 1024
"""Up to this much input, starting processes would take longer than reading it."""

MAX_PROCESSES = 256


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands, "replay", _run, summary="backtest exported logs, with what-if", about=ABOUT, examples=EXAMPLES
    )
    argument = parser.add_argument
    argument("paths", nargs="+", metavar="PATH", help="a file, a folder, or - for standard input")
    argument("--rule", action="append", choices=tuple(BY_ID), metavar="NAME", help="only this rule; repeat for more")
    argument(
        "--set",
        action="append",
        default=[],
        type=threshold_values,
        metavar="RULE.THRESHOLD=VALUE",
        help="another number for a threshold and every resource, such as model_theft.count=50",
    )
    argument(
        "--sweep",
        action="append",
        default=[],
        type=threshold_values,
        metavar="RULE.THRESHOLD=VALUE,VALUE",
        help="try several numbers in one pass, each for every resource, with all others as they are",
    )
    add_tuning(parser, "thresholds, severities and exceptions of a tuning.toml")
    add_span(parser, None, None)
    add_format(parser, "table", "ndjson")
    argument("--report", type=Path, metavar="FILE", help="write one self-contained HTML page")
    argument("--fail-on-findings", action="store_true", help="exit with 1 if anybody would be alerted")
    argument("--processes", type=_processes, metavar="N", help="at once (default: all cores on large inputs)")


def _run(options: argparse.Namespace) -> int:
    request = _request(options)
    render = _renderer(options.report) if options.report else None
    chunks = find(options.paths)
    show = _print_finding if options.format == "ndjson" and not request.sweeps else lambda _: None
    with progress(sum(chunk.size for chunk in chunks)) as advance:
        outcome = replay(
            chunks,
            request,
            processes=options.processes or _default_processes(chunks),
            hooks=Hooks(on_finding=show, on_read=advance),
        )
    _show(outcome, request, options.format)
    if render:
        _write_report(options.report, render(outcome, datetime.now(UTC)))
    return _code(outcome, fail_on_findings=options.fail_on_findings)


def _request(options: argparse.Namespace) -> BacktestRequest:
    """Build the request of a call; refuse options that contradict each other."""
    policy = _policy(options)
    on = {rule.id for rule in policy.rules}
    for option, choices in (("--set", options.set), ("--sweep", options.sweep)):
        for choice in choices:
            if choice.rule_id not in on:
                options.refuse(f"{option} {choice.rule_id}.{choice.threshold}: that rule is off here")
    for rule_id, threshold, values in options.set:
        if len(values) != 1:
            options.refuse(f"--set {rule_id}.{threshold} takes one value; to try several there is --sweep")
        policy = policy.with_number(rule_id, threshold, values[0])
    if options.first and options.last and options.first >= options.last:
        options.refuse("--from is not before --to")
    sweeps: tuple[Sweep, ...] = tuple(tuple(sweep) for sweep in options.sweep)
    return BacktestRequest(policy, sweeps, since=options.first, until=options.last)


def _policy(options: argparse.Namespace) -> Policy:
    """Return the catalogue's rules that are asked for, changed by a tuning file if one is given."""
    thresholds = {
        rule_id: one for rule_id, one in Policy().thresholds.items() if not options.rule or rule_id in options.rule
    }
    tuned = read_tuning(options.tuning) if options.tuning else Tuning()
    if tuned.problems:
        raise InputError("\n".join(("--tuning: nothing was replayed, as the file has problems:", *tuned.problems)))
    return Policy(thresholds, tuned.changes, tuned.suppression_rules)


def _show(outcome: Outcome, request: BacktestRequest, form: str) -> None:
    """Print the outcome on standard output; with ndjson, warnings go to standard error."""
    if form == "table":
        write(summary(outcome))
        write(warnings(outcome))
        return
    if request.sweeps:
        write(msgspec.json.encode(line).decode() for line in swept(outcome))
    sys.stderr.writelines(f"{line}\n" for line in warnings(outcome))


def _print_finding(row: Finding) -> None:
    sys.stdout.write(f"{msgspec.json.encode(row).decode()}\n")


def _renderer(path: Path) -> Callable[[Outcome, datetime], str]:
    """Load the report's renderer, and find what would keep it from being written before the logs are read."""
    if not path.parent.is_dir():
        raise InputError(f"--report: there is no folder {path.parent}.")
    try:
        from detectors.backtest.report import render  # noqa: PLC0415 - its templates need a developer's tool
    except ImportError as error:
        raise InputError("--report needs jinja2: pip install -r requirements-dev.txt") from error
    return render


def _write_report(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--report {path}: {error.strerror}.") from error


def _code(outcome: Outcome, *, fail_on_findings: bool) -> int:
    if outcome.interrupted:
        return INTERRUPTED
    if not outcome.quality.records and outcome.quality.problems:
        return REFUSED
    alerted = any(not episode.is_suppressed for episode in outcome.episodes)
    return FAILED if fail_on_findings and alerted else TAKEN


def _default_processes(chunks: Iterable[InputChunk]) -> int:
    return (os.process_cpu_count() or 1) if sum(chunk.size for chunk in chunks) > ONE_PROCESS_BYTES else 1


def _processes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PROCESSES:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {MAX_PROCESSES}")
    return int(text)
