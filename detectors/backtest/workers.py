"""The work of a backtest, spread over processes. Parts come back in the order of their pieces, whoever made them."""

import signal
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from detectors.backtest.deduplication import Seen
from detectors.backtest.exports import Block, Captured, Document, Lines, Piece, read, read_stream
from detectors.backtest.partial_counts import Part, Span, count
from detectors.errors import InputError
from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Rule

AHEAD = 2
"""Pieces handed out for each process before the oldest must be back, so that results do not pile up."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a process is given: a piece to read, or a block that only this process could read."""

    piece: Piece
    rule_ids: tuple[str, ...]
    span: Span
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
                return self.piece.size

    def run(self, known: Seen | None = None) -> Part:
        """Count it, without the events that are known already."""
        blocks = read(self.piece) if self.block is None else (self.block,)
        return count(blocks, self.piece.path, [BY_ID[rule_id] for rule_id in self.rule_ids], self.span, known)


@dataclass(frozen=True, slots=True)
class Counted:
    """A part, the piece that it comes from, and how many lines of the file came before it."""

    task: Task
    part: Part
    lines_before: int

    @property
    def piece(self) -> Piece:
        """What was counted."""
        return self.task.piece

    def again(self, known: Seen) -> Part:
        """The part without the events that are known already."""
        part = self.task.run(known)
        part.move(self.lines_before)
        return part


def counted(pieces: Sequence[Piece], rules: Sequence[Rule], span: Span, processes: int) -> Iterator[Counted]:
    """Count each piece; results in the order of the pieces.

    Raises:
        InputError: a process died.
    """
    tasks = _tasks(pieces, tuple(rule.id for rule in rules), span)
    done = ((task, task.run()) for task in tasks) if processes == 1 else _in_processes(tasks, processes)
    lines: Counter[str] = Counter()
    for task, part in done:
        before = lines[task.piece.path]
        part.move(before)
        lines[task.piece.path] += part.lines
        yield Counted(task, part, before)


def _tasks(pieces: Sequence[Piece], rule_ids: tuple[str, ...], span: Span) -> Iterator[Task]:
    for piece in pieces:
        if not piece.is_stream:
            yield Task(piece, rule_ids, span)
            continue
        for block in read_stream(sys.stdin.buffer, piece.path):
            yield Task(piece, rule_ids, span, block)


def _in_processes(tasks: Iterator[Task], processes: int) -> Iterator[tuple[Task, Part]]:
    """Fresh processes rather than forks: a fork copies the locks of whatever thread draws a progress bar."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        waiting: deque[tuple[Task, Future[Part]]] = deque()
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
