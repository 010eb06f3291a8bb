"""Buckets and windows: every instant has its bucket, every bucket its six windows."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.storage.tables import Row, check_limits
from detectors.windows import (
    BUCKET,
    WINDOW,
    bucket_start,
    from_microseconds,
    key_of,
    microseconds,
    record_time,
    record_times,
    time_of,
    window_buckets,
    window_ends,
)

EIGHT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

written = st.one_of(
    st.none(),
    st.text(),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())).map(str),
    st.datetimes(timezones=st.just(UTC)).map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%f}7Z"),
    st.sampled_from(["11/23/2026 8:00:30 AM", "2026-11-23T08:00:30+01:00", "2026-11-23", "2026-13-01T00:00:00Z"]),
)
instants = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - as asked
buckets = instants.map(bucket_start)


def test_a_window_is_an_hour_of_six_buckets() -> None:
    """The numbers of the contract."""
    assert timedelta(minutes=10) == BUCKET
    assert len(window_buckets(EIGHT)) * BUCKET == WINDOW == timedelta(hours=1)


@pytest.mark.parametrize(
    ("at", "start"),
    [
        (EIGHT, EIGHT),
        (EIGHT - MICROSECOND, EIGHT - BUCKET),
        (EIGHT + MICROSECOND, EIGHT),
        (EIGHT + BUCKET - MICROSECOND, EIGHT),
        (EIGHT + BUCKET, EIGHT + BUCKET),
        (datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC), datetime(2024, 2, 29, 23, 50, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2026, 12, 31, 23, 50, tzinfo=UTC)),
    ],
)
def test_a_bucket_holds_its_start_and_not_its_end(at: datetime, start: datetime) -> None:
    """To the microsecond, also over midnight and the end of a year."""
    assert bucket_start(at) == start


@given(instants)
def test_every_instant_is_in_exactly_one_bucket(at: datetime) -> None:
    """Of the buckets around it, one holds it, and that one starts on a full ten minutes."""
    start = bucket_start(at)
    around = [start + BUCKET * step for step in range(-3, 4)]
    assert [one for one in around if one <= at < one + BUCKET] == [start]
    assert (start.minute % 10, start.second, start.microsecond) == (0, 0, 0)
    assert bucket_start(start) == start


@given(at=instants, offset=st.integers(-14 * 60, 14 * 60))
def test_a_bucket_does_not_depend_on_the_time_zone_of_the_clock(at: datetime, offset: int) -> None:
    """An aware time of any zone falls into the same bucket under the same key."""
    local = at.astimezone(timezone(timedelta(minutes=offset)))
    assert bucket_start(local) == bucket_start(at)
    assert key_of(bucket_start(local)) == key_of(bucket_start(at))


@given(buckets)
def test_a_window_is_the_six_buckets_before_its_end(end: datetime) -> None:
    """Oldest first, without a gap, and the bucket that starts at the end is not in it."""
    starts = window_buckets(end)
    assert (starts[0], starts[-1], len(starts)) == (end - WINDOW, end - BUCKET, 6)
    assert {later - earlier for earlier, later in pairwise(starts)} == {BUCKET}


@given(buckets)
def test_a_bucket_is_in_exactly_six_windows(bucket: datetime) -> None:
    """The first ends with it, the last begins with it."""
    holding = [end for end in window_ends(bucket - 2 * WINDOW, bucket + 3 * WINDOW) if bucket in window_buckets(end)]
    assert holding == [bucket + BUCKET * step for step in range(1, 7)]


@given(first=buckets, steps=st.integers(-3, 40))
def test_window_ends_include_both_ends(first: datetime, steps: int) -> None:
    """Every ten minutes; none if the last is before the first."""
    last = first + BUCKET * steps
    ends = list(window_ends(first, last))
    assert len(ends) == max(steps + 1, 0)
    assert ends == sorted(set(ends))
    assert not ends or (ends[0], ends[-1]) == (first, last)


def test_a_key_is_readable() -> None:
    """Stored data depends on this form."""
    assert key_of(EIGHT + BUCKET) == "20261123T0810Z"


@given(one=buckets, other=buckets)
def test_keys_sort_as_times_and_lead_back_to_them(one: datetime, other: datetime) -> None:
    """Range queries and purging compare keys; every key is one that a table takes."""
    assert (key_of(one) < key_of(other)) == (one < other)
    assert time_of(key_of(one)) == one
    assert time_of(key_of(one)).tzinfo is UTC
    check_limits(Row(key_of(one), key_of(one)))


@pytest.mark.parametrize("text", ["", "20261123", "20261123T0810", "windows", "20261323T0810Z"])
def test_what_is_no_key_is_no_time(text: str) -> None:
    """A foreign row is not taken for a bucket."""
    with pytest.raises(ValueError, match=r"time data|unconverted"):
        time_of(text)


@given(one=instants, other=instants)
def test_microseconds_sort_as_times_and_lead_back_to_them(one: datetime, other: datetime) -> None:
    """No precision is lost, and the difference is the elapsed time."""
    assert from_microseconds(microseconds(one)) == one
    assert from_microseconds(microseconds(one)).tzinfo is UTC
    assert (microseconds(one) - microseconds(other)) * MICROSECOND == one - other


def test_microseconds_count_from_1970() -> None:
    """Whole ones, also before it."""
    assert microseconds(datetime(1970, 1, 1, 0, 0, 1, 5, UTC)) == 1_000_005
    assert microseconds(datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)) == -1


@given(texts=st.lists(written, max_size=4))
def test_times_read_at_once_are_those_read_one_by_one(texts: list[str | None]) -> None:
    """In UTC, all of them."""
    times = record_times(texts)
    assert times == [record_time(text) for text in texts]
    assert all(time.tzinfo is UTC for time in times if time is not None)
