"""A progress bar for people: on a terminal, and only where `rich` is installed. Nothing in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show how much is read, how fast, and how long it will take; gives what to call with bytes read."""
    try:
        from rich import progress as bar  # noqa: PLC0415 - a developer's tool, absent where the detector runs
    except ImportError:
        yield lambda _: None
        return
    columns = (
        bar.TextColumn("reading"),
        bar.BarColumn(),
        bar.DownloadColumn(),
        bar.TransferSpeedColumn(),
        bar.TimeRemainingColumn(),
    )
    from rich.console import Console  # noqa: PLC0415 - as above

    with bar.Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task("reading", total=total_bytes or None)
        yield lambda count: shown.advance(task, count)
