"""Times on the command line: every form, and what is none."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from click import BadParameter
from hypothesis import given
from hypothesis import strategies as st

from detectors.cli.times import parse_time

NOW = datetime(2026, 11, 23, 8, 17, 42, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-90s", NOW - timedelta(seconds=90)),
        ("-30m", NOW - timedelta(minutes=30)),
        ("-2h", NOW - timedelta(hours=2)),
        ("-1d", NOW - timedelta(days=1)),
        ("-2w", NOW - timedelta(days=14)),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23T08:10", datetime(2026, 11, 23, 8, 10, tzinfo=UTC)),
        (" 2026-11-23 08:10 ", datetime(2026, 11, 23, 8, 10, tzinfo=UTC)),
        ("2026-11-23T08:10:05.5Z", datetime(2026, 11, 23, 8, 10, 5, 500_000, tzinfo=UTC)),
        ("2026-11-23T08:10+01:00", datetime(2026, 11, 23, 7, 10, tzinfo=UTC)),
    ],
)
def test_a_time_may_be_given_in_several_forms(text: str, expected: datetime) -> None:
    """Each gives an aware time in UTC."""
    parsed = parse_time(text, NOW)
    assert parsed == expected
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2h",
        "-2",
        "-h",
        "-2 h",
        "-1.5h",
        "-2y",
        "+2h",
        "today",
        "25:00",
        "2026-13-01",
        "-999999999w",
        "0001-01-01T00:00+01:00",
        "9999-12-31T23:00-02:00",
        "-\u0662h",
    ],
)
def test_what_is_no_time_is_told_what_is(text: str) -> None:
    """The message lists the forms; a time beyond the calendar is none."""
    with pytest.raises(BadParameter) as refused:
        parse_time(text, NOW)
    message = str(refused.value)
    assert message.startswith(f"{text!r} is no time: give ")
    assert all(form in message for form in ("2026-11-23T08:10Z", "UTC", "now", "-30m", "-2h", "-1d"))


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_that_was_printed_comes_back(at: datetime) -> None:
    """Whatever zone it was printed in; a clock of another zone tells the same `now`."""
    try:
        expected = at.astimezone(UTC)
    except OverflowError:
        return
    offset = at.utcoffset()
    assert offset is not None
    fixed = expected.astimezone(timezone(offset)) if abs(offset) < timedelta(hours=24) else expected
    assert parse_time(fixed.isoformat(), NOW) == expected
    assert parse_time("now", fixed) == expected
