"""`python -m benchmarks`: measure decoding, an invocation, the growth of a bucket, evaluations, a backtest."""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks import backtest, breakage, decoding, evaluation, growth, invocation, machine, page, rules, scaling
from benchmarks.corpus import MESSAGES_PER_BATCH, RECORDS_PER_MESSAGE, corpus
from benchmarks.report import Section, lines, show


def main() -> None:
    """Measure, and print each section as soon as it is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--format", choices=("table", "ndjson"), default="table")
    parser.add_argument(
        "--records", type=int, default=1_000_000, metavar="N", help="to decode; each takes 0.8 KB of memory"
    )
    parser.add_argument(
        "--backtest-records", type=int, default=2_000_000, metavar="N", help="to backtest; each takes 0.8 KB on disk"
    )
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="also write a page and its picture into a folder")
    options = parser.parse_args()
    if min(options.records, options.backtest_records) < 1:
        parser.error("--records and --backtest-records must be positive")
    logging.disable(logging.WARNING)  # the app's advice to its operator would stand between the tables
    console = Console()
    measured = []
    for section in _sections(options.records, options.backtest_records):
        measured.append(section)
        if options.format == "table":
            show(section, console)
        else:
            for line in lines(section):
                print(line, flush=True)
    if options.page:
        page.write(options.page, measured)


def _sections(records: int, backtest_records: int) -> Iterator[Section]:
    yield machine.section(machine.this_machine())
    decoded = corpus(records)
    yield decoding.measure(decoded)
    yield rules.measure(decoded)
    batch = corpus(MESSAGES_PER_BATCH * RECORDS_PER_MESSAGE)
    yield breakage.measure(batch)
    invoked = invocation.measure(batch)
    yield from invoked
    yield from scaling.measure(invocation.event_seconds(invoked, batch))
    yield growth.measure()
    yield evaluation.measure()
    yield backtest.measure(backtest_records)


if __name__ == "__main__":
    main()
