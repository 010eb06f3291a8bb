"""A backtest says the same however its input is ordered, cut, packed and spread over processes."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detectors.backtest import exports
from detectors.backtest.exports import InputChunk, InputFormat, find
from detectors.backtest.outcome import Quality
from tests import oracle
from tests.builders import SOURCE, event, list_key
from tests.detectors.backtest import expected
from tests.detectors.backtest.captures import write_capture
from tests.detectors.backtest.expected import EVERYTHING
from tests.detectors.backtest.logs import Entry, entries, log
from tests.detectors.backtest.replays import Replayed, listed, minutes, run, write
from tests.examples import examples

EVIDENCE, NOTHING = ("Evidence",), ()
randoms = st.randoms(use_true_random=False)
SOME = examples(30)


def _as_unreadable(replayed: Replayed, *, without: Sequence[str] = NOTHING) -> dict[str, Any]:
    """All that a replay says, but for what is about files; `without` leaves out columns of findings.

    Bad lines are named one by one only where lines keep their numbers.
    """
    outcome: dict[str, Any] = msgspec.to_builtins(replayed.outcome)
    outcome["quality"] |= {"files": 0, "files_read": 0, "bytes": 0}
    places = sorted((place["line"], place["reason"]) for place in outcome["quality"].pop("examples"))
    outcome["quality"]["examples"] = [] if without else places
    return {**outcome, "rows": replayed.rows(*without)}


def _whole(folder: Path, lines: Sequence[bytes]) -> Replayed:
    return run(find([write(folder, "whole.ndjson", lines)]), EVERYTHING)


@SOME
@given(log=entries)
@example(log(Random(1_059_774), 8))  # an account is known by a call that tells no length
def test_findings_are_those_of_a_plain_count(log: list[Entry]) -> None:
    """Every rule, window, minute and newcomer, with its count and whether an exception explains it; and no other."""
    with TemporaryDirectory() as folder:
        replayed = _whole(Path(folder), [entry.line for entry in log])
    found = [
        expected.Row(
            row.window_end, (row.rule_id, tuple(row.group.values())), row.event_count, row.status == "Suppressed"
        )
        for row in replayed.findings
        if row.status != "Closed"
    ]
    assert len(found) == len(set(found))
    assert set(found) == expected.rows(log)
    _check_quality(replayed.outcome.quality, log)


def _check_quality(quality: Quality, log: Sequence[Entry]) -> None:
    told = {rule_id: (one.records, one.with_length) for rule_id, one in quality.selected.items()}
    assert told == expected.selected(log)
    every = expected.arrivals(log)
    assert quality.selected_by_any == sum(any(oracle.places(one.record)) for one in every)
    times = [one.at for one in every]
    if times:
        assert quality.first_time is not None
        assert quality.last_time is not None
        assert minutes(0) <= min(times) - quality.first_time < minutes(1)  # told to the minute
        assert minutes(0) <= max(times) - quality.last_time < minutes(1)
    else:
        assert (quality.first_time, quality.last_time) == (None, None)
    kinds = (b"ListKey", b"ChatCompletions_Create", b"AccessDeniedException")
    timeless = sum(entry.after is None and any(kind in entry.line for kind in kinds) for entry in log)
    assert quality.problems.get("no_time", 0) == timeless
    assert quality.problems.get("no_resource", 0) == sum(b"nowhere" in entry.line for entry in log)


@SOME
@given(log=entries, random=randoms, parts=st.integers(2, 5))
def test_how_records_are_spread_over_files_does_not_matter(log: list[Entry], random: Random, parts: int) -> None:
    """Shuffled, dealt out to files, some packed, which are given in any order."""
    lines = [entry.line for entry in log]
    shuffled = random.sample(lines, len(lines))
    with TemporaryDirectory() as name:
        folder = Path(name)
        whole = _whole(folder, lines)
        for part in range(parts):
            write(folder, f"part{part}", shuffled[part::parts], packed=random.random() < 0.3)
        chunks = find([str(folder / f"part{part}") for part in range(parts)])
        spread = run(random.sample(chunks, len(chunks)), EVERYTHING)
    assert _as_unreadable(spread, without=EVIDENCE) == _as_unreadable(whole, without=EVIDENCE)


@SOME
@given(log=entries, random=randoms)
def test_records_count_the_same_in_messages_and_between_blank_lines(log: list[Entry], random: Random) -> None:
    """Lines regrouped into messages and arrays; what is no record stays a line of its own."""
    lines: list[bytes] = []
    waiting: list[dict[str, Any]] = []
    for entry in log:
        if entry.record is None:
            lines += [entry.line, b" " * random.randrange(2)]
            continue
        waiting.append(entry.record)
        if random.random() < 0.4:
            lines += [_message(waiting, random), b""]
            waiting = []
    lines += [_message(waiting, random)] if waiting else []
    with TemporaryDirectory() as name:
        folder = Path(name)
        whole = _whole(folder, [entry.line for entry in log])
        grouped = run(find([write(folder, "grouped", lines)]), EVERYTHING)
    assert _as_unreadable(grouped, without=EVIDENCE) == _as_unreadable(whole, without=EVIDENCE)


def _message(records: list[dict[str, Any]], random: Random) -> bytes:
    return json.dumps(random.choice([records, {"records": records}])).encode()


@SOME
@given(log=entries, random=randoms, cuts=st.lists(st.floats(0, 1), max_size=5), packed=st.booleans())
def test_pieces_and_blocks_cut_anywhere_give_the_same_with_its_evidence(
    log: list[Entry], random: Random, cuts: list[float], *, packed: bool
) -> None:
    """Line numbers in evidence and of bad lines hold over every cut, line break and packing."""
    lines = [entry.line for entry in log]
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        whole = _whole(folder, lines)
        patch.setattr(exports, "BLOCK_BYTES", random.choice([1, 150, 4_000]))
        path = write(folder, "whole.ndjson", lines, newline=random.choice([b"\n", b"\r\n"]), packed=packed)
        chunks = find([path]) if packed else _cut(path, cuts)
        cut = run(chunks, EVERYTHING)
    assert _as_unreadable(cut) == _as_unreadable(whole)


def _cut(path: str, cuts: Sequence[float]) -> list[InputChunk]:
    """Pieces of a file at these shares of its length."""
    size = Path(path).stat().st_size
    starts = sorted({0, *(int(share * size) for share in cuts)})
    ends = [*starts[1:], None]
    return [InputChunk(path, InputFormat.LINES, 1, start, end) for start, end in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("processes", [2, 3])
def test_the_number_of_processes_does_not_matter(tmp_path: Path, processes: int) -> None:
    """Lines in chunks, packed lines, and captures of which a part is there twice: all of it equal, in every place."""
    lines = [line for number in range(20) for line in (*listed(minutes(9 * number), times=2), b"{'cut", b"")]
    chunks = _cut(write(tmp_path, "plain", lines), [0.1, 0.35, 0.8])
    events = [event(number, list_key("aoai-dev"), 42, after=minutes(number)) for number in range(90)]
    for first, last in ((0, 30), (20, 60), (60, 90), (25, 65)):
        write_capture(tmp_path / f"capture{first}", SOURCE, events[first:last])
    chunks += find([write(tmp_path, "packed", lines, packed=True), *map(str, tmp_path.glob("capture*"))])
    alone, together = run(chunks, EVERYTHING), run(chunks, EVERYTHING, processes=processes)
    assert together == alone
    assert {row.resource_name for row in alone.findings} == {"aoai-prod", "aoai-dev"}
    assert alone.outcome.quality.duplicates == 50
    assert alone.outcome.quality.problems == {"not_a_record": 90, "not_json": 40}
