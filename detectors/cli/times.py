"""Times on the command line: `now`, a span before now, or ISO 8601."""

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

EARLIER = re.compile(r"-([0-9]{1,9})([smhdw])")
"""A span before now, such as `-2h`."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMS = "a time such as 2026-11-23T08:10Z or 2026-11-23 (UTC if it names no zone), now, or before now: -30m, -2h, -1d"


def parse_time(text: str, now: datetime) -> datetime:
    """Return the time that a text means, aware UTC.

    Args:
        text: ISO 8601, of which a time without zone is UTC; `now`; or a number of s, m, h, d or w before it.
        now: aware.

    Raises:
        ArgumentTypeError: it is none of these; the message lists them.
    """
    word = text.strip()
    try:
        if word == "now":
            return now.astimezone(UTC)
        if earlier := EARLIER.fullmatch(word):
            return now.astimezone(UTC) - timedelta(**{_UNITS[earlier[2]]: int(earlier[1])})
        at = datetime.fromisoformat(word)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # no time, or one before year 1 or after year 9999
        raise ArgumentTypeError(f"{text!r} is no time: give {_FORMS}") from error
