"""Arithmetic of the 10-minute buckets and of the one-hour windows made of six of them.

A bucket holds what arrived in [start, start + 10 min). A window is named by its end and holds the six
buckets before it, so every bucket is seen by six windows. All times are aware UTC.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

BUCKET = timedelta(minutes=10)
BUCKETS_PER_WINDOW = 6
WINDOW = BUCKET * BUCKETS_PER_WINDOW
BUCKET_MICROSECONDS = BUCKET // timedelta(microseconds=1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_from_iso = datetime.fromisoformat
_MICROSECOND = timedelta(microseconds=1)
_DAY_MINUTES = 24 * 60
_KEY_FORMAT = "%Y%m%dT%H%MZ"


def bucket_start(at: datetime) -> datetime:
    """Find the start of the bucket that holds `at`, which is also the newest window end not after `at`."""
    return at - (at - _EPOCH) % BUCKET


def window_buckets(window_end: datetime) -> tuple[datetime, ...]:
    """List the starts of the six buckets of a window, oldest first."""
    return tuple(window_end - BUCKET * age for age in range(BUCKETS_PER_WINDOW, 0, -1))


def window_ends(first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield every window end from `first` to `last`, both included, oldest first."""
    while first <= last:
        yield first
        first += BUCKET


@lru_cache(maxsize=4096)
def key_of(at: datetime) -> str:
    """Format a bucket start or window end as a storage key, `20261123T0010Z`, which sorts as time does."""
    return at.astimezone(UTC).strftime(_KEY_FORMAT)


@lru_cache(maxsize=4096)
def time_of(key: str) -> datetime:
    """Parse what `key_of` formats."""
    return datetime.strptime(key, _KEY_FORMAT).replace(tzinfo=UTC)


def microseconds(at: datetime) -> int:
    """Convert a time to whole microseconds since 1970, as times are stored."""
    return (at - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Convert what `microseconds` returns back to a time."""
    return _EPOCH + timedelta(microseconds=value)


def record_times(texts: Sequence[str | None]) -> Sequence[datetime | None]:
    """Read the own times of many records: at once if all are ISO 8601 with a Z, as nearly all are."""
    try:
        times = list(map(_from_iso, texts))  # type: ignore[arg-type]  # one that is None raises
    except (TypeError, ValueError):
        return list(map(record_time, texts))
    if [time.tzinfo for time in times].count(UTC) < len(times):
        return list(map(record_time, texts))
    return times


def record_time(text: str | None) -> datetime | None:
    """Read a record's own time; None if it is none.

    Mostly ISO 8601 with up to nine fraction digits. Without a zone it is UTC, as services write no other. Exports by
    way of spreadsheets and some shippers write US dates: `11/23/2026 8:00:05 AM`, the month first.
    """
    if not text:
        return None
    try:
        at = _from_iso(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:  # before year 1 or after year 9999 in UTC
        return None
    except ValueError:
        us_date = _US_DATE.fullmatch(text)
        return _us_time(us_date) if us_date else None


def _us_time(text: re.Match[str]) -> datetime | None:
    month, day, year, hour, minute, second = map(int, text.groups()[:6])
    half = text["half"]
    if half:
        if not 1 <= hour <= _NOON:
            return None
        hour = hour % _NOON + (_NOON if half.upper() == "PM" else 0)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


_NOON = 12
_US_DATE = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d\d):(\d\d)(?:\.\d+)?(?: (?P<half>[AaPp][Mm]))?Z?", re.ASCII
)
MINUTE = timedelta(minutes=1)
MINUTE_MICROSECONDS = MINUTE // timedelta(microseconds=1)


def minute_number(at: datetime) -> int:
    """Count the minutes since 1970."""
    since = at - _EPOCH
    return since.days * _DAY_MINUTES + since.seconds // 60


@lru_cache(maxsize=4096)
def minute_of(number: int) -> str:
    """Format a minute, by its number, as `2026-11-23T08:00Z`, which sorts as time does."""
    return f"{_EPOCH + number * MINUTE:%Y-%m-%dT%H:%MZ}"
