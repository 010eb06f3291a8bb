"""Replays of a policy: what a set of thresholds makes of windows, and how it sums up their episodes."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import pytest

from detectors.backtest.policy_replay import PolicyReplay
from detectors.evaluation.policy import Policy, PolicyChange
from detectors.evaluation.suppressions import Scope, SuppressionRule
from detectors.evaluation.window import GroupTotal
from detectors.reporting.finding import finding
from detectors.rules.tally import Key, Tally
from detectors.windows import BUCKET
from tests.builders import PIPELINE, START, canonical_id

THRESHOLDS = {"model_theft": {"count": 10, "response_length": 1_000}}
MINUTES = "denial_of_service"
PROD, DEV = (Key("model_theft", (canonical_id(name),)) for name in ("aoai-prod", "aoai-dev"))


def _total(*callers: str, length: int | None = None) -> GroupTotal:
    """Return records of these callers, each with a length of the response if one is given."""
    return GroupTotal(Tally.of([(1, None, None, length, caller) for caller in callers]), [0, 0, 0, 0, 0, len(callers)])


def _end(window: int) -> datetime:
    return START + window * BUCKET


def _replayed(
    windows: Sequence[Mapping[Key, GroupTotal]], replay: PolicyReplay | None = None
) -> tuple[PolicyReplay, list[list[str]]]:
    """Return a replay after consecutive windows, and the statuses that each gave."""
    replay = replay or PolicyReplay(Policy(THRESHOLDS))
    return replay, [
        [change.status.value for change in replay.evaluate(_end(number), totals, {}, {})]
        for number, totals in enumerate(windows)
    ]


def test_an_episode_is_summed_up_over_its_windows() -> None:
    """Windows that fired, escalations, the largest of what fired, and when; the closing window is not of it."""
    counts = (9, 10, 15, 20, 12, 40, 0)
    replay, statuses = _replayed([{PROD: _total(*"a" * count)} if count else {} for count in counts])
    assert statuses == [[], ["New"], ["Ongoing"], ["Escalated"], ["Ongoing"], ["Escalated"], ["Closed"]]
    (episode,) = replay.episodes
    assert (episode.rule_id, episode.resource) == ("model_theft", canonical_id())
    assert (episode.first_window, episode.last_window) == (_end(1), _end(5))
    assert (episode.windows, episode.escalations, episode.is_open) == (5, 2, False)
    assert episode.peaks == {"count": 40}
    assert replay.findings == 6
    assert not replay.is_watching


def test_an_episode_that_fires_to_the_end_is_open() -> None:
    """It is watched, so that the next window matters even if it is empty."""
    replay, _ = _replayed([{PROD: _total(*"a" * 10)}])
    assert replay.is_watching
    assert replay.episodes[0].is_open


def test_a_second_attack_on_one_account_is_another_episode() -> None:
    """Episodes stand in the order in which they began, under the ids of their findings."""
    busy, more = _total(*"a" * 10), _total(*"a" * 11)
    replay = PolicyReplay(Policy(THRESHOLDS))
    ids = []
    for number, totals in enumerate([{DEV: busy}, {DEV: busy, PROD: more}, {PROD: more}, {DEV: more, PROD: more}]):
        ids += [
            finding(change, _end(number), _end(number)).episode_id
            for change in replay.evaluate(_end(number), totals, {}, {})
        ]
    assert [episode.resource for episode in replay.episodes] == [DEV.group[0], PROD.group[0], DEV.group[0]]
    assert [episode.episode_id for episode in replay.episodes] == list(dict.fromkeys(ids))
    assert [episode.is_open for episode in replay.episodes] == [False, True, True]


def test_peaks_are_kept_for_each_threshold_that_fired() -> None:
    """A count below its threshold is no peak, however large the response was."""
    replay, statuses = _replayed(
        [
            {PROD: _total("a", length=5_000)},
            {PROD: _total(*"a" * 12, length=1_000)},
            {PROD: _total(*"a" * 11, length=999)},
        ]
    )
    assert statuses == [["New"], ["Escalated"], ["Ongoing"]]
    assert replay.episodes[0].peaks == {"response_length": 5_000, "count": 12}


def test_callers_are_those_of_the_first_window_with_the_most_records() -> None:
    """When the attack is at its height, the attacker stands out."""
    windows = [*"a" * 10], [*"a" * 3, *"b" * 9], [*"c" * 12], [*"d" * 11]
    replay, _ = _replayed([{PROD: _total(*callers)} for callers in windows])
    assert replay.episodes[0].callers == [
        {"ObjectId": "b", "IpAddress": "", "Count": 9},
        {"ObjectId": "a", "IpAddress": "", "Count": 3},
    ]
    assert not replay.episodes[0].callers_truncated


def test_more_callers_than_a_finding_lists_are_told() -> None:
    """As in the finding itself."""
    replay, _ = _replayed([{PROD: _total(*map(str, range(51)))}])
    assert len(replay.episodes[0].callers) == 50
    assert replay.episodes[0].callers_truncated


@pytest.mark.parametrize(("count", "fires"), [(9, False), (10, True)])
def test_its_own_thresholds_count(count: int, *, fires: bool) -> None:
    """Equal fires; a rule without thresholds is not evaluated."""
    totals = {PROD: _total(*"a" * count)}
    assert _replayed([totals])[1] == [["New"] if fires else []]
    assert _replayed([totals], PolicyReplay(Policy({})))[1] == [[]]


def _minute(number: int) -> Key:
    return Key(MINUTES, (canonical_id(), f"2026-11-23T08:0{number}Z"))


def test_minutes_of_one_resource_are_one_episode_and_counted_as_minutes() -> None:
    """Each once, though it is in six windows; the peak is of the busiest minute."""
    policy = Policy({MINUTES: {"count": 2, "request_length": 1}})
    first, second = ({_minute(number): _asked(count)} for number, count in ((1, 5), (3, 2)))
    replay, statuses = _replayed([first, {**first, **second}, second, {}], PolicyReplay(policy))
    assert statuses == [["New"], ["Ongoing"], [], ["Closed"]]
    (episode,) = replay.episodes
    assert (episode.resource, episode.windows, replay.findings) == (canonical_id(), 2, 3)
    assert (episode.first_window, episode.last_window) == (_end(0), _end(1))
    assert episode.peaks == {"count": 5, "request_length": 10}


def test_a_minute_that_late_records_make_larger_is_one_finding() -> None:
    """Its row is posted again under the same id; an escalation of it counts once too."""
    policy = Policy({MINUTES: {"count": 2, "request_length": 1}})
    windows = [{_minute(1): _asked(count)} for count in (2, 5, 6)]
    replay, statuses = _replayed(windows, PolicyReplay(policy))
    assert statuses == [["New"], ["Escalated"], ["Escalated"]]  # a row that replaces another one says no less
    assert (replay.findings, replay.episodes[0].windows, replay.episodes[0].escalations) == (1, 1, 1)
    windows = [{_minute(1): _asked(2)}, *({_minute(1): _asked(2), _minute(2): _asked(count)} for count in (4, 5))]
    replay, statuses = _replayed(windows, PolicyReplay(policy))
    assert statuses == [["New"], ["Escalated"], ["Escalated"]]
    assert (replay.findings, replay.episodes[0].windows, replay.episodes[0].escalations) == (2, 2, 1)
    assert replay.episodes[0].peaks["count"] == 5


def _asked(count: int) -> GroupTotal:
    """Return requests of ten bytes each."""
    return GroupTotal(Tally.of([(1, None, 10, None, PIPELINE)] * count), [0, 0, 0, 0, 0, count])


EXEMPT = SuppressionRule(Scope("*"), frozenset({PIPELINE}), "The rotation.", "platform team", date(2026, 12, 31))


def test_what_an_exception_explains_is_counted_and_named() -> None:
    """All of an episode, or the part of it before a stranger joined."""
    policy = Policy(THRESHOLDS, suppression_rules=[EXEMPT])
    explained, not_explained = _total(*[PIPELINE] * 11), _total(*[PIPELINE] * 11, *"a" * 10)
    replay, statuses = _replayed(
        [{PROD: explained, DEV: explained}, {PROD: not_explained, DEV: explained}], PolicyReplay(policy)
    )
    assert statuses == [["Suppressed"] * 2, ["New", "Suppressed"]]
    assert [(one.windows, one.suppressed, one.is_suppressed) for one in replay.episodes] == [
        (2, 2, True),
        (2, 1, False),
    ]
    assert [one.suppression and one.suppression.reason for one in replay.episodes] == ["The rotation."] * 2


def test_a_minute_is_suppressed_until_more_of_it_is_known() -> None:
    """Then it takes its place among what nobody explains."""
    policy = Policy({MINUTES: {"count": 2, "request_length": 1}}, suppression_rules=[EXEMPT])
    more = GroupTotal(
        Tally.of([(1, None, 10, None, caller) for caller in (*[PIPELINE] * 3, "a", "b")]), [0, 0, 0, 0, 0, 5]
    )
    for windows, suppressed in (([_asked(3)], 1), ([_asked(3), more], 0)):
        replay, _ = _replayed([{_minute(1): total} for total in windows], PolicyReplay(policy))
        assert (replay.episodes[0].suppressed, replay.episodes[0].windows, replay.findings) == (suppressed, 1, 1)


def test_the_severity_is_that_in_force_for_the_resource() -> None:
    """As its findings have it, not the catalogue's."""
    policy = Policy(THRESHOLDS, [PolicyChange("x", Scope("*", "*/accounts/aoai-dev"), severity="High")])
    replay, _ = _replayed([{PROD: _total(*"a" * 10), DEV: _total(*"a" * 10)}], PolicyReplay(policy))
    assert {one.resource: one.severity for one in replay.episodes} == {PROD.group[0]: "Medium", DEV.group[0]: "High"}


def test_only_newcomers_fire_for_a_rule_that_looks_at_them() -> None:
    """Those that the baseline names, after as many days as the rule asks for."""
    policy = Policy({"new_key_lister": {"count": 1, "learning_days": 3}})
    known, new, early = (Key("new_key_lister", (canonical_id(), caller)) for caller in ("known", "new", "early"))
    replay = PolicyReplay(policy)
    changes = replay.evaluate(_end(0), dict.fromkeys((known, new, early), _total("a")), {new: 3, early: 2}, {})
    assert [change.result.group[-1] for change in changes] == ["new"]
    assert replay.resources == {canonical_id()}
    assert replay.episodes[0].peaks == {"count": 1, "learning_days": 3}
