"""`replay`: what the detector would have posted for exported logs, and what other thresholds would have."""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from detectors.backtest.exports import InputChunk, find
from detectors.backtest.outcome import Outcome
from detectors.backtest.replay import BacktestRequest, Hooks, replay
from detectors.cli.exit_codes import DONE, INTERRUPTED, NOT_IN_ORDER, USAGE_ERROR
from detectors.cli.layout import write
from detectors.cli.options import (
    FILE,
    RULE,
    ThresholdValues,
    format_option,
    read_tuning,
    require_sound_rules,
    span_options,
    threshold_values,
    tuning_option,
)
from detectors.cli.progress import reading
from detectors.cli.summary import summary, swept, warnings
from detectors.configuration.tuning import Tuning
from detectors.errors import InputError
from detectors.evaluation.policy import Policy
from detectors.reporting.finding import Finding

EXAMPLES = """\b
Examples:
  llm-detector replay insights-logs-audit/
  llm-detector replay capture/ --from 2026-11-01 --to 2026-11-08 --report november.html
  llm-detector replay PT1H.json --set model_theft.count=50 --format ndjson
  llm-detector replay logs/ --tuning tuning.toml --rule denial_of_service
  llm-detector replay logs/ --sweep model_theft.count=25,50,100,200
  zcat day.json.gz | llm-detector replay - --fail-on-findings

\b
Exit codes:
  0    done
  1    with --fail-on-findings: there are findings that no exception explains
  2    wrong usage, or nothing could be read
  130  interrupted: what was read until then was judged
"""

ONE_PROCESS_BYTES = 32 * 1024 * 1024
"""Up to this much input, starting processes would take longer than reading it."""

MAX_PROCESSES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The arguments of a call; `set` is called `fixed`, and `format` is called `form`."""

    paths: tuple[str, ...]
    rule: tuple[str, ...]
    fixed: tuple[ThresholdValues, ...]
    sweep: tuple[ThresholdValues, ...]
    tuning: Path | None
    first: datetime | None
    last: datetime | None
    form: str
    report: Path | None
    fail_on_findings: bool
    processes: int | None


@click.command(epilog=EXAMPLES)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--rule", type=RULE, multiple=True, metavar="RULE", help="Only this rule; repeat for more.")
@click.option(
    "--set",
    "fixed",
    type=threshold_values,
    multiple=True,
    metavar="RULE.THRESHOLD=VALUE",
    help="Another number for a threshold and every resource, such as model_theft.count=50.",
)
@click.option(
    "--sweep",
    type=threshold_values,
    multiple=True,
    metavar="RULE.THRESHOLD=VALUE,VALUE",
    help="Try several numbers in one pass, each for every resource, with all others as they are.",
)
@tuning_option("Thresholds, severities and exceptions of a tuning.toml.")
@span_options(None, None)
@format_option("table", "ndjson")
@click.option("--report", type=FILE, metavar="FILE", help="Write one self-contained HTML page.")
@click.option("--fail-on-findings", is_flag=True, help="Exit with 1 if anybody would be alerted.")
@click.option(
    "--processes",
    type=click.IntRange(1, MAX_PROCESSES),
    metavar="N",
    help="At once (default: all cores on large inputs).",
)
def command(**arguments: Any) -> int:  # noqa: ANN401 - each as `Call` has it
    """Find what the detector would have posted for exported logs: the production code, in memory, without any Azure.

    PATH is a file, a folder (all files below it, in the order of their time) or - for standard input. Forms are told by
    content, not by name: a record or a message on each line, as in a storage account's PT1H.json; one JSON document;
    Event Hubs Capture Avro; gzip or zstd of these; and Parquet. A record arrives at the enqueued time where the input
    has one, else at its own `time`. Thresholds are the catalogue's defaults. --tuning changes them as the file of the
    app would; its exceptions suppress what they explain. --set and --sweep go over both, for every resource.

    The table lists episodes: consecutive windows that fire. With --format ndjson each line is a finding with the
    columns of LlmThreatFindings_CL, or with --sweep a line for each value tried. Rules that look at minutes print a
    minute again, under the same FindingId, if records that arrive later make it larger.
    """
    require_sound_rules()
    call = Call(**arguments)
    question = _question(call)
    render = _renderer(call.report) if call.report else None
    pieces = find(call.paths)
    show = _print_finding if call.form == "ndjson" and not question.sweeps else lambda _: None
    with reading(sum(piece.size for piece in pieces)) as advance:
        outcome = replay(
            pieces,
            question,
            processes=call.processes or _default_processes(pieces),
            hooks=Hooks(on_finding=show, on_read=advance),
        )
    _show(outcome, question, call.form)
    if call.report and render:
        _write_report(call.report, render(outcome, datetime.now(UTC)))
    return _code(outcome, fail_on_findings=call.fail_on_findings)


def _question(call: Call) -> BacktestRequest:
    """Build the request of a call; refuse options that contradict each other."""
    policy = _policy(call)
    on = {rule.id for rule in policy.rules}
    for option, choices in (("--set", call.fixed), ("--sweep", call.sweep)):
        for choice in choices:
            if choice.rule_id not in on:
                raise click.UsageError(f"{option} {choice.rule_id}.{choice.threshold}: that rule is off here")
    for rule_id, threshold, values in call.fixed:
        if len(values) != 1:
            raise click.UsageError(f"--set {rule_id}.{threshold} takes one value; to try several there is --sweep")
        policy = policy.with_number(rule_id, threshold, values[0])
    if call.first and call.last and call.first >= call.last:
        raise click.UsageError("--from must be before --to")
    return BacktestRequest(policy, call.sweep, since=call.first, until=call.last)


def _policy(call: Call) -> Policy:
    """Return the catalogue's rules that are asked for, changed by a tuning file if one is given."""
    thresholds = {rule_id: one for rule_id, one in Policy().thresholds.items() if not call.rule or rule_id in call.rule}
    tuned = read_tuning(call.tuning) if call.tuning else Tuning()
    if tuned.problems:
        raise InputError("\n".join(("--tuning: nothing was replayed, as the file has problems:", *tuned.problems)))
    return Policy(thresholds, tuned.changes, tuned.suppression_rules)


def _show(outcome: Outcome, question: BacktestRequest, form: str) -> None:
    """Print the outcome; with ndjson the summary for people goes to standard error."""
    if form == "table":
        write(summary(outcome))
        write(warnings(outcome))
        return
    if question.sweeps:
        write(msgspec.json.encode(line).decode() for line in swept(outcome))
    sys.stderr.writelines(f"{line}\n" for line in warnings(outcome))


def _print_finding(row: Finding) -> None:
    sys.stdout.write(f"{msgspec.json.encode(row).decode()}\n")


def _renderer(path: Path) -> Callable[[Outcome, datetime], str]:
    """Return what makes the report. Whatever keeps it from being written is found before the logs are read."""
    if not path.parent.is_dir():
        raise InputError(f"--report: there is no folder {path.parent}.")
    try:
        from detectors.backtest.report import render  # noqa: PLC0415 - its templates need a developer's tool
    except ImportError as error:
        raise InputError("--report needs jinja2: pip install '.[backtest]'") from error
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
        return USAGE_ERROR
    alerted = any(not episode.is_suppressed for episode in outcome.episodes)
    return NOT_IN_ORDER if fail_on_findings and alerted else DONE


def _default_processes(pieces: Iterable[InputChunk]) -> int:
    return (os.process_cpu_count() or 1) if sum(piece.size for piece in pieces) > ONE_PROCESS_BYTES else 1
