"""The command line of local runs: `python -m local demo` and `python -m local run`."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from detectors.__main__ import Parser
from local.azurite import AzuriteError
from local.comparison import check
from local.report import newest, show
from local.simulation import Faults, Outcome, Play, messages_of
from local.traffic import Scenario, Traffic
from local.worker import WorkerStartError

TUNING = "local/tuning.toml"
EXAMPLES = """examples:
  python -m local demo
  python -m local run --records 50000 --redeliver 0.2 --set MODEL_THEFT__COUNT=50
  python -m local run --file messages.ndjson --partitions 2 --format ndjson
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code.

    0 done, 1 if counts or functions were wrong, 2 for a call that cannot be taken, 130 if it was stopped by Ctrl-C.
    """
    options = build_parser().parse_args(arguments)
    console = Console(stderr=options.format == "ndjson")
    _quiet_logs(console)
    try:
        return _demo(options, console) if options.command == "demo" else _run(options, console)
    except (OSError, ValueError) as error:
        console.print(f"[red]error:[/] {error}", highlight=False)
        return 2
    except (AzuriteError, WorkerStartError) as error:
        console.print(f"[red]error:[/] {error}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130


def _demo(options: argparse.Namespace, console: Console) -> int:
    """Run a made-up day: an attack for each rule, near misses, and everything that goes wrong on an ordinary day."""
    scenario = Scenario(records=options.records, seed=options.seed)
    console.print(
        "[bold]A day and an hour of logs of Azure OpenAI and AWS Bedrock through the functions as deployed[/]: "
        "Microsoft's worker library, Azurite, the real storage and ingestion clients. Batches are delivered again, the "
        "host dies once with a batch counted and not checkpointed, and for an hour no timer fires. There is an attack "
        f"for each rule, and harmless traffic just below every limit. Tuned with {TUNING}.\n"
    )
    with console.status("making the day's logs"):
        traffic = Traffic(scenario)
        messages = list(traffic)
    noon = scenario.start + scenario.duration / 2
    faults = Faults(redelivered=0.1, crash_at=noon, silent=(noon + timedelta(hours=1), noon + timedelta(hours=2)))
    outcome = _play(Play(messages, settings={"TUNING_FILE": TUNING}, faults=faults), console)
    _print(outcome, options.format, console)
    return 0 if check(outcome, traffic.truth, console) else 1


def _run(options: argparse.Namespace, console: Console) -> int:
    """Run generated traffic or a file, at the caller's choice."""
    settings = dict(_setting(text) for text in options.set)
    if options.file:
        messages = messages_of(options.file, options.partitions)
    else:
        messages = list(Traffic(Scenario(records=options.records, partitions=options.partitions, seed=options.seed)))
    faults = Faults(redelivered=options.redeliver, seed=options.seed)
    play = Play(messages, settings=settings, batch_size=options.batch_size, faults=faults)
    _print(_play(play, console), options.format, console)
    return 0


def _play(play: Play, console: Console) -> Outcome:
    """Play it with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("starting", total=len(play.windows))
        return play.run(lambda end: progress.update(task, advance=1, description=f"{end:%Y-%m-%d %H:%M}"))


def _print(outcome: Outcome, form: str, console: Console) -> None:
    """Print findings as one JSON line each on standard output, or everything as tables."""
    if form == "ndjson":
        for row in newest(outcome.findings):
            print(json.dumps(row))
    else:
        show(outcome, console)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = Parser(
        prog="python -m local",
        description="Runs the functions on this machine, as they are deployed, with Azurite and a loopback endpoint.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{demo,run}")
    demo = commands.add_parser("demo", help="a realistic day with attacks and faults, checked against the truth")
    run = commands.add_parser("run", help="generated traffic or a file, with settings of your choice")
    for command in (demo, run):
        command.add_argument("--records", type=int, default=300_000, help="records to generate (default: 300000)")
        command.add_argument("--seed", type=int, default=1, help="of everything random (default: 1)")
        command.add_argument("--format", choices=("table", "ndjson"), default="table", help="of findings")
    run.add_argument("--file", type=Path, help="a message body or a record on each line, instead of generated ones")
    run.add_argument("--partitions", type=_positive, default=4, help="of the Event Hub (default: 4)")
    run.add_argument("--batch-size", type=_positive, default=100, help="events in an invocation (default: 100)")
    run.add_argument("--redeliver", type=_share, default=0.0, help="share of batches that repeat events (0 to 1)")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an app setting; repeatable")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return share


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set {text}: give it NAME=VALUE, such as MODEL_THEFT__COUNT=50")
    return name, value


def _quiet_logs(console: Console) -> None:
    """Only warnings, above the progress bar, and not the one that every app without an HTTP function gets."""
    handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False)
    handler.addFilter(lambda record: "Auth level is not applied" not in record.getMessage())
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
