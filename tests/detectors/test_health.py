"""What the heartbeat says of a window: sums, the longest lag, and every partition that is known."""

from datetime import datetime

from detectors.buckets import Watermark
from detectors.counting import Counters
from detectors.events import Source
from detectors.health import measure
from detectors.windows import microseconds, window_buckets
from tests.builders import NAMESPACE, SOURCE, START

SILENT = Source(NAMESPACE, "llm-logs", "1")


def test_the_lag_of_a_partition_is_the_longest_of_the_window() -> None:
    """Whichever bucket had it, the first or the last."""
    first, *_, last = window_buckets(START)
    marks = {SOURCE: Watermark(1, microseconds(START))}
    for stored in ({first: 30_000, last: 5_000}, {first: 5_000, last: 30_000}):

        def read(bucket: datetime, lags_ms: dict[datetime, int] = stored) -> list[tuple[Source, Counters]]:
            return [(SOURCE, Counters(lag_ms=lags_ms.get(bucket, 0)))]

        health = measure(START, read, marks)
        assert [partition.lag_seconds for partition in health.partitions] == [30.0]
        assert health.counters.lag_ms == 30_000


def test_a_partition_that_brought_nothing_is_listed_with_its_last_arrival() -> None:
    """It may be silent, or stuck: somebody should be able to see which."""
    marks = {SOURCE: Watermark(9, microseconds(START)), SILENT: Watermark(4, microseconds(START))}
    health = measure(START, lambda _: [(SOURCE, Counters(messages=1, lag_ms=1))], marks)
    assert [(found.partition, found.last_sequence, found.lag_seconds) for found in health.partitions] == [
        ("0", 9, 0.001),
        ("1", 4, None),
    ]
