"""Histories: timelines of what came nearest to firing."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from detectors.backtest import history as history_module
from detectors.backtest.history import MAX_TIMELINES, History
from detectors.backtest.outcome import Timeline
from detectors.evaluation.policy import Policy, PolicyChange
from detectors.evaluation.suppressions import Scope
from detectors.evaluation.window import GroupTotal
from detectors.rules.tally import Key, Lengths, Tally
from detectors.windows import BUCKET
from tests.builders import START, canonical_id

THRESHOLDS = {"model_theft": {"count": 100, "response_length": 1_000}}


def _key(name: str = "aoai-prod") -> Key:
    return Key("model_theft", (canonical_id(name),))


def _total(count: int, length: int | None = None) -> GroupTotal:
    return GroupTotal(Tally(count=count, responses=Lengths() if length is None else Lengths(1, length, length)))


def _end(window: int) -> datetime:
    return START + window * BUCKET


def _seconds(window: int) -> int:
    return int(_end(window).timestamp())


def _history(counts: Sequence[int]) -> History:
    """Return a history of one account; 0 is a window without it."""
    history = History(Policy(THRESHOLDS))
    for number, count in enumerate(counts):
        history.add(_end(number), {_key(): _total(count)} if count else {})
    return history


def test_a_timeline_has_a_point_for_every_window_with_a_record() -> None:
    """At the window's end; windows without one are left out, and what carries no length has no timeline of it."""
    assert _history([3, 0, 0, 120]).timelines() == [
        Timeline(
            rule_id="model_theft",
            threshold="count",
            measure="count",
            at_least=100,
            resource=canonical_id(),
            points=[(_seconds(0), 3), (_seconds(3), 120)],
        )
    ]


def test_timelines_that_come_nearest_to_their_threshold_are_first() -> None:
    """As a share of it, so that counts and bytes compare; equal ones in a fixed order."""
    history = History(Policy(THRESHOLDS))
    history.add(_end(0), {_key("a"): _total(60, 500), _key("b"): _total(300), _key("c"): _total(10, 900)})
    history.add(_end(1), {_key("a"): _total(50), _key("b"): _total(2)})
    assert [(each.resource[-1], each.threshold) for each in history.timelines()] == [
        ("b", "count"), ("c", "response_length"), ("a", "count"), ("a", "response_length"), ("c", "count"),
    ]  # fmt: skip


def test_only_so_many_timelines_are_given_and_the_others_counted() -> None:
    """The farthest ones are left out."""
    history = History(Policy(THRESHOLDS))
    history.add(_end(0), {_key(f"account-{number}"): _total(number) for number in range(1, MAX_TIMELINES + 4)})
    timelines = history.timelines()
    heights = [timeline.points[0][1] for timeline in timelines]
    assert heights == list(range(MAX_TIMELINES + 3, 3, -1))
    assert all(one > other for one, other in pairwise(heights))
    assert history.timelines_left_out == 3
    assert _history([1]).timelines_left_out == 0


def test_a_rule_that_is_not_in_force_has_no_history() -> None:
    """Its records may be counted all the same."""
    history = History(Policy({}))
    history.add(_end(0), {_key(): _total(5)})
    assert history.timelines() == []


def _minute(
    window: int, minute: int, requests: Lengths, name: str = "aoai-prod"
) -> tuple[datetime, dict[Key, GroupTotal]]:
    """Return what a window holds of one minute."""
    group = canonical_id(name), f"{START + timedelta(minutes=minute):%Y-%m-%dT%H:%MZ}"
    return _end(window), {Key("denial_of_service", group): GroupTotal(Tally(count=requests.records, requests=requests))}


MINUTES = Policy({"denial_of_service": {"count": 10, "request_length": 5_000}})


def test_a_rule_that_looks_at_minutes_has_a_point_for_each_minute() -> None:
    """Once, though it is in six windows, with the largest value that any of these saw."""
    history = History(MINUTES)
    for window, minute, records in ((1, 3, 4), (1, 7, 2), (2, 3, 6), (2, 7, 2), (3, 3, 5), (3, 20, 1)):
        history.add(*_minute(window, minute, Lengths(records, 100 * records, 100)))
    count, length = history.timelines()
    at = int(START.timestamp())
    assert (count.threshold, length.threshold) == ("count", "request_length")
    assert count.resource == length.resource == canonical_id()
    assert count.points == [(at + 180, 6), (at + 420, 2), (at + 1200, 1)]
    assert length.points == [(at + 180, 100), (at + 420, 100), (at + 1200, 100)]


def test_a_minute_takes_room_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is in six windows; what is let go of first must not depend on that."""
    monkeypatch.setattr(history_module, "MAX_POINTS", 4)
    history = History(MINUTES)
    for window in range(6):
        history.add(*_minute(window, 3, Lengths(2, 200, 100)))
        history.add(*_minute(window, 3, Lengths(9, 900, 100), "aoai-dev"))
    assert (history.left_out, len(history.timelines())) == (0, 4)


def test_a_measure_alone_does_not_bring_a_rule_near_to_firing_that_needs_all() -> None:
    """One long prompt is far above its number, and yet nine are missing: many short ones come nearer."""
    history = History(MINUTES)
    history.add(*_minute(1, 3, Lengths(1, 90_000, 90_000), "a-long-prompt"))
    history.add(*_minute(1, 3, Lengths(100, 100_000, 1_000), "many-short"))
    history.add(*_minute(1, 3, Lengths(9, 36_000, 4_000), "nearly"))
    names = [timeline.resource.rpartition("/")[2] for timeline in history.timelines()]
    assert names == ["nearly", "nearly", "many-short", "many-short", "a-long-prompt", "a-long-prompt"]


def test_numbers_of_single_resources_count() -> None:
    """Near is what is near to the resource's own number."""
    policy = Policy(THRESHOLDS, [PolicyChange("x", Scope("model_theft", "*/accounts/a"), thresholds={"count": 1_000})])
    history = History(policy)
    history.add(_end(0), {_key("a"): _total(300), _key("b"): _total(90)})
    assert [(one.resource[-1], one.at_least) for one in history.timelines()] == [("b", 100), ("a", 1_000)]


def test_newcomers_have_no_history() -> None:
    """What somebody does who was never seen before says nothing of what is usual."""
    history = History(Policy())
    history.add(_end(0), {Key("new_key_lister", (canonical_id(), "a")): _total(5)})
    assert history.timelines() == []


def test_points_are_bounded_and_those_nearest_to_firing_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A year of thousands of accounts fits into memory; what was let go of is counted."""
    monkeypatch.setattr(history_module, "MAX_POINTS", 20)
    history = History(Policy(THRESHOLDS))
    for window in range(4):
        history.add(_end(window), {_key(f"account-{number}"): _total(number + 1) for number in range(5)})
    assert history.left_out == 0
    history.add(_end(4), {_key("account-4"): _total(5)})
    assert [timeline.resource[-1] for timeline in history.timelines()] == ["4", "3"]
    assert (history.left_out, history.timelines_left_out) == (3, 3)
    assert [point for point, _ in history.timelines()[0].points] == [_seconds(window) for window in range(5)]
    for window in range(5, 16):
        history.add(_end(window), {_key("account-4"): _total(5)})
    assert history.left_out == 3
    history.add(_end(16), {_key("account-4"): _total(5)})
    assert history.left_out == 4
