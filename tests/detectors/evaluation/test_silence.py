"""Whose silence is unusual: not that of nights, weekends and jobs, and soon that of an account whose logs were cut."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.silence import ActiveHours, empty_hours, joined, perhaps_silent, silent_accounts

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEEK = 7 * 24
USES: dict[str, Callable[[int], bool]] = {
    "busy": lambda _: True,
    "office": lambda hour: hour // 24 % 7 < 5 and 8 <= hour % 24 < 18,
    "office, asleep on a long weekend": lambda hour: hour // 24 % 7 < 5 and 8 <= hour % 24 < 18 and hour // 24 != 18,
    "a job every 25 hours": lambda hour: hour % 25 == 3,
    "a job every Sunday": lambda hour: hour % WEEK == 6 * 24 + 2,
}
"""Whether an account logs in an hour, counted from a Monday on."""


def hours_of(active: Iterable[int]) -> ActiveHours:
    """Return what is remembered of hours counted from the Monday."""
    hours = ActiveHours()
    for hour in active:
        hours = hours.marked(MONDAY + hour * HOUR)
    return hours


def silences(uses: Callable[[int], bool], until: int, begin: int) -> list[int]:
    """Return the hours in which an account is said to be silent, while another logs all the time."""
    account, other, found = ActiveHours(), ActiveHours(), []
    for hour in range(begin, until):
        at = MONDAY + hour * HOUR
        account, other = account.marked(at) if uses(hour) else account, other.marked(at)
        if [one.resource_id for one in silent_accounts({"account": account, "other": other})]:
            found.append(hour)
    return found


@pytest.mark.parametrize("begin", range(0, WEEK, 12))
@pytest.mark.parametrize("name", USES)
def test_normal_use_is_no_silence(name: str, begin: int) -> None:
    """In six weeks, on whatever day and hour the detector is first started."""
    assert silences(USES[name], begin + 6 * WEEK, begin) == []


@pytest.mark.parametrize(
    ("name", "hours"),
    [("busy", 24), ("office", 2 * 63), ("a job every 25 hours", 50), ("a job every Sunday", 2 * WEEK)],
)
def test_logs_that_are_cut_are_silence_after_twice_the_longest_rest(name: str, hours: int) -> None:
    """And for a day at least; it goes on until somebody sees to it."""
    cut = 4 * WEEK
    last = max(hour for hour in range(cut) if USES[name](hour))
    found = silences(lambda hour: hour <= last and USES[name](hour), last + hours + WEEK, 0)
    assert found == list(range(last + hours, last + hours + WEEK))


def test_an_account_that_nobody_knows_yet_is_given_a_week() -> None:
    """It may have been used on one day only."""
    found = silences(lambda hour: hour < 3, 3 * WEEK, 0)
    assert found[0] == 2 + WEEK


def test_an_account_that_is_gone_for_good_is_not_told_of_for_ever() -> None:
    """Four weeks after it became silent it is taken for deleted."""
    found = silences(lambda hour: hour < 10 * 24, 80 * 24, 0)
    assert len(found) == 28 * 24


def test_the_latest_silence_comes_first() -> None:
    """So that accounts that went long ago do not hide it in a list with an end."""
    accounts = {f"gone on day {day}": hours_of(range(day * 24)) for day in (8, 10, 9)}
    found = silent_accounts(accounts | {"busy": hours_of(range(12 * 24))})
    assert [one.resource_id for one in found] == ["gone on day 10", "gone on day 9", "gone on day 8"]
    assert found[0].last_seen == MONDAY + 10 * 24 * HOUR - HOUR
    assert found[0].usual_gap == 1


def test_nobody_is_silent_when_nothing_arrives() -> None:
    """Time is taken from whoever logged last."""
    assert silent_accounts({}) == []
    assert silent_accounts({"one": hours_of(range(9 * 24)), "two": hours_of(range(9 * 24 - 20))}) == []


@given(st.lists(st.integers(0, 60 * 24), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_hours_are_the_same_in_whatever_order_and_how_often_they_are_marked(hours: list[int], rng: Random) -> None:
    """Windows are evaluated again, and batches are counted late."""
    marked = hours_of(sorted(set(hours)))
    shuffled = [*hours, *hours]
    rng.shuffle(shuffled)
    assert hours_of(shuffled) == marked
    recent = sorted({hour for hour in hours if max(hours) - hour < 28 * 24})
    gaps = [later - earlier for earlier, later in pairwise(recent)]
    assert marked.usual_gap == max(gaps, default=1)


def test_what_is_remembered_of_an_account_is_small() -> None:
    """However long and however often it logs."""
    assert len(msgspec.msgpack.encode(hours_of(range(100 * 24)))) < 120


@given(st.sets(st.integers(0, 900), max_size=30), st.sets(st.integers(0, 900), max_size=30))
def test_hours_of_two_accounts_join_as_if_they_were_one(one: set[int], other: set[int]) -> None:
    """Whichever comes first, and however far apart they are."""
    both = hours_of(sorted(one | other))
    assert hours_of(sorted(one)).joined(hours_of(sorted(other))) == both
    assert hours_of(sorted(other)).joined(hours_of(sorted(one))) == both


def _empty(uses: Callable[[int], bool], days: int, rest: int) -> int | None:
    """Return what is said of a rest after so many days of use by two accounts."""
    active = [hour for hour in range(days * 24) if uses(hour)]
    accounts = {"one": hours_of(active[::2]), "other": hours_of(active[1::2])}
    return empty_hours(joined(accounts.values()), MONDAY + (active[-1] + 1 + rest) * HOUR)


@pytest.mark.parametrize(
    ("use", "days", "usual", "unusual"), [("busy", 14, 23, 24), ("office", 15, 94, 95), ("office", 5, 71, 72)]
)
def test_all_accounts_may_rest_for_half_as_long_again_as_they_did(
    use: str, days: int, usual: int, unusual: int
) -> None:
    """For a day at least, and for three while no weekend was seen."""
    assert _empty(USES[use], days, usual) == 0
    assert _empty(USES[use], days, unusual) == unusual


def test_of_no_account_nothing_is_usual() -> None:
    """Then nobody can tell a rest from an end."""
    assert empty_hours(joined([]), MONDAY) is None


active = st.builds(hours_of, st.lists(st.integers(0, 40 * 24), min_size=1, max_size=30).map(sorted))


@given(accounts=st.lists(active, max_size=8), parts=st.integers(1, 4), later=st.integers(0, 24))
def test_parts_of_storage_tell_all_that_may_be_silent(accounts: list[ActiveHours], parts: int, later: int) -> None:
    """Whichever part holds the account that logged last before the end of the window."""
    named = {f"{number}": hours for number, hours in enumerate(accounts)}
    window_end = datetime.fromtimestamp((max((hours.last for hours in accounts), default=0) + later) * 3600, UTC)
    told: dict[str, ActiveHours] = {}
    for part in range(parts):
        its = {name: hours for name, hours in named.items() if int(name) % parts == part}
        told |= perhaps_silent(its, window_end)
    assert silent_accounts(told) == silent_accounts(named)


def test_of_accounts_that_log_one_alone_is_told() -> None:
    """By it the silence of others is measured."""
    accounts = {f"{number}": hours_of(range(2 * WEEK)) for number in range(100)}
    end = MONDAY + 2 * WEEK * HOUR
    assert len(perhaps_silent(accounts, end)) == 1
    assert {*perhaps_silent({**accounts, "gone": hours_of(range(WEEK))}, end)} > {"gone"}
