"""Measuring: what was read, what was wrong with it, and how late it arrived, over all chunks."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.backtest.exports import InputChunk, InputFormat, ReadError
from detectors.backtest.outcome import Delays, Place, Quality
from detectors.backtest.partial_counts import MAX_EXAMPLES, PartialCounts
from detectors.backtest.quality import QualityMeter
from detectors.ingestion.delta import QuarantinedRecord
from detectors.rules.counters import Counters, Selected
from detectors.sources.decoding import RecordFlaw
from detectors.windows import microseconds
from tests.builders import START

FIRST, SECOND = (InputChunk("log", InputFormat.LINES, 100, *span) for span in ((0, 100), (100, None)))
OTHER = InputChunk("other.avro", InputFormat.AVRO, 7)
AT = microseconds(START)


def _flaw(line: int, reason: str = "not_json") -> QuarantinedRecord:
    return QuarantinedRecord(line, RecordFlaw(0, reason, f"because of {reason}", "x"))


def test_everything_is_added_up() -> None:
    """Counts, bytes, problems by reason with the most frequent first, and the times from first to last."""
    meter = QualityMeter([FIRST, SECOND, OTHER])
    bad = Counters(records=5, selected={"model_theft": Selected(3, 1)}, quarantined={"no_time": 1, "not_json": 2})
    meter.add(FIRST, 100, PartialCounts(counters=bad, examples=[_flaw(1)], first_time=AT + 2, last_time=AT + 3))
    meter.add(SECOND, 90, PartialCounts(counters=bad, examples=[_flaw(9, "no_time")], first_time=AT, last_time=AT + 1))
    read_error = ReadError("truncated", "It ends in the middle.")
    meter.add(OTHER, 7, PartialCounts(duplicates=4, read_error=read_error, delays=Counter({60: 2})))
    quality = meter.quality(interrupted=False)
    assert quality == Quality(
        files=2,
        files_read=1,
        bytes=197,
        records=10,
        selected={"model_theft": Selected(6, 2)},
        problems={"not_json": 4, "no_time": 2, "truncated": 1},
        examples=[
            Place("log", 1, "not_json", "because of not_json"),
            Place("log", 9, "no_time", "because of no_time"),
            Place("other.avro", 0, "truncated", "It ends in the middle."),
        ],
        duplicates=4,
        first_time=START,
        last_time=START + timedelta(microseconds=3),
        delays=Delays(2, 60, 60, 60),
    )
    assert list(quality.problems) == ["not_json", "no_time", "truncated"]
    assert meter.last_time == AT + 3


def test_nothing_read_is_nothing_told() -> None:
    """The files that were asked for are known from the start."""
    assert QualityMeter([FIRST, SECOND, OTHER]).quality(interrupted=False) == Quality(files=2)


def test_a_file_is_read_when_all_of_its_pieces_are() -> None:
    """Trouble in any of them keeps it from being read."""
    meter, broken = QualityMeter([FIRST, SECOND]), QualityMeter([FIRST, SECOND])
    meter.add(FIRST, 100, PartialCounts())
    assert meter.quality(interrupted=False).files_read == 0
    meter.add(SECOND, 100, PartialCounts())
    assert meter.quality(interrupted=False).files_read == 1
    broken.add(FIRST, 100, PartialCounts(read_error=ReadError("line_too_long", "")))
    broken.add(SECOND, 100, PartialCounts())
    assert broken.quality(interrupted=False).files_read == 0


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_stream_is_read_unless_it_was_interrupted(blocks: int) -> None:
    """It comes in blocks, or none if it is empty, and nobody knows how many more there would have been."""
    stream = InputChunk("-", InputFormat.LINES, 0)
    meter = QualityMeter([stream])
    for _ in range(blocks):
        meter.add(stream, 40, PartialCounts())
    assert (meter.quality(interrupted=False).files, meter.quality(interrupted=False).files_read) == (1, 1)
    assert meter.quality(interrupted=True).files_read == 0


def test_the_first_examples_of_each_reason_stay_over_all_pieces() -> None:
    """Enough to find the cause, and not a page of each."""
    meter = QualityMeter([FIRST, OTHER])
    meter.add(FIRST, 1, PartialCounts(examples=[_flaw(line) for line in range(1, 4)]))
    meter.add(OTHER, 1, PartialCounts(examples=[*(_flaw(line) for line in range(1, 6)), _flaw(8, "no_time")]))
    places = meter.quality(interrupted=False).examples
    assert [(place.file, place.line) for place in places if place.reason == "not_json"] == [
        ("log", 1), ("log", 2), ("log", 3), ("other.avro", 1), ("other.avro", 2),
    ]  # fmt: skip
    assert len(places) == MAX_EXAMPLES + 1


@pytest.mark.parametrize(
    ("delays", "told"),
    [
        ([5], Delays(1, 5, 5, 5)),
        ([1, 2], Delays(2, 1, 2, 2)),
        ([1, 2, 3], Delays(3, 2, 3, 3)),
        ([0] * 95 + [9] * 5, Delays(100, 0, 0, 9)),
        ([0] * 94 + [8] + [9] * 5, Delays(100, 0, 8, 9)),
        ([0] * 94 + [9] * 6, Delays(100, 0, 9, 9)),
        ([0] * 49 + [3] * 51, Delays(100, 3, 3, 3)),
    ],
)
def test_delays_are_told_by_their_quantiles(delays: list[int], told: Delays) -> None:
    """Nearest rank: a delay that some message had."""
    meter = QualityMeter([OTHER])
    meter.add(OTHER, 1, PartialCounts(delays=Counter(delays)))
    assert meter.quality(interrupted=False).delays == told


@settings(deadline=None)
@given(parts=st.lists(st.lists(st.integers(0, 50), max_size=20), max_size=5))
def test_delays_of_all_parts_count(parts: list[list[int]]) -> None:
    """However messages are spread over them, half are at or below the median, and 95 of 100 at or below the other."""
    meter = QualityMeter([OTHER])
    for part in parts:
        meter.add(OTHER, 1, PartialCounts(delays=Counter(part)))
    delays, told = sorted(delay for part in parts for delay in part), meter.quality(interrupted=False).delays
    if told is None:
        assert not delays
        return
    assert (told.messages, told.largest) == (len(delays), delays[-1])
    for value, share in ((told.median, 0.5), (told.p95, 0.95)):
        assert sum(delay <= value for delay in delays) >= share * len(delays)
        assert sum(delay < value for delay in delays) < share * len(delays)
