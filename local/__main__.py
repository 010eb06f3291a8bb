"""The command line of local runs: `make demo` and `make run`."""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from detectors.cli.exit_codes import DONE, INTERRUPTED, NOT_IN_ORDER, USAGE_ERROR
from detectors.cli.options import Word
from detectors.cli.progress import Lines
from detectors.configuration.settings import policy_from_env
from local.azurite import AzuriteError
from local.comparison import check, check_counts
from local.host import sample_settings
from local.report import newest, show
from local.simulation import Faults, Outcome, Simulation, messages_of
from local.traffic import Message, Scenario, Traffic
from local.worker import WorkerStartError

TUNING = "local/tuning.toml"
EXAMPLES = """\b
Examples:
  make demo
  make run ARGS="--records 50000 --redeliver 0.2 --set MODEL_THEFT__COUNT=50"
  make run ARGS="--file messages.ndjson --partitions 2 --format ndjson"

\b
Exit codes:
  0    done; what was generated was counted exactly, and in the demo found exactly
  1    counts, findings or functions were wrong
  2    wrong usage, or input that cannot be read
  130  interrupted
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def program() -> None:
    """Run the functions on this machine, as they are deployed, with Azurite and a loopback endpoint."""


def _traffic_options[**P](command: Callable[P, int]) -> Callable[P, int]:
    """Add what both commands take."""
    for option in (
        click.option("--format", "form", type=Word(("table", "ndjson")), default="table", help="Of findings."),
        click.option("--seed", type=int, default=1, show_default=True, help="Of everything random."),
        click.option("--records", type=int, default=Scenario().records, show_default=True, help="Records to generate."),
    ):
        command = option(command)
    return command


@program.command()
@_traffic_options
def demo(records: int, seed: int, form: str) -> int:
    """Run a realistic day with attacks and faults, checked against the truth."""
    return _answered(form, lambda console: _demo(Scenario(records=records, seed=seed), form, console))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r}: give it NAME=VALUE, such as MODEL_THEFT__COUNT=50")
    return name, value


@program.command()
@_traffic_options
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A message body or a record on each line, instead of generated ones.",
)
@click.option("--partitions", type=click.IntRange(1), default=4, show_default=True, help="Of the Event Hub.")
@click.option("--batch-size", type=click.IntRange(1), default=100, show_default=True, help="Events in an invocation.")
@click.option("--redeliver", type=click.FloatRange(0, 1), default=0.0, help="Share of batches that repeat events.")
@click.option(
    "--set", "settings", type=_setting, multiple=True, metavar="NAME=VALUE", help="An app setting; repeat for more."
)
def run(
    *,
    records: int,
    seed: int,
    form: str,
    file: Path | None,
    partitions: int,
    batch_size: int,
    redeliver: float,
    settings: Sequence[tuple[str, str]],
) -> int:
    """Run generated traffic or a file, with settings of your choice. Counts of generated traffic are checked."""

    def job(console: Console) -> int:
        traffic = None if file else Traffic(Scenario(records=records, partitions=partitions, seed=seed))
        messages = messages_of(file, partitions) if file else []
        if traffic:
            messages = _made(traffic, console)
        faults = Faults(redelivered=redeliver, seed=seed)
        simulation = Simulation(messages, settings=dict(settings), batch_size=batch_size, faults=faults)
        outcome = _play(simulation, console)
        _print(outcome, form, console)
        return (
            DONE if traffic is None or _counted(traffic, simulation, outcome, dict(settings), console) else NOT_IN_ORDER
        )

    return _answered(form, job)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        code: int = program.main(arguments, prog_name="python -m local", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    return code


def _answered(form: str, job: Callable[[Console], int]) -> int:
    """Do a job; the exit code of it or of what kept it from its end."""
    console = Console(stderr=form == "ndjson")
    _quiet_logs(console)
    try:
        return job(console)
    except (OSError, ValueError) as error:
        console.print(f"[red]error:[/] {error}", highlight=False)
        return USAGE_ERROR
    except (AzuriteError, WorkerStartError) as error:
        console.print(f"[red]error:[/] {error}", highlight=False)
        return NOT_IN_ORDER
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return INTERRUPTED


def _demo(scenario: Scenario, form: str, console: Console) -> int:
    """Play a made-up day with an attack for each rule, look-alikes, and an ordinary day's faults."""
    console.print(
        "[bold]A day and an hour of logs of Azure OpenAI and AWS Bedrock through the functions as deployed[/]: "
        "Microsoft's worker library, Azurite, the real storage and ingestion clients. Batches are delivered again, the "
        "host dies once with a batch counted and not checkpointed, and for an hour no timer fires. There is an attack "
        f"for each rule, and harmless traffic that looks like it. Tuned with {TUNING}.\n"
    )
    traffic = Traffic(scenario)
    messages = _made(traffic, console)
    noon = scenario.start + scenario.duration / 2
    faults = Faults(redelivered=0.1, crash_at=noon, silent=(noon + timedelta(hours=1), noon + timedelta(hours=2)))
    outcome = _play(Simulation(messages, settings={"TUNING_FILE": TUNING}, faults=faults), console)
    _print(outcome, form, console)
    return DONE if check(outcome, traffic.truth, console) else NOT_IN_ORDER


def _made(traffic: Traffic, console: Console) -> list[Message]:
    """Make the messages, saying so."""
    if not console.is_terminal:
        click.echo(f"making {traffic.scenario.records:,} records", err=True)
    with console.status(f"making {traffic.scenario.records:,} records"):
        return list(traffic)


def _counted(
    traffic: Traffic, simulation: Simulation, outcome: Outcome, settings: Mapping[str, str], console: Console
) -> bool:
    """Whether each record was counted once, by the rules that are on, as far back as buckets are kept."""
    env = {**sample_settings(), **settings}
    rules = [rule.id for rule in policy_from_env(env).rules]
    since = simulation.windows[-1] - timedelta(hours=int(env["BUCKET_RETENTION_HOURS"]))
    return check_counts(outcome, traffic.truth, rules, since, console)


def _play(simulation: Simulation, console: Console) -> Outcome:
    """Play it, saying how far it has come: a bar on a terminal, elsewhere a line now and then."""
    windows = len(simulation.windows)
    if not console.is_terminal:
        lines = Lines(lambda done: f"evaluated {done} of {windows} windows")
        return simulation.run(lambda _: lines.advance(1))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("starting", total=windows)
        return simulation.run(lambda end: progress.update(task, advance=1, description=f"{end:%Y-%m-%d %H:%M}"))


def _print(outcome: Outcome, form: str, console: Console) -> None:
    """Print findings as one JSON line each, or everything as tables."""
    if form == "ndjson":
        for row in newest(outcome.findings):
            print(json.dumps(row))
    else:
        show(outcome, console)


def _quiet_logs(console: Console) -> None:
    """Only warnings, above the progress bar, and not the one that every app without an HTTP function gets."""
    handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False)
    handler.addFilter(lambda record: "Auth level is not applied" not in record.getMessage())
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
