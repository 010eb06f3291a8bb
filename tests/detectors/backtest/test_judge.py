"""Judging: what a set of thresholds makes of windows, and how it sums up their episodes."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest

from detectors.backtest.judge import Judge
from detectors.counting import Key
from detectors.evaluation import Total
from detectors.findings import finding
from detectors.tally import Tally
from detectors.windows import BUCKET
from tests.builders import START, canonical_id

THRESHOLDS = {"model_theft": {"count": 10, "response_length": 1_000}}
PROD, DEV = (Key("model_theft", (canonical_id(name),)) for name in ("aoai-prod", "aoai-dev"))


def _total(*callers: str, length: int | None = None) -> Total:
    """Records of these callers, each with a length of the response if one is given."""
    tally = Tally()
    for caller in callers:
        tally.add(sequence=1, time=None, request_length=None, response_length=length, caller=caller)
    return Total(tally, [0, 0, 0, 0, 0, len(callers)])


def _end(window: int) -> datetime:
    return START + window * BUCKET


def _judged(windows: Sequence[Mapping[Key, Total]], judge: Judge | None = None) -> tuple[Judge, list[list[str]]]:
    """A judge after consecutive windows, and the statuses that each gave."""
    judge = judge or Judge(THRESHOLDS)
    return judge, [
        [step.status.value for step in judge.judge(_end(number), totals)] for number, totals in enumerate(windows)
    ]


def test_an_episode_is_summed_up_over_its_windows() -> None:
    """Windows that fired, escalations, the largest of what fired, and when; the closing window is not of it."""
    counts = (9, 10, 15, 20, 12, 40, 0)
    judge, statuses = _judged([{PROD: _total(*"a" * count)} if count else {} for count in counts])
    assert statuses == [[], ["New"], ["Ongoing"], ["Escalated"], ["Ongoing"], ["Escalated"], ["Closed"]]
    (episode,) = judge.episodes
    assert (episode.rule_id, episode.resource) == ("model_theft", canonical_id())
    assert (episode.first_window, episode.last_window) == (_end(1), _end(5))
    assert (episode.windows, episode.escalations, episode.is_open) == (5, 2, False)
    assert episode.peaks == {"count": 40}
    assert judge.findings == 6
    assert not judge.is_watching


def test_an_episode_that_fires_to_the_end_is_open() -> None:
    """It is watched, so that the next window matters even if it is empty."""
    judge, _ = _judged([{PROD: _total(*"a" * 10)}])
    assert judge.is_watching
    assert judge.episodes[0].is_open


def test_a_second_attack_on_one_account_is_another_episode() -> None:
    """Episodes stand in the order in which they began, under the ids of their findings."""
    busy, more = _total(*"a" * 10), _total(*"a" * 11)
    judge = Judge(THRESHOLDS)
    ids = []
    for number, totals in enumerate([{DEV: busy}, {DEV: busy, PROD: more}, {PROD: more}, {DEV: more, PROD: more}]):
        ids += [finding(step, _end(number), _end(number)).episode_id for step in judge.judge(_end(number), totals)]
    assert [episode.resource for episode in judge.episodes] == [DEV.group[0], PROD.group[0], DEV.group[0]]
    assert [episode.episode_id for episode in judge.episodes] == list(dict.fromkeys(ids))
    assert [episode.is_open for episode in judge.episodes] == [False, True, True]


def test_peaks_are_kept_for_each_threshold_that_fired() -> None:
    """A count below its threshold is no peak, however large the response was."""
    judge, statuses = _judged(
        [
            {PROD: _total("a", length=5_000)},
            {PROD: _total(*"a" * 12, length=1_000)},
            {PROD: _total(*"a" * 11, length=999)},
        ]
    )
    assert statuses == [["New"], ["Escalated"], ["Ongoing"]]
    assert judge.episodes[0].peaks == {"response_length": 5_000, "count": 12}


def test_callers_are_those_of_the_first_window_with_the_most_records() -> None:
    """When the attack is at its height, the attacker stands out."""
    windows = [*"a" * 10], [*"a" * 3, *"b" * 9], [*"c" * 12], [*"d" * 11]
    judge, _ = _judged([{PROD: _total(*callers)} for callers in windows])
    assert judge.episodes[0].callers == [
        {"ObjectId": "b", "IpAddress": "", "Count": 9},
        {"ObjectId": "a", "IpAddress": "", "Count": 3},
    ]
    assert not judge.episodes[0].callers_truncated


def test_more_callers_than_a_finding_lists_are_told() -> None:
    """As in the finding itself."""
    judge, _ = _judged([{PROD: _total(*map(str, range(51)))}])
    assert len(judge.episodes[0].callers) == 50
    assert judge.episodes[0].callers_truncated


@pytest.mark.parametrize(("count", "fires"), [(9, False), (10, True)])
def test_its_own_thresholds_count(count: int, *, fires: bool) -> None:
    """Equal fires; a rule without thresholds is not judged."""
    totals = {PROD: _total(*"a" * count)}
    assert _judged([totals])[1] == [["New"] if fires else []]
    assert _judged([totals], Judge({}))[1] == [[]]
