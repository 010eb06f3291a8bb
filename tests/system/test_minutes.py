"""Rules that look at minutes: a row for each minute, one episode for an attack, and no alert lost to a later row."""

from collections import Counter
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detectors.evaluation.policy import Policy
from detectors.reporting.heartbeat import RunProgress
from detectors.reporting.sinks import JsonRow
from tests.builders import START, canonical_id, chat, list_key
from tests.deployment import Deployment
from tests.examples import examples
from tests.oracle import RawRecord

RULE = "denial_of_service"
NEWS = ("New", "Escalated")
"""What alerts. A minute that is new and escalates within one tick is seen as escalated alone."""

LOW = Policy({RULE: {"count": 3, "request_length": 5_000}, "model_theft": {"count": 3, "response_length": 10**6}})


def _at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def _prompts(count: int, minute: float, name: str = "aoai-prod", length: int = 9_000) -> list[RawRecord]:
    """Chats of one minute of their own time, after 08:00."""
    return [{**chat(name, requestLength=length), "time": f"{_at(minute):%Y-%m-%dT%H:%M}:30.1234567Z"}] * count


def _minutes(deployment: Deployment) -> dict[str, JsonRow]:
    """Return what a reader sees: the newest row of each minute of the one resource."""
    rows = [row for row in deployment.posted.of(RULE) if "Minute" in row["Group"]]
    by_minute = {row["Group"]["Minute"][11:16]: row for row in rows}
    assert len(by_minute) == len(rows), "a minute has one finding id"
    return by_minute


def test_a_minute_is_posted_once_though_six_windows_hold_it() -> None:
    """Then the episode is closed, under the resource alone."""
    deployment = Deployment()
    deployment.arrive(_at(5), *_prompts(12, 4))
    for tick in range(1, 9):
        deployment.tick(_at(10 * tick))
    rows = [row for stream, row in deployment.posted.rows if stream == "findings" and row["RuleId"] == RULE]
    assert [(row["WindowEnd"][11:16], row["Status"], row["EventCount"]) for row in rows] == [
        ("08:10", "New", 12),
        ("09:10", "Closed", 0),
    ]
    assert rows[0]["Group"] == {"ResourceId": canonical_id(), "Minute": "2026-11-23T08:04Z"}
    assert rows[1]["Group"] == {"ResourceId": canonical_id()}
    assert rows[0]["EpisodeId"] == rows[1]["EpisodeId"]
    assert rows[0]["FindingId"] != rows[1]["FindingId"]


def test_late_records_post_the_minute_again_under_its_id_and_keep_its_status() -> None:
    """More of the same minute arrive in the next buckets; it was New, and a reader of the newest rows must see that."""
    deployment = Deployment()
    for tick, more in enumerate([10, 3, 0, 4]):
        deployment.arrive(_at(10 * tick + 9), *_prompts(more, 9))
        deployment.tick(_at(10 * tick + 10))
    rows = [row for stream, row in deployment.posted.rows if stream == "findings" and row["RuleId"] == RULE]
    assert [(row["WindowEnd"][11:16], row["EventCount"], row["Status"]) for row in rows] == [
        ("08:10", 10, "New"),
        ("08:20", 13, "New"),
        ("08:40", 17, "New"),
    ]
    assert len({row["FindingId"] for row in rows}) == len({row["EpisodeId"] for row in rows}) == 1


def test_records_that_leave_the_window_do_not_post_the_minute_again() -> None:
    """Its last windows hold fewer of it than it had."""
    deployment = Deployment()
    deployment.arrive(_at(5), *_prompts(15, 4))
    deployment.arrive(_at(45), *_prompts(12, 4))
    for tick in range(1, 13):
        deployment.tick(_at(10 * tick))
    assert _minutes(deployment)["08:04"]["EventCount"] == 27


def test_an_attack_of_half_an_hour_is_one_episode() -> None:
    """Every minute has its row; one is New, twice as many prompts escalate, and the end is told once."""
    deployment = Deployment()
    for minute in range(30):
        deployment.arrive(_at(minute + 0.9), *_prompts(25 if minute == 20 else 12, minute))
        if minute % 10 == 9:
            deployment.tick(_at(minute + 1))
    for tick in range(4, 12):
        deployment.tick(_at(10 * tick))
    rows = deployment.posted.of(RULE)
    assert Counter(row["Status"] for row in rows) == {"New": 1, "Ongoing": 28, "Escalated": 1, "Closed": 1}
    assert len({row["EpisodeId"] for row in rows}) == 1
    by_minute = _minutes(deployment)
    assert (by_minute["08:00"]["Status"], by_minute["08:20"]["Status"]) == ("New", "Escalated")
    assert len(by_minute) == 30


def test_resources_under_attack_at_once_have_episodes_of_their_own() -> None:
    """In the same minute, too."""
    deployment = Deployment()
    deployment.arrive(_at(1), *_prompts(10, 1), *_prompts(11, 1, "aoai-dev"), *_prompts(9, 1, "aoai-lab"))
    deployment.tick(_at(10))
    rows = deployment.posted.of(RULE)
    assert {(row["ResourceName"], row["Status"]) for row in rows} == {("aoai-prod", "New"), ("aoai-dev", "New")}
    assert len({row["EpisodeId"] for row in rows}) == len({row["FindingId"] for row in rows}) == 2


def test_an_alert_is_not_lost_when_windows_are_caught_up_at_once() -> None:
    """A reader who looks after an outage sees the newest row of the minute alone: it has to say New."""
    deployment = Deployment()
    deployment.tick(_at(0))
    deployment.arrive(_at(9), *_prompts(10, 9))
    deployment.arrive(_at(11), *_prompts(5, 9), *_prompts(10, 10))
    deployment.tick(_at(40))
    assert {minute: (row["Status"], row["EventCount"]) for minute, row in _minutes(deployment).items()} == {
        "08:09": ("New", 15),
        "08:10": ("Ongoing", 10),
    }


def test_a_late_record_in_a_bucket_that_only_the_first_window_holds_does_not_hide_what_is_known() -> None:
    """The first window then has 13 of the minute and the second still 15; readers keep seeing 15."""
    deployment = Deployment()
    deployment.arrive(_at(1), list_key())
    deployment.arrive(_at(51), *_prompts(12, -5))
    deployment.tick(_at(60))
    deployment.arrive(_at(61), *_prompts(3, -5))
    deployment.tick(_at(70))
    assert _minutes(deployment)["07:55"]["EventCount"] == 15
    deployment.arrive(_at(2), *_prompts(1, -5))
    deployment.tick(_at(80))
    assert _minutes(deployment)["07:55"]["EventCount"] == 15


def test_of_several_later_windows_the_one_that_told_most_is_not_hidden() -> None:
    """16 in the first window are more than the 15 of the second, and less than the 18 of the third and fourth."""
    deployment = Deployment()
    deployment.arrive(_at(1), list_key())
    for tick, count in ((6, 12), (7, 3), (8, 3), (9, 0)):
        deployment.arrive(_at(10 * tick - 9), *_prompts(count, -5))
        deployment.tick(_at(10 * tick))
    deployment.arrive(_at(2), *_prompts(4, -5))
    deployment.tick(_at(100))
    assert _minutes(deployment)["07:55"]["EventCount"] == 18


def test_evaluating_a_window_again_for_another_resource_does_not_hide_what_is_known() -> None:
    """A key listing that was counted late brings the window's 12 prompts up again, not the 15 of the next one."""
    deployment = Deployment()
    deployment.arrive(_at(1), list_key())
    deployment.arrive(_at(51), *_prompts(12, -5))
    deployment.tick(_at(60))
    deployment.arrive(_at(61), *_prompts(3, -5))
    deployment.tick(_at(70))
    deployment.arrive(_at(2), list_key())
    deployment.tick(_at(80))
    row = _minutes(deployment)["07:55"]
    assert (row["EventCount"], row["Status"]) == (15, "New")


def test_a_run_that_loses_while_it_posts_does_not_leave_its_older_picture() -> None:
    """The window is due again and posts what the faster run saw, under the same id."""
    deployment = Deployment()
    deployment.arrive(_at(5), *_prompts(12, 4))
    stale = deployment.half_way(_at(10))
    deployment.arrive(_at(6), *_prompts(28, 4))
    deployment.posted.meanwhile = lambda: deployment.tick(_at(10))
    assert not deployment.evaluator.conclude(*stale, RunProgress(), _at(11)).recorded
    deployment.tick(_at(20))
    assert [(row["EventCount"], row["Status"]) for row in _minutes(deployment).values()] == [(40, "New")]


@pytest.mark.parametrize("when", ["before it posts", "while it posts"])
def test_a_run_of_an_earlier_window_does_not_take_back_what_a_later_one_posted(when: str) -> None:
    """The later window holds more of the minute, and is not due again: the state that it is based on stays the same."""
    deployment = Deployment()
    deployment.arrive(_at(5), *_prompts(12, 4))
    deployment.tick(_at(10))
    deployment.arrive(_at(6), list_key())
    slow = deployment.half_way(_at(20))
    deployment.arrive(_at(11), *_prompts(20, 4))
    if when == "before it posts":
        deployment.step(_at(20), _at(10))
    else:
        deployment.posted.meanwhile = lambda: deployment.step(_at(20), _at(10))
    deployment.evaluator.conclude(*slow, RunProgress(), _at(20))
    deployment.tick(_at(30))
    assert [row["EventCount"] for row in _minutes(deployment).values()] == [32]


def test_a_minute_long_past_is_posted_once_and_not_at_every_window() -> None:
    """Records that arrive a day late have a minute of yesterday."""
    deployment = Deployment()
    deployment.arrive(_at(5), *_prompts(12, -24 * 60))
    for tick in range(1, 9):
        deployment.tick(_at(10 * tick))
    rows = [row for stream, row in deployment.posted.rows if stream == "findings" and row["RuleId"] == RULE]
    assert [row["Status"] for row in rows] == ["New", "Closed"]


def test_what_an_episode_remembers_of_minutes_does_not_grow_with_its_length() -> None:
    """Two days of an attack that never stops: minutes that can no longer get records are forgotten."""
    deployment = Deployment(policy=LOW)
    held = []
    for tick in range(1, 150):
        deployment.arrive(_at(10 * tick - 9), *_prompts(3, 10 * tick - 9), *_prompts(3, 10 * tick - 5))
        deployment.tick(_at(10 * tick))
        (episode,) = deployment.open_episodes(_at(10 * tick))
        held.append(len(episode.posted))
    assert max(held) == held[-1] <= 2 * 13


def test_a_minute_whose_mean_falls_by_late_records_stays_as_it_was_posted() -> None:
    """It was news once, and nothing that was posted is taken back."""
    deployment = Deployment()
    deployment.arrive(_at(5), *_prompts(10, 4, length=5_000))
    deployment.tick(_at(10))
    deployment.arrive(_at(6), *_prompts(1, 4, length=4_000))
    deployment.tick(_at(20))
    assert [(row["Status"], row["EventCount"]) for row in _minutes(deployment).values()] == [("New", 10)]
    assert deployment.open_episodes(_at(20)) == []


def _bursts(*lengths: int) -> st.SearchStrategy[list[tuple[int, int, int, int, int]]]:
    """Prompts: minute of arrival, minutes before it that they were made, how many, minutes until counted, length."""
    burst = st.tuples(
        st.integers(0, 119), st.integers(0, 40), st.integers(1, 5), st.integers(0, 200), st.sampled_from(lengths)
    )
    return st.lists(burst, min_size=1, max_size=8)


def _course(bursts: list[tuple[int, int, int, int, int]], rng: Random | None) -> tuple[Deployment, set[str]]:
    """Run, disturbed if there is chance in it; return the episodes too that a reader at each tick saw as news."""
    deployment, alerted = Deployment(policy=LOW), set[str]()
    waiting = sorted(bursts, key=lambda burst: burst[0] + (burst[3] if rng else 0))
    for tick in range(1, 36):
        while waiting and waiting[0][0] + (waiting[0][3] if rng else 0) < 10 * tick:
            arrived, age, count, _, length = waiting.pop(0)
            deployment.arrive(_at(arrived), *_prompts(count, arrived - age, length=length))
        for _ in range(rng.choice([0, 1, 1, 2]) if rng and tick < 35 else 1):
            deployment.tick(_at(10 * tick))
        alerted |= {row["EpisodeId"] for row in deployment.posted.of(RULE) if row["Status"] in NEWS}
    return deployment, alerted


@examples(25)
@example(bursts=[(22, 0, 3, 0, 5_000), (30, 8, 3, 0, 5_000)], seed=0)
@given(bursts=_bursts(5_000, 9_000), seed=st.integers(0, 2**32))
def test_what_readers_see_of_minutes_does_not_depend_on_when_records_were_counted(
    bursts: list[tuple[int, int, int, int, int]], seed: int
) -> None:
    """Late counts, missed and repeated ticks: the same minutes with the same counts, and every episode was news.

    Of prompts that are all long: short ones that are counted late can lower a mean that was alerted on.
    """
    on_time, _ = _course(bursts, None)
    disturbed, alerted = _course(bursts, Random(seed))
    seen, expected = (
        {minute: row["EventCount"] for minute, row in _minutes(deployment).items()}
        for deployment in (disturbed, on_time)
    )
    assert seen == expected
    assert {row["EpisodeId"] for row in _minutes(disturbed).values()} <= alerted


@examples(15)
@given(bursts=_bursts(4_000, 5_000, 9_000), tick=st.integers(1, 20))
def test_evaluating_any_window_again_says_the_same_again(
    bursts: list[tuple[int, int, int, int, int]], tick: int
) -> None:
    """Whatever is made due without any change: readers see what they saw, and the journal what it held."""
    deployment, _ = _course(bursts, None)
    seen = {row["FindingId"]: {**row, "TimeGenerated": ""} for row in deployment.posted.newest().values()}
    held = deployment.open_episodes(_at(10 * tick))
    deployment.make_due(_at(10 * tick))
    assert deployment.tick(_at(350))[0] == f"{_at(10 * tick):%H:%M}"
    assert {row["FindingId"]: {**row, "TimeGenerated": ""} for row in deployment.posted.newest().values()} == seen
    assert deployment.open_episodes(_at(10 * tick)) == held
