"""How far a long run has come, on standard error: a bar on a terminal, elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from detectors.backtest.presentation import size

SECONDS = 10
"""Between two lines. A short run prints none."""


class Lines:
    """Prints a line every `SECONDS`, for a log or a pipe.

    Args:
        describe: the line for what is done so far.
        clock: tells the seconds.
    """

    def __init__(self, describe: Callable[[int], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._describe = describe
        self._clock = clock
        self._done = 0
        self._due = clock() + SECONDS

    def advance(self, count: int) -> None:
        """Take note of what was done since the last call."""
        self._done += count
        if (now := self._clock()) >= self._due:
            self._due = now + SECONDS
            click.echo(self._describe(self._done), err=True)


@contextmanager
def reading(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how much is read; yields what to call with bytes read. Standard input has no total, and no bar."""
    if total_bytes and sys.stderr.isatty():
        with click.progressbar(length=total_bytes, label="reading", file=sys.stderr) as bar:
            yield bar.update
        return
    of = f" of {size(total_bytes)}" if total_bytes else ""
    yield Lines(lambda done: f"read {size(done)}{of}").advance
