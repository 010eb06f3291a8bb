"""Spreads the counting of a backtest over processes. Results come in the order of the chunks."""

import signal
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from detectors.backtest.deduplication import SeenEvents
from detectors.backtest.exports import Block, Captured, Document, InputChunk, Lines, ReadError, read, read_stream
from detectors.backtest.partial_counts import BucketRange, PartialCounts, count
from detectors.errors import InputError
from detectors.rules.rule import Rule

STREAM_BYTES = 1 << 22
"""Bytes of standard input that are counted together, of which a block has `_LEAST_BYTES` and more."""

_LEAST_BYTES = 1 << 10

AHEAD = 2
"""Chunks handed out for each process before the oldest must be back, so that results do not pile up."""


@dataclass(frozen=True, slots=True)
class Task:
    """The task of a process: a chunk to read, or blocks that only the parent process could read."""

    chunk: InputChunk
    rules: tuple[Rule, ...]
    span: BucketRange
    blocks: tuple[Block, ...] = ()

    @property
    def size(self) -> int:
        """The size of its input in bytes."""
        return sum(map(_size, self.blocks)) if self.blocks else self.chunk.size

    def run(self, known: SeenEvents | None = None) -> PartialCounts:
        """Count it, without the events known already."""
        return count(self.blocks or read(self.chunk), self.chunk.path, self.rules, self.span, known)


def _size(block: Block) -> int:
    match block:
        case Lines(data) | Document(data):
            return len(data)
        case Captured(_, events):
            return sum(len(event.body) for event in events)
        case _:
            return 0


@dataclass(frozen=True, slots=True)
class CountedChunk:
    """The counts of a chunk, their task, and how many lines of the file came before it."""

    task: Task
    counts: PartialCounts
    lines_before: int

    @property
    def chunk(self) -> InputChunk:
        """The chunk that was counted."""
        return self.task.chunk

    def again(self, known: SeenEvents) -> PartialCounts:
        """Count the chunk again, without the events known already."""
        counts = self.task.run(known)
        counts.move(self.lines_before)
        return counts


def count_chunks(
    chunks: Sequence[InputChunk], rules: Sequence[Rule], span: BucketRange, processes: int
) -> Iterator[CountedChunk]:
    """Count each chunk; results come in the order of the chunks.

    Raises:
        InputError: a process died.
    """
    tasks = _tasks(chunks, tuple(rules), span)
    done = ((task, task.run()) for task in tasks) if processes == 1 else _in_processes(tasks, processes)
    lines: Counter[str] = Counter()
    for task, counts in done:
        before = lines[task.chunk.path]
        counts.move(before)
        lines[task.chunk.path] += counts.lines
        yield CountedChunk(task, counts, before)


def _tasks(chunks: Sequence[InputChunk], rules: tuple[Rule, ...], span: BucketRange) -> Iterator[Task]:
    for chunk in chunks:
        if not chunk.is_stream:
            yield Task(chunk, rules, span)
            continue
        for blocks in _together(read_stream(sys.stdin.buffer, chunk.path)):
            yield Task(chunk, rules, span, blocks)


def _together(blocks: Iterable[Block]) -> Iterator[tuple[Block, ...]]:
    """Put blocks together for a task each; the first error ends one, as a task tells of one alone."""
    found: list[Block] = []
    held = 0
    for block in blocks:
        found.append(block)
        held += _size(block) + _LEAST_BYTES
        if isinstance(block, ReadError) or held >= STREAM_BYTES:
            yield tuple(found)
            found.clear()
            held = 0
    if found:
        yield tuple(found)


def _in_processes(tasks: Iterator[Task], processes: int) -> Iterator[tuple[Task, PartialCounts]]:
    """Run tasks in fresh processes, not forks: a fork copies the locks of the thread that draws a progress bar."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        waiting: deque[tuple[Task, Future[PartialCounts]]] = deque()
        try:
            for task in tasks:
                with _deaf():
                    waiting.append((task, pool.submit(task.run)))
                if len(waiting) > AHEAD * processes:
                    oldest, future = waiting.popleft()
                    yield oldest, future.result()
            while waiting:
                oldest, future = waiting.popleft()
                yield oldest, future.result()
        except BrokenProcessPool as error:
            raise InputError("A process that read the input died: perhaps memory is short, see --processes.") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _deaf() -> Iterator[None]:
    """Hold interrupts back, for good in a process that is started here.

    An interrupt is for the process that the terminal talks to, which stops the others; they would answer it with a
    traceback, even before their first line of ours runs.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
