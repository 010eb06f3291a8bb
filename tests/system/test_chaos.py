"""Stories in which everything goes wrong end well, and each planted mistake makes one of them end badly."""

import pytest

from tests.chaos.mistakes import MISTAKES, planted
from tests.chaos.play import ends_badly, play
from tests.chaos.real import RealCluster
from tests.chaos.story import shortened, story

STORIES = 40


@pytest.mark.parametrize("seed", range(STORIES))
def test_whatever_goes_wrong_counts_findings_and_episodes_are_right(seed: int) -> None:
    """`make chaos` plays ten thousand."""
    assert play(story(seed)).wrong == []


@pytest.mark.real
def test_the_same_is_right_of_hosts_that_are_killed() -> None:
    """Processes that get SIGKILL between two requests to Azurite. `make chaos ARGS=--real` plays twenty."""
    ending = play(story(5), RealCluster)
    assert ending.wrong == []
    assert {"killed", "killed after", "meanwhile", "refused"} <= ending.met.keys()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_found(name: str) -> None:
    """So no guard is there for nothing. The same story ends well with the guard."""
    told = story(MISTAKES[name].seed)
    with planted(name):
        assert ends_badly(told)
    assert play(told).wrong == []


def test_a_story_that_ends_badly_is_told_without_what_does_not_matter() -> None:
    """It ends badly still, and well without the mistake."""
    name = "a value escalates too late"
    told = story(MISTAKES[name].seed)
    with planted(name):
        short = shortened(told, ends_badly)
        assert ends_badly(short)
    assert sum(len(act.steps) for act in short.acts) < sum(len(act.steps) for act in told.acts)
    assert not any(step.mishaps for act in short.acts for step in act.steps)
    assert play(short).wrong == []
