"""The work: results in the order of chunks, lines counted through a file, streams, and processes that die."""

import io
import json
import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from detectors.backtest.deduplication import SeenEvents
from detectors.backtest.exports import Document, InputChunk, InputFormat, Lines, find
from detectors.backtest.partial_counts import BucketRange, PartialCounts
from detectors.backtest.workers import CountedChunk, Task, count_chunks
from detectors.errors import InputError
from detectors.events import Event, Source
from detectors.rules.catalogue import BY_ID
from detectors.rules.tally import ACCOUNT_SEEN
from tests.builders import SOURCE, START, event, list_key, message
from tests.detectors.backtest.captures import write_capture
from tests.detectors.backtest.replays import listed, minutes, write

MODEL_THEFT = BY_ID["model_theft"]

ALWAYS = BucketRange(-(2**63), 2**63)


def _sequences(counted: CountedChunk) -> list[tuple[Source, int | None, int | None]]:
    return [
        (source, tally.first_sequence, tally.last_sequence)
        for tallies in counted.counts.tallies.values()
        for (source, key), tally in tallies.items()
        if key.rule_id != ACCOUNT_SEEN
    ]


def _file(folder: Path, name: str, *, lines: int) -> list[InputChunk]:
    """Return a file in two chunks, of which the first holds three lines."""
    path = Path(write(folder, name, listed(minutes(0), times=lines)))
    size = path.stat().st_size
    cut = 3 * size // lines
    return [
        InputChunk(str(path), InputFormat.LINES, cut, 0, cut),
        InputChunk(str(path), InputFormat.LINES, size - cut, cut, None),
    ]


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_and_lines_go_on_over_the_pieces_of_a_file(tmp_path: Path, processes: int) -> None:
    """Whichever process is the first to be done; another file begins at line 1 again."""
    long, short = _file(tmp_path, "long", lines=2_000), _file(tmp_path, "short", lines=4)
    captured = find([str(write_capture(tmp_path, SOURCE, [event(5, list_key()), event(6, list_key())]))])
    chunks = [*long, *short, *captured, *find([write(tmp_path, "last", listed(minutes(0)))])]
    done = list(count_chunks(chunks, [MODEL_THEFT], ALWAYS, processes))
    assert [counted.chunk for counted in done] == chunks
    assert [place for counted in done for place in _sequences(counted)] == [
        (Source("", long[0].path, ""), 1, 3),
        (Source("", long[1].path, ""), 4, 2_000),
        (Source("", short[0].path, ""), 1, 3),
        (Source("", short[1].path, ""), 4, 4),
        (SOURCE, 5, 6),
        (Source("", chunks[-1].path, ""), 1, 1),
    ]
    assert [counted.lines_before for counted in done] == [0, 3, 0, 3, 0, 0]
    assert [counted.task.size for counted in done] == [chunk.size for chunk in chunks]


def test_a_piece_can_be_counted_again_without_what_is_known(tmp_path: Path) -> None:
    """What other chunks brought meanwhile is left out and told."""
    path = write_capture(tmp_path, SOURCE, [event(number, list_key()) for number in range(4)])
    (counted,) = count_chunks(find([str(path)]), [MODEL_THEFT], ALWAYS, 1)
    known = SeenEvents()
    known.absorb(counted.counts.seen)
    again = counted.again(known)
    assert (counted.counts.duplicates, again.duplicates) == (0, 4)
    assert again.tallies == {}


def test_counting_again_keeps_the_numbers_of_lines(tmp_path: Path) -> None:
    """Behind those of the chunks before it."""
    *_, counted = count_chunks(_file(tmp_path, "log", lines=5), [MODEL_THEFT], ALWAYS, 1)
    assert counted.again(SeenEvents()).tallies == counted.counts.tallies
    assert _sequences(counted)[0][1:] == (4, 5)


@pytest.mark.parametrize("processes", [1, 2])
def test_standard_input_is_read_here_and_counted_anywhere(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """Block by block, its lines numbered through, each with its own size."""
    monkeypatch.setattr("detectors.backtest.exports.BLOCK_BYTES", 1)
    monkeypatch.setattr("detectors.backtest.workers.STREAM_BYTES", 10_000)
    data = b"".join(line + b"\n" for line in listed(minutes(0), times=3_000))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    done = list(count_chunks(find(["-"]), [MODEL_THEFT], ALWAYS, processes))
    assert len(done) > 1
    numbers = [number for counted in done for _, *both in _sequences(counted) for number in both if number is not None]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (1, 3_000)
    assert sum(counted.counts.lines for counted in done) == 3_000
    assert sum(counted.task.size for counted in done) == len(data)


def test_each_line_of_standard_input_that_is_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And those between them are counted."""
    monkeypatch.setattr("detectors.backtest.exports.MAX_LINE_BYTES", 100_000)
    (line,) = listed(minutes(0))
    long = b"x" * 400_000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n".join([line, long, line, long, line]))))
    done = list(count_chunks(find(["-"]), [MODEL_THEFT], ALWAYS, 1))
    errors = [counted.counts.read_error for counted in done if counted.counts.read_error]
    assert [error.reason for error in errors] == ["line_too_long"] * 2
    assert sum(counted.counts.counters.records for counted in done) == 3


@pytest.mark.parametrize(
    ("data", "block"),
    [(message(list_key()), Lines), (json.dumps([list_key()], indent=1).encode(), Document)],
)
def test_a_block_of_standard_input_stands_for_its_bytes(
    monkeypatch: pytest.MonkeyPatch, data: bytes, block: type[object]
) -> None:
    """So that a progress bar moves although nobody knows the end."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    (counted,) = count_chunks(find(["-"]), [MODEL_THEFT], ALWAYS, 1)
    assert [type(one) for one in counted.task.blocks] == [block]
    assert counted.task.size == len(data)


def test_blocks_without_bytes_are_no_endless_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As of a capture whose bodies are empty: somebody may send as many as he likes."""
    monkeypatch.setattr("detectors.backtest.workers.STREAM_BYTES", 10_000)
    path = write_capture(tmp_path, SOURCE, [Event(number, START, b"") for number in range(2_000)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    blocks = [len(counted.task.blocks) for counted in count_chunks(find(["-"]), [MODEL_THEFT], ALWAYS, 1)]
    assert sum(blocks) > 20
    assert max(blocks) <= 10


def test_a_captured_block_of_standard_input_stands_for_its_bodies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is around them is not known any more."""
    events = [event(1, list_key()), event(2)]
    path = write_capture(tmp_path, SOURCE, events)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    (counted,) = count_chunks(find(["-"]), [MODEL_THEFT], ALWAYS, 1)
    assert counted.task.size == sum(len(each.body) for each in events)


def test_a_process_that_dies_is_told_in_plain_words(tmp_path: Path) -> None:
    """Where the system is short of memory it kills the largest process, and the rest of the input is not counted."""
    paths = [write(tmp_path, f"file{number}", listed(minutes(0))) for number in range(30)]
    counted = count_chunks(find(paths), [MODEL_THEFT], ALWAYS, 2)
    next(counted)
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(InputError, match="died"):
        list(counted)


def test_processes_start_deaf_to_interrupts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C goes to all of them; a traceback of each would hide what the command has to say."""
    held_back = []
    submit = ProcessPoolExecutor.submit

    def noted(pool: ProcessPoolExecutor, run: Callable[[], PartialCounts]) -> Future[PartialCounts]:
        held_back.append(_holds_interrupts_back())
        return submit(pool, run)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", noted)
    paths = [write(tmp_path, f"file{number}", listed(minutes(0))) for number in range(3)]
    assert len(list(count_chunks(find(paths), [MODEL_THEFT], ALWAYS, 2))) == 3
    assert held_back == [True] * 3
    assert not _holds_interrupts_back()


def _holds_interrupts_back() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_processes_end_with_the_work(tmp_path: Path) -> None:
    """Also when nobody wants the rest."""
    paths = [write(tmp_path, f"file{number}", listed(minutes(0))) for number in range(30)]
    work = count_chunks(find(paths), [MODEL_THEFT], ALWAYS, 2)
    next(work)
    ends = [process.sentinel for process in multiprocessing.active_children()]
    del work
    assert len(ends) == 2
    assert all(wait([end], 30) for end in ends)  # the pool joins them too, and only one of two gets the exit code


def test_a_task_counts_for_its_rules_alone() -> None:
    """A rule is data, and travels with the task: also one that selects as upstream does."""
    block = Lines(b"\n".join(listed(minutes(0), times=2)))
    with_rule, without = (
        pickle.loads(pickle.dumps(Task(InputChunk("-", InputFormat.LINES, 0), rules, ALWAYS, (block,)))).run()  # noqa: S301
        for rules in ((MODEL_THEFT,), ())
    )
    counts = {key.rule_id: tally.count for tallies in with_rule.tallies.values() for (_, key), tally in tallies.items()}
    assert counts == {"model_theft": 2, ACCOUNT_SEEN: 2}
    assert without.tallies == {}
    assert without.counters.records == 2
