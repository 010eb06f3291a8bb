"""Windows are evaluated in order, again when they change, and never lost: over the real steps and tables in memory."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import PostingError, StorageError
from detectors.reporting.heartbeat import RunProgress
from detectors.storage import journal
from detectors.storage.baseline_table import TableBaseline
from detectors.storage.tables import MemoryTable
from detectors.windows import key_of
from tests.builders import NAMESPACE, PIPELINE, START, canonical_id, chat
from tests.deployment import Deployment
from tests.examples import examples


def _at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


@pytest.mark.parametrize("shards", [1, 4, 16])
@pytest.mark.parametrize(
    ("count", "length", "fires"),
    [(99, 999_999, False), (100, None, True), (1, 1_000_000, True), (99, None, False), (1, 999_999, False)],
)
def test_thresholds_fire_at_their_number_and_not_below(
    shards: int, count: int, length: int | None, *, fires: bool
) -> None:
    """However many shards share the work."""
    deployment = Deployment(shards=shards)
    deployment.receive(_at(1), count, length=length)
    deployment.tick(_at(11))
    assert bool(deployment.posted.newest()) is fires


@pytest.mark.parametrize(("first_day", "severity"), [(0, "Medium"), (2, "Informational")])
def test_a_stranger_counts_in_full_once_the_detector_has_learned_for_a_week(first_day: int, severity: str) -> None:
    """Since when it learns is known with every window, though those of its first days are purged; in every shard."""
    deployment, days = Deployment(shards=16, baseline=TableBaseline(MemoryTable())), timedelta(days=1)
    deployment.receive(START + first_day * days, 1)
    for day in (first_day, 5, 8):
        deployment.tick(START + day * days + timedelta(minutes=10))
        deployment.evaluator.purge(START + day * days + timedelta(minutes=10))
    deployment.arrive(START + 8 * days + timedelta(minutes=11), *[chat() | {"resultSignature": "400"}] * 20)
    deployment.tick(START + 8 * days + timedelta(minutes=20))
    (row,) = deployment.posted.of("refused_requests")
    assert (row["Status"], row["Severity"]) == ("New", severity)


def test_a_window_holds_exactly_its_sixty_minutes() -> None:
    """The microsecond before it and the one after it do not count."""
    deployment = Deployment()
    deployment.receive(_at(0) - timedelta(microseconds=1), 100, "too-early")
    deployment.receive(_at(0), 50, "inside")
    deployment.receive(_at(60) - timedelta(microseconds=1), 50, "inside")
    deployment.receive(_at(60), 100, "too-late")
    deployment.tick(_at(60))
    ends = [row for row in deployment.posted.newest().values() if row["WindowEnd"] == "2026-11-23T09:00:00Z"]
    assert {row["ResourceName"]: row["Status"] for row in ends} == {"inside": "New", "too-early": "Closed"}


def test_a_finding_tells_what_happened() -> None:
    """Every column that an analyst acts on is true."""
    deployment = Deployment()
    deployment.receive(_at(1), 70, caller="eve")
    deployment.receive(_at(12), 30, caller="pipeline", length=2_000_000)
    deployment.tick(_at(20))
    (row,) = deployment.posted.newest().values()
    assert row["Triggers"] == [
        {"Name": "count", "Measure": "count", "Value": 100, "Threshold": 100},
        {"Name": "response_length", "Measure": "max_response_length", "Value": 2_000_000, "Threshold": 1_000_000},
    ]
    assert row["Callers"] == [
        {"ObjectId": "eve", "IpAddress": "", "Count": 70},
        {"ObjectId": "pipeline", "IpAddress": "", "Count": 30},
    ]
    assert row["BucketCounts"] == [0, 0, 0, 0, 70, 30]
    assert row["Evidence"] == [
        {"Namespace": NAMESPACE, "Hub": "llm-logs", "Partition": "0", "FirstSequence": 1, "LastSequence": 2}
    ]
    assert (row["ResourceId"], row["WindowStart"]) == (canonical_id(), "2026-11-23T07:20:00Z")


def test_findings_come_by_count_descending() -> None:
    """Also across shards, whose order is no order."""
    deployment = Deployment(shards=16)
    for place in range(10):
        deployment.receive(_at(1), 100 + place * 7 % 10, f"aoai-{place}", caller=f"{place}{PIPELINE[1:]}")
    deployment.tick(_at(10))
    counts = [row["EventCount"] for stream, row in deployment.posted.rows if stream == "findings"]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == 10


def test_one_burst_is_one_episode_over_six_windows() -> None:
    """New once, ongoing while it is in the window, closed when it has left."""
    deployment = Deployment()
    deployment.receive(_at(5), 150)
    for tick in range(1, 9):
        deployment.tick(_at(10 * tick))
    assert [status for _, status, _ in deployment.posted.course()] == ["New"] + ["Ongoing"] * 5 + ["Closed"]
    assert len({row["EpisodeId"] for row in deployment.posted.newest().values()}) == 1


def test_a_missed_hour_is_caught_up_in_order() -> None:
    """Every window since the last one is evaluated, and the last heartbeat says how many were behind."""
    deployment = Deployment()
    deployment.tick(_at(0))
    deployment.receive(_at(5), 150)
    assert deployment.tick(_at(71)) == ["08:10", "08:20", "08:30", "08:40", "08:50", "09:00", "09:10"]
    assert [status for _, status, _ in deployment.posted.course()] == ["New"] + ["Ongoing"] * 5 + ["Closed"]
    assert deployment.posted.beats[-1]["WindowsCaughtUp"] == 6


def test_a_tick_with_nothing_due_does_nothing() -> None:
    """The same window end again, on purpose or by accident."""
    deployment = Deployment()
    deployment.receive(_at(5), 150)
    assert deployment.tick(_at(10)) == ["08:10"]
    assert deployment.tick(_at(10)) == []
    assert len(deployment.posted.rows) == 2


def test_a_silent_hub_still_gives_a_heartbeat() -> None:
    """Silence is told from safety."""
    deployment = Deployment()
    deployment.tick(_at(0))
    deployment.tick(_at(10))
    assert [(beat["Messages"], beat["Partitions"]) for beat in deployment.posted.beats] == [(0, []), (0, [])]


def test_a_late_count_opens_the_windows_that_hold_its_bucket_again() -> None:
    """A batch that was held up for two hours still alerts, under the windows of its arrival."""
    deployment = Deployment()
    deployment.receive(_at(5), 60)
    for tick in range(1, 13):
        deployment.tick(_at(10 * tick))
    assert deployment.posted.newest() == {}
    deployment.receive(_at(5), 40)
    assert deployment.tick(_at(130)) == ["08:10", "08:20", "08:30", "08:40", "08:50", "09:00", "09:10", "10:10"]
    assert [status for _, status, _ in deployment.posted.course()] == ["New"] + ["Ongoing"] * 5 + ["Closed"]
    assert [beat["Reevaluated"] for beat in deployment.posted.beats[-8:]] == [True] * 7 + [False]
    assert deployment.posted.beats[-1]["WindowsCaughtUp"] == 0


def test_a_count_that_is_almost_a_day_late_still_finds_its_bucket() -> None:
    """What is kept reaches as far back as windows are caught up."""
    deployment = Deployment()
    for tick in range(1, 24 * 6):
        deployment.receive(_at(10 * tick - 5), 1)
        deployment.tick(_at(10 * tick))
    deployment.receive(_at(5), 150)
    assert deployment.tick(_at(24 * 60))[0] == "08:10"


def test_a_late_count_that_changes_no_state_goes_no_further_than_its_windows() -> None:
    """The chain of states stops where the state is the same again."""
    deployment = Deployment()
    deployment.receive(_at(5), 10)
    for tick in range(1, 13):
        deployment.tick(_at(10 * tick))
    deployment.receive(_at(5), 10)
    assert len(deployment.tick(_at(120))) == 6


def test_an_episode_found_to_have_begun_earlier_keeps_its_id() -> None:
    """The readers' newest rows are one episode with the id that was alerted on."""
    deployment = Deployment()
    deployment.receive(_at(5), 60)
    deployment.receive(_at(15), 60)
    deployment.tick(_at(10))
    deployment.tick(_at(20))
    alerted = {row["EpisodeId"] for row in deployment.posted.newest().values()}
    deployment.receive(_at(6), 60)
    deployment.tick(_at(30))
    assert [(end, status) for end, status, _ in deployment.posted.course()] == [
        ("08:10", "New"),
        ("08:20", "Ongoing"),
        ("08:30", "Ongoing"),
    ]
    assert {row["EpisodeId"] for row in deployment.posted.newest().values()} == alerted


def test_a_window_whose_rows_were_not_taken_stays_due() -> None:
    """Posted and not recorded is posted again, with the same ids."""
    deployment = Deployment()
    deployment.receive(_at(5), 150)
    deployment.posted.fails = 1
    with pytest.raises(PostingError):
        deployment.tick(_at(10))
    assert deployment.tick(_at(20)) == ["08:10", "08:20"]
    assert [status for _, status, _ in deployment.posted.course()] == ["New", "Ongoing"]


def test_two_runs_at_once_record_each_window_once() -> None:
    """The slower one notices that its window was concluded, and what it posted has the same ids."""
    deployment = Deployment()
    deployment.receive(_at(5), 150)
    run = deployment.half_way(_at(10))
    fast = deployment.evaluator.conclude(*run, RunProgress(), _at(10))
    slow = deployment.evaluator.conclude(*run, RunProgress(), _at(10))
    assert (fast.findings, slow.findings) == (1, 0)
    assert fast.recorded
    assert slow.recorded, "the window is recorded from what both planned"
    assert len(deployment.posted.newest()) == 1


def test_a_slow_run_does_not_overwrite_what_a_faster_one_saw_later() -> None:
    """It planned before 400 more records came; the other run posted them, and readers must keep seeing them."""
    deployment = Deployment()
    deployment.receive(_at(5), 150)
    stale = deployment.half_way(_at(10))
    deployment.receive(_at(6), 400)
    deployment.tick(_at(10))
    assert not deployment.evaluator.conclude(*stale, RunProgress(), _at(11)).recorded
    assert [row["EventCount"] for row in deployment.posted.newest().values()] == [550]


def test_a_run_that_loses_while_it_posts_makes_the_window_due_again() -> None:
    """What it posted last may be the older picture."""
    deployment = Deployment()
    deployment.receive(_at(5), 150)
    stale = deployment.half_way(_at(10))
    deployment.receive(_at(6), 400)
    deployment.posted.meanwhile = lambda: deployment.tick(_at(10))
    assert not deployment.evaluator.conclude(*stale, RunProgress(), _at(11)).recorded
    assert deployment.tick(_at(20)) == ["08:10", "08:20"]
    assert {row["EventCount"] for row in deployment.posted.newest().values()} == {550}


def test_an_episode_that_a_late_bucket_begins_half_an_hour_earlier_keeps_its_id() -> None:
    """The windows between its old and its new begin fire too, so it is the same episode."""
    deployment = Deployment()
    deployment.receive(_at(5), 60)
    deployment.receive(_at(25), 60)
    for tick in range(1, 4):
        deployment.tick(_at(10 * tick))
    (alerted,) = deployment.posted.newest().values()
    deployment.receive(_at(6), 60)
    deployment.tick(_at(40))
    rows = deployment.posted.newest().values()
    assert deployment.posted.course()[0][:2] == ("08:10", "New")
    assert {row["EpisodeId"] for row in rows} == {alerted["EpisodeId"]}


def test_an_episode_before_a_silent_window_keeps_apart_from_the_one_after_it() -> None:
    """Late records show an earlier attack that had ended: its alert does not join the incident of the later one."""
    deployment = Deployment()
    deployment.receive(_at(5), 10)
    deployment.receive(_at(55), 60)
    deployment.receive(_at(75), 60)
    deployment.tick(_at(80))
    (alerted,) = deployment.posted.newest().values()
    deployment.receive(_at(6), 40)
    deployment.receive(_at(12), 1)  # so that the silent window between is due again too
    deployment.tick(_at(90))
    assert [(end, status) for end, status, _ in deployment.posted.course()] == [
        ("09:00", "New"),
        ("09:10", "Closed"),
        ("09:20", "New"),
        ("09:30", "Ongoing"),
    ]
    first, closed, second, ongoing = (row["EpisodeId"] for row in deployment.posted.of("model_theft"))
    assert first == closed
    assert first != second
    assert second == ongoing == alerted["EpisodeId"]


def test_a_longer_retention_does_not_rewrite_what_was_evaluated_before() -> None:
    """Buckets that were purged under the shorter one are gone, and their windows stay as they were."""
    deployment = Deployment()
    for hour in range(30):
        deployment.receive(_at(60 * hour + 5), 120)
        deployment.tick(_at(60 * hour + 10))
    posted = len(deployment.posted.rows)
    deployment.lengthen(timedelta(hours=48))
    assert deployment.tick(_at(60 * 29 + 20)) == ["13:20"]
    assert len(deployment.posted.rows) == posted + 2


def test_a_tick_of_a_wrong_clock_does_not_stop_the_evaluation() -> None:
    """A host that is ahead evaluates windows that hold nothing yet; they come again in their time."""
    deployment = Deployment()
    deployment.tick(_at(0))
    deployment.tick(_at(20 * 60))
    deployment.receive(_at(5), 150)
    assert "08:10" in deployment.tick(_at(10))
    assert deployment.posted.course()[0] == ("08:10", "New", 150)


@pytest.mark.parametrize("chunk", [1, 10, 40])
def test_more_open_episodes_than_a_row_holds_go_on_in_further_rows(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Findings are those of a journal with room; a crash before the head row is written leaves the old one valid."""
    roomy = Deployment()
    monkeypatch.setattr(journal, "_CHUNK_BYTES", chunk)
    monkeypatch.setattr(journal, "_MAX_CHUNKS", 2)
    cramped = Deployment()
    for minute in range(5, 95, 10):
        for deployment in (roomy, cramped):
            with monkeypatch.context() as patched:
                if deployment is roomy:
                    patched.setattr(journal, "_CHUNK_BYTES", 60_000)
                if minute < 40:
                    for name in ("a", "b", "c"):
                        deployment.receive(_at(minute), 150, name)
                deployment.tick(_at(minute + 5))
    assert cramped.posted.rows == roomy.posted.rows
    assert any(row.key.startswith("episodes-") for row in cramped.journal.query("2", "3", columns=[]))
    cramped.evaluator.purge(_at(60 * 60))
    assert {row.partition for row in cramped.journal.query("2", "3")} <= {key_of(_at(90))}


def test_further_rows_of_the_newest_window_are_kept_though_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage of days, the next window is based on it."""
    monkeypatch.setattr(journal, "_CHUNK_BYTES", 1)
    deployment = Deployment()
    deployment.receive(_at(5), 150)
    deployment.tick(_at(10))
    deployment.evaluator.purge(_at(3 * 24 * 60))
    assert [episode.rule_id for episode in deployment.open_episodes(_at(10))] == ["model_theft"]


def test_rows_that_somebody_deleted_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the episodes must not be taken for all of them."""
    monkeypatch.setattr(journal, "_CHUNK_BYTES", 1)
    deployment = Deployment()
    deployment.receive(_at(5), 150)
    deployment.tick(_at(10))
    first, *_ = (row for row in deployment.journal.query("2", "3") if row.key.startswith("episodes-"))
    deployment.journal.delete(first.partition, [first.key])
    with pytest.raises(StorageError, match="parts of the episodes"):
        deployment.open_episodes(_at(10))


def test_a_first_deployment_evaluates_the_backlog_that_arrives_after_its_first_window() -> None:
    """Reading a hub from its start brings buckets older than the first evaluation."""
    deployment = Deployment()
    deployment.tick(_at(120))
    deployment.receive(_at(5), 150)
    assert deployment.tick(_at(130))[0] == "08:10"
    assert deployment.posted.course()[0] == ("08:10", "New", 150)


def test_an_outage_longer_than_what_is_kept_is_said_and_closes_what_was_open() -> None:
    """Three days later nothing pretends to have watched."""
    deployment = Deployment()
    deployment.receive(_at(5), 150)
    deployment.tick(_at(10))
    windows = deployment.tick(_at(3 * 24 * 60))
    assert len(windows) == 145
    assert [status for _, status, _ in deployment.posted.course()] == ["New", "Closed"]
    assert deployment.posted.beats[1]["WindowsSkipped"] == 3 * 144 - 144 - 2
    assert deployment.tick(_at(3 * 24 * 60)) == []  # what was purged meanwhile makes nothing due
    assert deployment.tick(_at(3 * 24 * 60 + 10)) == ["08:10"]


def test_purging_keeps_what_evaluations_need_and_drops_the_rest() -> None:
    """After more than a day of ticks the tables hold a day, and nothing is evaluated twice for it."""
    deployment = Deployment()
    for hour in range(30):
        deployment.receive(_at(60 * hour + 5), 1)
        for tick in range(1, 7):
            assert len(deployment.tick(_at(60 * hour + 10 * tick))) == 1
    assert len(list(deployment.buckets.query("0", "3"))) <= 27
    assert len(list(deployment.journal.query("w", "x"))) <= 26 * 6 + 2


def test_a_run_that_planned_before_another_one_purged_still_finds_its_window_whole() -> None:
    """The oldest window that is due may take an hour, and its oldest bucket is kept for so long."""
    deployment = Deployment()
    deployment.receive(_at(-45), 150)
    until = _at(10) + timedelta(hours=24)
    plan = deployment.evaluator.plan(until, None)
    assert plan is not None
    assert plan.window_end == key_of(_at(10))
    deployment.evaluator.purge(until + timedelta(minutes=50))
    results = deployment.evaluated(plan)
    assert [one.tally.count for result in results for one in result.results if one.triggers] == [150]


def test_a_run_that_is_late_takes_no_heartbeat_back() -> None:
    """Another one has seen more by then."""
    deployment = Deployment()
    deployment.receive(_at(1), 1)
    slow = deployment.half_way(_at(10))
    deployment.receive(_at(2), 1)
    deployment.tick(_at(10))
    deployment.evaluator.conclude(*slow, RunProgress(), _at(20))
    assert deployment.posted.beats[-1]["Messages"] == 2


@pytest.mark.parametrize(("stands_still", "heard"), [(timedelta(hours=25), True), (timedelta(hours=26), False)])
def test_a_run_that_stood_still_until_its_window_is_purged_says_nothing_of_it(
    stands_still: timedelta, *, heard: bool
) -> None:
    """It finds nothing any more, and would say that nothing arrived; another run has spoken long ago."""
    deployment = Deployment()
    deployment.receive(_at(1), 150)
    plan = deployment.plan(_at(10))
    assert plan is not None
    later = _at(10) + stands_still
    deployment.tick(later)
    before = len(deployment.posted.rows)
    deployment.evaluator.conclude(plan, deployment.parcels(plan), RunProgress(), later)
    assert (len(deployment.posted.rows) > before) is heard


@examples(20)
@given(
    bursts=st.lists(st.tuples(st.integers(0, 179), st.integers(1, 120), st.integers(0, 240)), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_what_readers_see_does_not_depend_on_when_records_were_counted(
    bursts: list[tuple[int, int, int]], seed: int
) -> None:
    """Late counts, missed ticks and repeated ticks end in the findings of a run in which all was on time.

    A burst is (minute of arrival, records, minutes until it is counted).
    """
    on_time, disturbed = Deployment(), Deployment()
    for minute, count, _ in bursts:
        on_time.receive(_at(minute), count)
    rng = random.Random(seed)
    waiting = sorted(bursts, key=lambda burst: burst[0] + burst[2])
    for tick in range(1, 45):
        on_time.tick(_at(10 * tick))
        while waiting and sum(waiting[0][::2]) < 10 * tick:
            minute, count, _ = waiting.pop(0)
            disturbed.receive(_at(minute), count)
        for _ in range(rng.choice([0, 1, 1, 2])):
            disturbed.tick(_at(10 * tick))
    disturbed.tick(_at(450))
    on_time.tick(_at(450))
    assert _seen(disturbed) == _seen(on_time)


def _seen(deployment: Deployment) -> list[Any]:
    """Return the newest rows without what may differ: when they were made, ids of episodes, and order of arrival."""
    left_out = {"TimeGenerated", "EpisodeId", "Evidence", "FindingId"}
    rows = sorted(deployment.posted.newest().values(), key=lambda row: row["WindowEnd"])
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]


def test_the_key_of_a_plan_names_its_window() -> None:
    """Keys and times are the same thing in two spellings."""
    deployment = Deployment()
    plan = deployment.evaluator.plan(_at(10), None)
    assert plan is not None
    assert plan.window_end == key_of(_at(10))
