"""Episodes: one alert for a burst, whatever is evaluated again."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.episodes import Episode, EpisodeChange, PostedMinute, Status, advance, finding_id
from detectors.evaluation.policy import Suppression
from detectors.evaluation.window import GroupResult
from detectors.rules.rule import Severity, Trigger
from detectors.rules.tally import Key, Tally
from detectors.windows import BUCKET, key_of
from tests.builders import START

GROUP = ("/subscriptions/s/resourcegroups/g/providers/p/t/n",)
KEY = Key("model_theft", GROUP)


def _result(count: int, length: int = 0) -> GroupResult:
    triggers = [Trigger("count", "count", count, 100)] if count >= 100 else []
    if length >= 1_000_000:
        triggers.append(Trigger("response_length", "max_response_length", length, 1_000_000))
    return GroupResult("model_theft", GROUP, Tally(count=count), [0, 0, 0, 0, 0, count], [], triggers)


def _course(counts: Sequence[int], known: Mapping[Key, Episode] | None = None) -> list[EpisodeChange]:
    """Return what happens over consecutive windows with these counts."""
    episodes: list[Episode] = []
    course: list[EpisodeChange] = []
    for place, count in enumerate(counts):
        episodes, changes = advance(episodes, [_result(count)], START + place * BUCKET, known or {})
        course += changes
    return course


def _statuses(changes: Sequence[EpisodeChange]) -> list[str]:
    return [change.status.value for change in changes]


def test_a_burst_is_new_once_then_ongoing_then_closed() -> None:
    """Six windows see one burst; only one of them is news."""
    changes = _course([0, 120, 120, 130, 100, 99, 0])
    assert _statuses(changes) == ["New", "Ongoing", "Ongoing", "Ongoing", "Closed"]
    assert len({change.episode.id for change in changes}) == 1


def test_a_pause_makes_two_episodes() -> None:
    """A window that does not fire ends an episode; the next one has an id of its own."""
    changes = _course([100, 99, 100])
    assert _statuses(changes) == ["New", "Closed", "New"]
    assert len({change.episode.id for change in changes}) == 2


def test_a_doubled_peak_escalates_once_for_each_doubling() -> None:
    """What counts is the value that was last alerted on, so slow growth escalates too."""
    assert _statuses(_course([100, 150, 199, 200, 399, 400, 300])) == [
        "New",
        "Ongoing",
        "Ongoing",
        "Escalated",
        "Ongoing",
        "Escalated",
        "Ongoing",
    ]


firing = st.builds(
    _result,
    st.sampled_from([100, 150, 200, 300, 400]),
    st.sampled_from([0, 1_000_000, 1_500_000, 2_000_000, 4_000_000]),
)


@given(st.lists(firing, min_size=2, max_size=8))
def test_a_peak_never_falls(results: list[GroupResult]) -> None:
    """Whatever escalates, the values alerted on stay: a burst that goes on is not news again for another's sake."""
    episodes: list[Episode] = []
    peaks: dict[str, float] = {}
    for place, result in enumerate(results):
        episodes, ((status, episode, _),) = advance(episodes, [result], START + place * BUCKET, {})
        assert all(episode.peaks[name] >= peak for name, peak in peaks.items())
        values = {trigger.threshold: trigger.value for trigger in result.triggers}
        is_news = any(name not in peaks or value >= 2 * peaks[name] for name, value in values.items())
        assert (status is not Status.ONGOING) == is_news
        peaks = episode.peaks


def test_a_second_trigger_that_joins_escalates() -> None:
    """Keys listed in bursts are news; a large response on top is news again, once."""
    episodes, _ = advance([], [_result(100)], START, {})
    episodes, joined = advance(episodes, [_result(100, 1_000_000)], START + BUCKET, {})
    episodes, later = advance(episodes, [_result(100, 1_500_000)], START + 2 * BUCKET, {})
    _, left_and_back = advance(episodes, [_result(0, 1_500_000)], START + 3 * BUCKET, {})
    assert _statuses([*joined, *later, *left_and_back]) == ["Escalated", "Ongoing", "Ongoing"]


def test_a_severity_that_rises_escalates_once_and_one_that_falls_does_not() -> None:
    """Who was told of something informational, or was not, hears when it turns out to be more."""
    severities: list[Severity] = ["Informational", "Medium", "Low", "Medium", "High"]
    results = [msgspec.structs.replace(_result(120), severity=severity) for severity in severities]
    assert _statuses(_through(*results)) == ["New", "Escalated", "Ongoing", "Ongoing", "Escalated"]


def test_an_episode_that_began_earlier_than_was_known_keeps_its_id() -> None:
    """Late records make the window before fire too: nobody is alerted again."""
    first = _course([120])[0]
    episodes, changes = advance([], [_result(110)], START - BUCKET, {KEY: first.episode})
    _, again = advance(episodes, [_result(120)], START, {KEY: first.episode})
    assert _statuses([*changes, *again]) == ["New", "Ongoing"]
    assert {change.episode.id for change in [*changes, *again]} == {first.episode.id}


def test_an_episode_apart_from_a_later_one_gets_an_id_of_its_own() -> None:
    """Late records begin another one, which has ended when the known one begins."""
    first = _course([120])[0]
    _, changes = advance([], [_result(110)], START - 3 * BUCKET, {KEY: first.episode}, apart={KEY})
    assert changes[0].episode.id != first.episode.id


def test_what_goes_on_after_a_silent_window_does_not_take_the_id_from_before_it() -> None:
    """It was recorded as a part of the episode before, which turned out to have ended."""
    changes = _course([120, 120, 120])
    _, anew = advance([], [_result(120)], START + 2 * BUCKET, {KEY: changes[2].episode})
    assert (anew[0].status, anew[0].episode.started) == (Status.NEW, key_of(START + 2 * BUCKET))
    assert anew[0].episode.id != changes[0].episode.id


def test_an_open_episode_goes_before_an_id_known_from_later() -> None:
    """Late records join two episodes: the first one's id stays."""
    episodes, changes = advance([], [_result(100)], START, {})
    second = Episode("the id of the second episode", *KEY, key_of(START + BUCKET), {"count": 100})
    _, joined = advance(episodes, [_result(100)], START + BUCKET, {KEY: second})
    assert joined[0].episode.id == changes[0].episode.id


def test_groups_have_episodes_of_their_own() -> None:
    """One group's result says nothing of another's."""
    other = GroupResult("model_theft", ("other",), Tally(count=500), [500, 0, 0, 0, 0, 0], [], _result(500).triggers)
    episodes, _ = advance([], [_result(100), other], START, {})
    episodes, changes = advance(episodes, [_result(99), other], START + BUCKET, {})
    assert _statuses(changes) == ["Closed", "Ongoing"]
    assert [episode.group for episode in episodes] == [("other",)]


def test_finding_ids_depend_on_rule_group_and_window_alone() -> None:
    """The same window evaluated again posts the same ids; anything else posts others."""
    ids = {
        finding_id(key, START + shift)
        for key in (KEY, Key("model_theft", ("x",)), Key("other", GROUP))
        for shift in (timedelta(), BUCKET)
    }
    assert len(ids) == 6
    assert finding_id(KEY, START) == finding_id(Key("model_theft", GROUP), START)


@given(st.lists(st.integers(0, 1000), max_size=30))
def test_every_course_is_a_row_of_whole_episodes(counts: list[int]) -> None:
    """Each episode begins with New, ends with Closed unless it is open, and fires in every window between."""
    changes = _course([*counts, 0])
    ids = [change.episode.id for change in changes]
    began = [change.episode.id for change in changes if change.status is Status.NEW]
    ended = [change.episode.id for change in changes if change.status is Status.CLOSED]
    assert len(began) == len(ended) == len(set(ids))
    firing = [change for change in changes if change.status is not Status.CLOSED]
    assert len(firing) == sum(count >= 100 for count in counts)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=20), st.integers(0, 19))
def test_the_state_depends_only_on_the_state_before_and_the_verdicts(counts: list[int], start: int) -> None:
    """Evaluating again from any window gives the same steps again."""
    states: list[list[Episode]] = [[]]
    changes: list[list[EpisodeChange]] = []
    for place, count in enumerate(counts):
        after, happened = advance(states[-1], [_result(count)], START + place * BUCKET, {})
        states.append(after)
        changes.append(happened)
    start = min(start, len(counts) - 1)
    known = {episode.key: episode for episode in states[start + 1]}
    assert advance(states[start], [_result(counts[start])], START + start * BUCKET, known) == (
        states[start + 1],
        changes[start],
    )


EXPLAINED = Suppression("the nightly build", "platform team", date(2027, 3, 31))
MINUTES = "denial_of_service"


def _explained(result: GroupResult) -> GroupResult:
    return msgspec.structs.replace(result, suppression=EXPLAINED)


def _through(*results: GroupResult) -> list[EpisodeChange]:
    """Return what happens over consecutive windows with a result each."""
    episodes: list[Episode] = []
    course: list[EpisodeChange] = []
    for place, result in enumerate(results):
        episodes, changes = advance(episodes, [result], START + place * BUCKET, {})
        course += changes
    return course


def test_what_an_exception_explains_is_suppressed_and_new_when_it_no_longer_does() -> None:
    """In one episode: it is posted all the time, and alerted once, in the first window that nothing explains."""
    changes = _through(*[_explained(_result(100))] * 3, _result(100), _result(100), _result(0))
    assert _statuses(changes) == ["Suppressed"] * 3 + ["New", "Ongoing", "Closed"]
    assert len({change.episode.id for change in changes}) == 1


def test_a_stranger_does_not_hide_in_an_episode_that_an_exception_keeps_open() -> None:
    """A job that is excused fires all the time: whoever joins it after an earlier stranger is news, and alerts anew."""
    changes = _through(
        _explained(_result(500)),
        *[_result(620), _result(620)],  # somebody joins,
        *[_explained(_result(500)), _explained(_result(500))],  # is gone,
        _result(900),  # and somebody else comes
        _result(0),
    )
    assert _statuses(changes) == ["Suppressed", "New", "Ongoing", "Suppressed", "Suppressed", "New", "Closed"]
    first, second = {change.episode.id for change in changes[:4]}, {change.episode.id for change in changes[4:]}
    assert (len(first), len(second), first & second) == (1, 1, set())


def test_an_episode_that_was_explained_to_its_end_is_closed() -> None:
    """Readers see that it is over."""
    assert _statuses(_through(_explained(_result(100)), _result(0))) == ["Suppressed", "Closed"]


def test_what_was_suppressed_is_not_what_was_alerted_on() -> None:
    """The first alert is New however much was explained before, and later windows are held against it alone."""
    changes = _through(_explained(_result(1_000)), _result(100), _result(199), _result(200))
    assert _statuses(changes) == ["Suppressed", "New", "Ongoing", "Escalated"]


def _minute(minute: int, count: int, resource: str = GROUP[0], suppression: Suppression | None = None) -> GroupResult:
    triggers = [Trigger("count", "count", count, 10), Trigger("request_length", "avg_request_length", 5_000.0, 5_000)]
    group = (resource, f"2026-11-23T07:{minute:02d}Z")
    fired = triggers if count else []
    return GroupResult(MINUTES, group, Tally(count=count), [count, 0, 0, 0, 0, 0], [], fired, "Medium", suppression)


def test_minutes_of_one_resource_are_one_episode_in_their_order() -> None:
    """Whatever order results come in, the first minute is the news."""
    episodes, changes = advance([], [_minute(9, 60), _minute(5, 30), _minute(7, 12)], START, {})
    assert [(change.result.group[-1][-3:-1], change.status.value) for change in changes] == [
        ("05", "New"),
        ("07", "Ongoing"),
        ("09", "Escalated"),
    ]
    (episode,) = episodes
    assert episode.group == GROUP
    assert {minute[-3:-1]: (row.count, row.status.value) for minute, row in episode.posted.items()} == {
        "05": (30, "New"),
        "07": (12, "Ongoing"),
        "09": (60, "Escalated"),
    }


def test_a_minute_is_explained_or_news_on_its_own() -> None:
    """The one that nothing explains is New although one before it was explained."""
    _, changes = advance([], [_minute(5, 12, suppression=EXPLAINED), _minute(6, 12)], START, {})
    assert _statuses(changes) == ["Suppressed", "New"]


def test_a_minute_that_was_explained_and_gets_a_stranger_becomes_new() -> None:
    """More records of it came, and the exception does not cover them."""
    episodes, _ = advance([], [_minute(5, 12, suppression=EXPLAINED)], START, {})
    _, changes = advance(episodes, [_minute(5, 13)], START + BUCKET, {})
    assert _statuses(changes) == ["New"]


def test_a_minute_that_was_news_stays_so_in_its_later_rows() -> None:
    """They replace the earlier ones; explained or not, somebody was alerted."""
    episodes, _ = advance([], [_minute(5, 12)], START, {})
    episodes, more = advance(episodes, [_minute(5, 13)], START + BUCKET, {})
    _, explained = advance(episodes, [_minute(5, 14, suppression=EXPLAINED)], START + 2 * BUCKET, {})
    assert _statuses([*more, *explained]) == ["New", "New"]


def test_a_minute_that_says_no_more_than_it_said_is_not_posted_again() -> None:
    """Nor does the episode close while it is in the window."""
    episodes, _ = advance([], [_minute(5, 12)], START, {})
    for place, count in enumerate((12, 11, 10), 1):
        episodes, changes = advance(episodes, [_minute(5, count)], START + place * BUCKET, {})
        assert changes == []
    _, changes = advance(episodes, [GroupResult(MINUTES, GROUP, Tally(), [0] * 6, [], [])], START + 4 * BUCKET, {})
    assert _statuses(changes) == ["Closed"]


def test_a_minute_has_one_finding_id_and_the_end_of_its_episode_another() -> None:
    """The minute's names rule, resource and minute; anything else of a window names the window."""
    minute, resource = _minute(5, 10).key, Key(MINUTES, GROUP)
    assert finding_id(minute, START) == finding_id(minute, START + BUCKET)
    assert finding_id(resource, START) != finding_id(resource, START + BUCKET)
    ids = [finding_id(key, START) for key in (minute, resource, _minute(6, 10).key, _minute(5, 10, "other").key)]
    assert len(set(ids)) == 4


def test_an_episode_stored_before_minutes_were_remembered_can_still_be_read() -> None:
    """The journal of the release before."""
    stored = {
        "id": "an id",
        "rule_id": "model_theft",
        "group": GROUP,
        "started": "20261123T0800Z",
        "peaks": {"count": 1},
    }
    read = msgspec.msgpack.decode(msgspec.msgpack.encode([stored]), type=list[Episode])
    assert read == [Episode("an id", "model_theft", GROUP, "20261123T0800Z", {"count": 1}, {})]


@pytest.mark.parametrize(
    ("known", "is_posted"),
    [
        (PostedMinute(11, Status.NEW), True),
        (PostedMinute(12, Status.NEW), False),
        (PostedMinute(13, Status.NEW), False),
        (PostedMinute(13, Status.ONGOING), True),
        (None, True),
    ],
)
def test_a_row_that_a_later_window_made_larger_is_not_replaced_by_less(
    known: PostedMinute | None, *, is_posted: bool
) -> None:
    """Neither by a smaller count nor by the same; but a status that readers must not miss goes out."""
    result = _minute(5, 12)
    posted = {result.group[-1]: known} if known else {}
    later = Episode("an id", MINUTES, GROUP, key_of(START), {"count": 12}, posted)
    episodes, changes = advance([], [result], START, {later.key: later})
    assert _statuses(changes) == (["New"] if is_posted else [])
    assert [(episode.id, episode.posted) for episode in episodes] == [
        ("an id", {result.group[-1]: PostedMinute(12, Status.NEW)})
    ]


def test_a_minute_that_fires_again_after_a_pause_says_nothing_new() -> None:
    """Others kept the episode open; it is remembered for as long as records of it may come."""
    episodes, _ = advance([], [_minute(5, 12)], START, {})
    episodes, _ = advance(episodes, [_minute(20, 12)], START + BUCKET, {})
    _, changes = advance(episodes, [_minute(5, 11), _minute(20, 12)], START + 2 * BUCKET, {})
    assert changes == []


def test_minutes_that_can_no_longer_get_records_are_forgotten() -> None:
    """Two hours after the window, to the minute; but not while they fire."""
    for shift, remembered in ((0, {"05", "50"}), (1, {"50"})):
        window_end = datetime(2026, 11, 23, 9, 5 + shift, tzinfo=UTC)
        episodes, _ = advance([], [_minute(5, 12), _minute(50, 12)], START, {})
        ((after,), _) = advance(episodes, [_minute(50, 12)], window_end, {})
        assert {minute[-3:-1] for minute in after.posted} == remembered
        ((after,), _) = advance(episodes, [_minute(5, 12)], window_end + timedelta(days=1), {})
        assert {minute[-3:-1] for minute in after.posted} == {"05"}
