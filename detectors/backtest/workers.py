"""The work of a backtest, spread over processes. Parts come back in the order of their pieces, whoever made them."""

import signal
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

from detectors.backtest.deduplication import SeenEvents
from detectors.backtest.exports import Block, Captured, Document, InputChunk, Lines, read, read_stream
from detectors.backtest.partial_counts import BucketRange, PartialCounts, count
from detectors.errors import InputError
from detectors.rules.rule import Rule

AHEAD = 2
"""Pieces handed out for each process before the oldest must be back, so that results do not pile up."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a process is given: a piece to read, or a block that only this process could read."""

    chunk: InputChunk
    rules: tuple[Rule, ...]
    span: BucketRange
    block: Block | None = None

    @property
    def size(self) -> int:
        """Bytes of input that it stands for."""
        match self.block:
            case Lines(data) | Document(data):
                return len(data)
            case Captured(_, events):
                return sum(len(event.body) for event in events)
            case _:
                return self.chunk.size

    def run(self, known: SeenEvents | None = None) -> PartialCounts:
        """Count it, without the events that are known already."""
        blocks = read(self.chunk) if self.block is None else (self.block,)
        return count(blocks, self.chunk.path, self.rules, self.span, known)


@dataclass(frozen=True, slots=True)
class CountedChunk:
    """A part, the piece that it comes from, and how many lines of the file came before it."""

    task: Task
    counts: PartialCounts
    lines_before: int

    @property
    def chunk(self) -> InputChunk:
        """What was counted."""
        return self.task.chunk

    def again(self, known: SeenEvents) -> PartialCounts:
        """The part without the events that are known already."""
        counts = self.task.run(known)
        counts.move(self.lines_before)
        return counts


def count_chunks(
    chunks: Sequence[InputChunk], rules: Sequence[Rule], span: BucketRange, processes: int
) -> Iterator[CountedChunk]:
    """Count each piece; results in the order of the pieces.

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
        for block in read_stream(sys.stdin.buffer, chunk.path):
            yield Task(chunk, rules, span, block)


def _in_processes(tasks: Iterator[Task], processes: int) -> Iterator[tuple[Task, PartialCounts]]:
    """Fresh processes rather than forks: a fork copies the locks of whatever thread draws a progress bar."""
    with ProcessPoolExecutor(processes, get_context("spawn"), _ignore_interrupts) as pool:
        waiting: deque[tuple[Task, Future[PartialCounts]]] = deque()
        try:
            for task in tasks:
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


def _ignore_interrupts() -> None:
    """An interrupt is for the process that the terminal talks to; it tells the others to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
