"""Episodes: one alert for a burst, whatever is evaluated again."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from detectors.counting import Key
from detectors.episodes import Episode, Status, Step, advance, finding_id
from detectors.evaluation import Verdict
from detectors.rules.rule import Trigger
from detectors.tally import Tally
from detectors.windows import BUCKET
from tests.builders import START

GROUP = ("/subscriptions/s/resourcegroups/g/providers/p/t/n",)
KEY = Key("model_theft", GROUP)


def _verdict(count: int, length: int = 0) -> Verdict:
    triggers = [Trigger("count", "count", count, 100)] if count >= 100 else []
    if length >= 1_000_000:
        triggers.append(Trigger("response_length", "max_response_length", length, 1_000_000))
    return Verdict("model_theft", GROUP, Tally(count=count), [0, 0, 0, 0, 0, count], [], triggers)


def _course(counts: Sequence[int], known: Mapping[Key, str] | None = None) -> list[Step]:
    """What happens over consecutive windows with these counts."""
    episodes: list[Episode] = []
    course: list[Step] = []
    for place, count in enumerate(counts):
        episodes, steps = advance(episodes, [_verdict(count)], START + place * BUCKET, known or {})
        course += steps
    return course


def _statuses(steps: Sequence[Step]) -> list[str]:
    return [step.status.value for step in steps]


def test_a_burst_is_new_once_then_ongoing_then_closed() -> None:
    """Six windows see one burst; only one of them is news."""
    steps = _course([0, 120, 120, 130, 100, 99, 0])
    assert _statuses(steps) == ["New", "Ongoing", "Ongoing", "Ongoing", "Closed"]
    assert len({step.episode.id for step in steps}) == 1


def test_a_pause_makes_two_episodes() -> None:
    """A window that does not fire ends an episode; the next one has an id of its own."""
    steps = _course([100, 99, 100])
    assert _statuses(steps) == ["New", "Closed", "New"]
    assert len({step.episode.id for step in steps}) == 2


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


def test_a_second_trigger_that_joins_escalates() -> None:
    """Keys listed in bursts are news; a large response on top is news again, once."""
    episodes, _ = advance([], [_verdict(100)], START, {})
    episodes, joined = advance(episodes, [_verdict(100, 1_000_000)], START + BUCKET, {})
    episodes, later = advance(episodes, [_verdict(100, 1_500_000)], START + 2 * BUCKET, {})
    _, left_and_back = advance(episodes, [_verdict(0, 1_500_000)], START + 3 * BUCKET, {})
    assert _statuses([*joined, *later, *left_and_back]) == ["Escalated", "Ongoing", "Ongoing"]


def test_an_episode_that_began_earlier_than_was_known_keeps_its_id() -> None:
    """Late records make the window before fire too: nobody is alerted again."""
    first = _course([120])[0]
    episodes, steps = advance([], [_verdict(110)], START - BUCKET, {KEY: first.episode.id})
    _, again = advance(episodes, [_verdict(120)], START, {KEY: first.episode.id})
    assert _statuses([*steps, *again]) == ["New", "Ongoing"]
    assert {step.episode.id for step in [*steps, *again]} == {first.episode.id}


def test_an_open_episode_goes_before_an_id_known_from_later() -> None:
    """Late records join two episodes: the first one's id stays."""
    episodes, steps = advance([], [_verdict(100)], START, {})
    _, joined = advance(episodes, [_verdict(100)], START + BUCKET, {KEY: "the id of the second episode"})
    assert joined[0].episode.id == steps[0].episode.id


def test_groups_have_episodes_of_their_own() -> None:
    """One group's verdict says nothing of another's."""
    other = Verdict("model_theft", ("other",), Tally(count=500), [500, 0, 0, 0, 0, 0], [], _verdict(500).triggers)
    episodes, _ = advance([], [_verdict(100), other], START, {})
    episodes, steps = advance(episodes, [_verdict(99), other], START + BUCKET, {})
    assert _statuses(steps) == ["Closed", "Ongoing"]
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
    steps = _course([*counts, 0])
    assert len([step for step in steps if step.status is Status.NEW]) == len({step.episode.id for step in steps})
    assert len([step for step in steps if step.status is Status.CLOSED]) == len({step.episode.id for step in steps})
    firing = [step for step in steps if step.status is not Status.CLOSED]
    assert len(firing) == sum(count >= 100 for count in counts)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=20), st.integers(0, 19))
def test_the_state_depends_only_on_the_state_before_and_the_verdicts(counts: list[int], start: int) -> None:
    """Evaluating again from any window gives the same steps again."""
    states: list[list[Episode]] = [[]]
    steps: list[list[Step]] = []
    for place, count in enumerate(counts):
        after, happened = advance(states[-1], [_verdict(count)], START + place * BUCKET, {})
        states.append(after)
        steps.append(happened)
    start = min(start, len(counts) - 1)
    known = {episode.key: episode.id for episode in states[start + 1]}
    assert advance(states[start], [_verdict(counts[start])], START + start * BUCKET, known) == (
        states[start + 1],
        steps[start],
    )
