"""The usual: daily peaks over two weeks, known after a week, hardly moved by single days; and strangers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.baseline import Baseline, MemoryBaseline
from detectors.evaluation.policy import Policy, PolicyChange
from detectors.evaluation.suppressions import Scope
from detectors.evaluation.usual import DAYS, FACTOR, LEARNING_DAYS, MAX_ENTITIES, DailyPeaks, Peak, day_of, peaks
from detectors.evaluation.window import GroupTotal, evaluate_thresholds
from detectors.rules.tally import Key, Lengths, Tally
from detectors.storage.baseline_table import PEAKS, TableBaseline
from detectors.storage.tables import MemoryTable, Table
from tests.builders import START, canonical_id

PEAK = Peak("denial_of_service", "count", (canonical_id(),))


@pytest.fixture(params=["memory", "table"])
def baseline(request: pytest.FixtureRequest) -> Baseline:
    """Both kinds."""
    return MemoryBaseline() if request.param == "memory" else TableBaseline(MemoryTable())


def _learned(baseline: Baseline, values: list[int]) -> float | None:
    """Learn the peaks of some days; return what is usual on the day after."""
    for place, value in enumerate(values):
        baseline.find_usual({PEAK: value}, START + timedelta(days=place), START)
    return baseline.find_usual({PEAK: 1}, START + timedelta(days=len(values)), START).get(PEAK)


def test_the_usual_is_known_after_a_week(baseline: Baseline) -> None:
    """And is the median of the days before."""
    assert _learned(baseline, [10] * (LEARNING_DAYS - 1)) is None


def test_single_days_do_not_move_it(baseline: Baseline) -> None:
    """An attack of six days in two weeks leaves it where it was."""
    assert _learned(baseline, [10] * 8 + [1_000] * 6) == 10


def test_a_day_is_as_its_highest_window_whatever_comes_later(baseline: Baseline) -> None:
    """A window that is evaluated again changes nothing."""
    for _ in range(2):
        for hour, value in ((1, 5), (2, 50), (3, 7)):
            baseline.find_usual({PEAK: value}, START.replace(hour=hour), START)
    for day in range(1, LEARNING_DAYS):
        baseline.find_usual({PEAK: 50}, START + timedelta(days=day), START)
    assert baseline.find_usual({PEAK: 1}, START + timedelta(days=LEARNING_DAYS), START)[PEAK] == 50


def _peaks_of(baseline: Baseline, peak: Peak, values: dict[int, int]) -> dict[int, float | None]:
    """Learn peaks by day; return what was usual on each of these days."""
    return {
        day: baseline.find_usual({peak: value}, START + timedelta(days=day), START).get(peak)
        for day, value in values.items()
    }


def test_a_job_of_mondays_is_usual_on_mondays(baseline: Baseline) -> None:
    """From the second week on; on other days it would be unusual."""
    seen = _peaks_of(baseline, PEAK, {day: 90 if day % 7 == 0 else 10 for day in range(23)})
    assert {seen[day] for day in range(7, 23) if day % 7} == {10}
    assert {seen[day] for day in range(7, 23, 7)} == {90}


def test_one_attack_makes_no_day_of_the_week_usual(baseline: Baseline) -> None:
    """Where the week before it was watched too."""
    seen = _peaks_of(baseline, PEAK, {day: 90 if day == 14 else 10 for day in range(22)})
    assert seen[21] == 10


def test_what_runs_on_mondays_alone_is_known_after_two(baseline: Baseline) -> None:
    """Once may be chance."""
    assert _peaks_of(baseline, PEAK, {0: 50, 7: 90, 14: 70, 21: 60}) == {0: None, 7: None, 14: 50, 21: 70}


STRANGER = Peak("refused_requests", "count", (canonical_id(), "203.0.113.*"))


def test_a_stranger_has_nothing_that_is_usual(baseline: Baseline) -> None:
    """Who appears after a week of learning: until it is known itself, in full."""
    days = range(LEARNING_DAYS, 2 * LEARNING_DAYS + 1)
    assert _peaks_of(baseline, STRANGER, dict.fromkeys(days, 40)) == {**dict.fromkeys(days[:-1], 0), days[-1]: 40}


def test_who_was_there_while_the_detector_learned_is_no_stranger(baseline: Baseline) -> None:
    """An application that works on some days stays unknown until there are enough of them."""
    days = [0, 1, 2, 3, 4, 8, 9, 10]
    assert _peaks_of(baseline, STRANGER, dict.fromkeys(days, 40)) == {**dict.fromkeys(days[:-1]), 10: 40}


def test_of_most_rules_the_unknown_is_informational(baseline: Baseline) -> None:
    """What an application sends depends on the application."""
    assert _peaks_of(baseline, PEAK, {20: 10}) == {20: None}


def _models(count: int, user: str = "eve", first: int = 0) -> dict[Peak, float]:
    """Return peaks of so many models that a user asked for."""
    names = [f"model-{number:05}" for number in range(first, first + count)]
    return {Peak("bedrock_token_burst", "count", (user, name, "111122223333")): 20 for name in names}


def test_who_makes_up_names_takes_nobodys_room_but_his_own(baseline: Baseline) -> None:
    """A user asks for ten thousand models; another one becomes known as if nothing were."""
    for day in range(LEARNING_DAYS):
        at = START + timedelta(days=day)
        baseline.find_usual(_models(1, "dana") | _models(1_500, first=1_500 * day), at, START)
    usual = baseline.find_usual(_models(1, "dana") | _models(1), START + timedelta(days=LEARNING_DAYS), START)
    assert usual[next(iter(_models(1, "dana")))] == 20
    remembered = baseline.find_usual(_models(1_500), START + timedelta(days=1), START)
    assert len(remembered) == 0


def test_what_is_too_old_to_say_anything_is_deleted() -> None:
    """When the next window is learned from, so that the table holds no more than two weeks."""
    table = MemoryTable()
    baseline = TableBaseline(table)
    baseline.find_usual(_models(150), START, START)
    assert _held(table) == 150
    baseline.find_usual(_models(1, "dana"), START + timedelta(days=DAYS), START)
    assert _held(table) == 151
    baseline.find_usual(_models(1, "dana"), START + timedelta(days=DAYS + 1, minutes=10), START)
    assert _held(table) == 151
    baseline.find_usual(_models(1, "dana"), START + timedelta(days=DAYS + 1, hours=1), START)
    assert _held(table) == 1


def _held(table: Table) -> int:
    return sum(len(PEAKS.unpack(row)) for row in table.query("00", "99"))


@pytest.mark.parametrize("count", [MAX_ENTITIES, MAX_ENTITIES + 1, 5_000])
def test_the_memory_of_a_lead_is_bounded(count: int) -> None:
    """In rows of the table, as in what is kept of a backtest."""
    table = MemoryTable()
    for window in range(2):
        at = START + timedelta(minutes=10 * window)
        TableBaseline(table).find_usual(_models(count, first=100 * window), at, START)
    assert _held(table) == MAX_ENTITIES


def test_a_stranger_counts_in_full() -> None:
    """At any number, as nothing is three times nothing."""
    key = Key("refused_requests", (canonical_id(), "203.0.113.*"))
    totals = {key: GroupTotal(Tally(20), [0, 0, 0, 0, 0, 20])}
    (result,) = evaluate_thresholds(START, totals, Policy(), newcomers={}, usual={STRANGER: 0})
    assert result.severity == "Medium"


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 10**9)), max_size=60))
def test_what_is_kept_is_bounded(values: list[tuple[int, int]]) -> None:
    """Two weeks and a day, in whatever order windows come."""
    known = DailyPeaks()
    for day, value in values:
        known = known.with_peak(day, value)
    assert len(known.days) <= DAYS + 1


def test_a_window_that_ends_at_midnight_belongs_to_the_day_before() -> None:
    """Its last moment does."""
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    assert day_of(midnight) + 1 == day_of(midnight + timedelta(minutes=10))


def test_the_peak_of_minutes_is_that_of_the_largest() -> None:
    """Of a rule by minute, the entity is the resource."""
    tallies = [
        (Key("denial_of_service", (canonical_id(), f"2026-11-23T08:0{minute}Z")), Tally(count))
        for minute, count in ((1, 5), (2, 9), (3, 7))
    ]
    theft = Key("model_theft", (canonical_id(),)), Tally(100, responses=Lengths(1, 5, 5))
    assert peaks([*tallies, theft]) == {PEAK: 9}


MINUTE = Key("denial_of_service", (canonical_id(), "2026-11-23T08:00Z"))
BURST = {MINUTE: GroupTotal(Tally(20, requests=Lengths(20, 180_000, 9_000)), [0, 0, 0, 0, 0, 20])}


@pytest.mark.parametrize(
    ("usual", "severity"),
    [({PEAK: 5}, "Medium"), ({PEAK: 20 / FACTOR}, "Medium"), ({PEAK: 7}, "Informational"), ({}, "Informational")],
)
def test_a_burst_counts_in_full_from_three_times_the_usual_on(usual: dict[Peak, float], severity: str) -> None:
    """Below that the application does what it does every day; while the usual is not known, nobody can tell."""
    (result,) = evaluate_thresholds(START, BURST, Policy(), newcomers={}, usual=usual)
    assert result.severity == severity
    assert [trigger.usual for trigger in result.triggers] == [usual.get(PEAK), None]


def test_a_rule_that_counts_as_upstream_does_not_ask_for_the_usual() -> None:
    """Its severity is always that of the catalogue."""
    policy = Policy(changes=[PolicyChange("tuning.toml", Scope("denial_of_service"), as_upstream=True)])
    (result,) = evaluate_thresholds(START, BURST, policy, newcomers={}, usual={PEAK: 20})
    assert result.severity == "Medium"
    (rule,) = (rule for rule in policy.rules if rule.id == "denial_of_service")
    assert rule.select == rule.upstream_select
