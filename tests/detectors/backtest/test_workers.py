"""The work: results in the order of pieces, lines counted through a file, streams, and processes that die."""

import io
import json
import multiprocessing
import sys
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from detectors.backtest.deduplication import Seen
from detectors.backtest.exports import Document, Form, Lines, Piece, find
from detectors.backtest.partial_counts import Span
from detectors.backtest.workers import Counted, Task, counted
from detectors.errors import InputError
from detectors.events import Source
from detectors.rules.catalogue import BY_ID
from tests.builders import SOURCE, event, list_key, message
from tests.detectors.backtest.captures import write_capture
from tests.detectors.backtest.replays import listed, minutes, write

MODEL_THEFT = BY_ID["model_theft"]

ALWAYS = Span(-(2**63), 2**63)


def _sequences(work: Counted) -> list[tuple[Source, int | None, int | None]]:
    return [
        (source, tally.first_sequence, tally.last_sequence)
        for tallies in work.part.tallies.values()
        for (source, _), tally in tallies.items()
    ]


def _file(folder: Path, name: str, *, lines: int) -> list[Piece]:
    """A file in two pieces, of which the first holds three lines."""
    path = Path(write(folder, name, listed(minutes(0), times=lines)))
    size = path.stat().st_size
    cut = 3 * size // lines
    return [Piece(str(path), Form.LINES, cut, 0, cut), Piece(str(path), Form.LINES, size - cut, cut, None)]


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_and_lines_go_on_over_the_pieces_of_a_file(tmp_path: Path, processes: int) -> None:
    """Whichever process is the first to be done; another file begins at line 1 again."""
    long, short = _file(tmp_path, "long", lines=2_000), _file(tmp_path, "short", lines=4)
    captured = find([str(write_capture(tmp_path, SOURCE, [event(5, list_key()), event(6, list_key())]))])
    pieces = [*long, *short, *captured, *find([write(tmp_path, "last", listed(minutes(0)))])]
    done = list(counted(pieces, [MODEL_THEFT], ALWAYS, processes))
    assert [work.piece for work in done] == pieces
    assert [place for work in done for place in _sequences(work)] == [
        (Source("", long[0].path, ""), 1, 3),
        (Source("", long[1].path, ""), 4, 2_000),
        (Source("", short[0].path, ""), 1, 3),
        (Source("", short[1].path, ""), 4, 4),
        (SOURCE, 5, 6),
        (Source("", pieces[-1].path, ""), 1, 1),
    ]
    assert [work.lines_before for work in done] == [0, 3, 0, 3, 0, 0]
    assert [work.task.size for work in done] == [piece.size for piece in pieces]


def test_a_piece_can_be_counted_again_without_what_is_known(tmp_path: Path) -> None:
    """What other pieces brought meanwhile is left out and told."""
    path = write_capture(tmp_path, SOURCE, [event(number, list_key()) for number in range(4)])
    (work,) = counted(find([str(path)]), [MODEL_THEFT], ALWAYS, 1)
    known = Seen()
    known.absorb(work.part.seen)
    again = work.again(known)
    assert (work.part.duplicates, again.duplicates) == (0, 4)
    assert again.tallies == {}


def test_counting_again_keeps_the_numbers_of_lines(tmp_path: Path) -> None:
    """Behind those of the pieces before it."""
    *_, work = counted(_file(tmp_path, "log", lines=5), [MODEL_THEFT], ALWAYS, 1)
    assert work.again(Seen()).tallies == work.part.tallies
    assert _sequences(work)[0][1:] == (4, 5)


@pytest.mark.parametrize("processes", [1, 2])
def test_standard_input_is_read_here_and_counted_anywhere(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """Block by block, its lines numbered through, each with its own size."""
    monkeypatch.setattr("detectors.backtest.exports.BLOCK_BYTES", 1)
    data = b"".join(line + b"\n" for line in listed(minutes(0), times=3_000))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    done = list(counted(find(["-"]), [MODEL_THEFT], ALWAYS, processes))
    assert len(done) > 1
    numbers = [number for work in done for _, *both in _sequences(work) for number in both if number is not None]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (1, 3_000)
    assert sum(work.part.lines for work in done) == 3_000
    assert sum(work.task.size for work in done) == len(data)


@pytest.mark.parametrize(
    ("data", "block"),
    [(message(list_key()), Lines), (json.dumps([list_key()], indent=1).encode(), Document)],
)
def test_a_block_of_standard_input_stands_for_its_bytes(
    monkeypatch: pytest.MonkeyPatch, data: bytes, block: type[object]
) -> None:
    """So that a progress bar moves although nobody knows the end."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    (work,) = counted(find(["-"]), [MODEL_THEFT], ALWAYS, 1)
    assert isinstance(work.task.block, block)
    assert work.task.size == len(data)


def test_a_captured_block_of_standard_input_stands_for_its_bodies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is around them is not known any more."""
    events = [event(1, list_key()), event(2)]
    path = write_capture(tmp_path, SOURCE, events)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    (work,) = counted(find(["-"]), [MODEL_THEFT], ALWAYS, 1)
    assert work.task.size == sum(len(each.body) for each in events)


def test_a_process_that_dies_is_told_in_plain_words(tmp_path: Path) -> None:
    """Where the system is short of memory it kills the largest process, and the rest of the input is not counted."""
    paths = [write(tmp_path, f"file{number}", listed(minutes(0))) for number in range(30)]
    work = counted(find(paths), [MODEL_THEFT], ALWAYS, 2)
    next(work)
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(InputError, match="died"):
        list(work)


def test_processes_end_with_the_work(tmp_path: Path) -> None:
    """Also when nobody wants the rest."""
    paths = [write(tmp_path, f"file{number}", listed(minutes(0))) for number in range(30)]
    work = counted(find(paths), [MODEL_THEFT], ALWAYS, 2)
    next(work)
    ends = [process.sentinel for process in multiprocessing.active_children()]
    del work
    assert len(ends) == 2
    assert all(wait([end], 30) for end in ends)  # the pool joins them too, and only one of two gets the exit code


def test_a_task_names_its_rules_as_rules_do_not_travel() -> None:
    """Functions of a rule cannot be sent to another process; their id can."""
    block = Lines(b"\n".join(listed(minutes(0), times=2)))
    with_rule, without = (Task(Piece("-", Form.LINES, 0), ids, ALWAYS, block).run() for ids in (("model_theft",), ()))
    assert [tally.count for tallies in with_rule.tallies.values() for tally in tallies.values()] == [2]
    assert without.tallies == {}
    assert without.counters.records == 2
