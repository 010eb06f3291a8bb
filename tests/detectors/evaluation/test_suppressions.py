"""Known exceptions: how long they hold, what they are about, and that they never hide a stranger."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.policy import Policy
from detectors.evaluation.suppressions import EVERY, MAX_NAMED, Scope, Suppression, SuppressionRule
from detectors.evaluation.window import GroupTotal, evaluate_thresholds
from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Trigger
from detectors.rules.tally import MAX_CALLERS, Key, Lengths, Tally
from tests.builders import PIPELINE, START, canonical_id
from tests.deployment import Deployment

ROTATION, STRANGER, THIRD = PIPELINE, "99999999-4b5c-4d6e-8f70-8192a3b4c5d6", "33333333-4b5c-4d6e-8f70-8192a3b4c5d6"
DAY = date(2026, 11, 23)
THEFT = Key("model_theft", (canonical_id(),))
TRANSFER = Key("large_transfer", (canonical_id(),))
FLOOD = Key("denial_of_service", (canonical_id(), "2026-11-23T08:00Z"))
NEWCOMER = Key("new_key_lister", (canonical_id(), ROTATION))


def _rule(
    *callers: str, rule: str = EVERY, resource: str = EVERY, expires: date = DAY, reason: str = "Known."
) -> SuppressionRule:
    return SuppressionRule(Scope(rule, resource), frozenset(callers), reason, "platform team", expires)


def _suppressed(
    key: Key, tally: Tally, *suppression_rules: SuppressionRule, days_watched: int | None = None
) -> Suppression | None:
    """Find what explains the result for a tally; it has to fire."""
    newcomers = {} if days_watched is None else {key: days_watched}
    (result,) = evaluate_thresholds(
        START, {key: GroupTotal(tally)}, Policy(suppression_rules=suppression_rules), newcomers=newcomers
    )
    assert result.triggers
    return result.suppression


def _listed(**callers: int) -> Tally:
    """Key readings by caller."""
    names = {"rotation": ROTATION, "stranger": STRANGER, "third": THIRD}
    return Tally(
        count=sum(callers.values()), callers={names[name]: count for name, count in callers.items() if name in names}
    )


@pytest.mark.parametrize(
    ("at", "holds"),
    [
        (datetime(2026, 11, 23, tzinfo=UTC), True),
        (datetime(2026, 11, 23, 23, 50, tzinfo=UTC), True),
        (datetime(2026, 11, 24, tzinfo=UTC), True),
        (datetime(2026, 11, 24, 0, 10, tzinfo=UTC), False),
        (datetime(2027, 1, 1, tzinfo=UTC), False),
    ],
)
def test_an_exception_holds_through_its_last_day(at: datetime, *, holds: bool) -> None:
    """A window that ends at midnight lies within the day before."""
    suppression_rule = _rule(expires=date(2026, 11, 23))
    assert suppression_rule.in_force(at) is holds
    policy = Policy(suppression_rules=[suppression_rule])
    triggers = (Trigger("count", "count", 100, 100),)
    assert (policy.suppression(THEFT, _listed(rotation=100), triggers, at) is not None) is holds
    assert policy.expired(at) == ([] if holds else [suppression_rule])


def test_the_last_day_there_is_can_be_named() -> None:
    """No day after it is needed to compare."""
    assert _rule(expires=date.max).in_force(datetime.max.replace(tzinfo=UTC))


def test_expired_exceptions_are_listed_with_the_latest_first() -> None:
    """Those that still hold are not."""
    found = [_rule(expires=START.date() + timedelta(days=days)) for days in (-9, 1, -1, 0, -5)]
    assert Policy(suppression_rules=found).expired(START) == [found[2], found[4], found[0]]


@pytest.mark.parametrize(
    ("pattern", "entity", "matched"),
    [
        ("*", "anything at all", True),
        ("*/accounts/aoai-ci-*", canonical_id("aoai-ci-7"), True),
        ("*/ACCOUNTS/AOAI-CI-*", canonical_id("aoai-ci-7"), True),
        ("*/accounts/aoai-ci-*", canonical_id("aoai-ci-"), True),
        ("*/accounts/aoai-ci-*", canonical_id("aoai-ci"), False),
        ("*/accounts/aoai-ci-?", canonical_id("aoai-ci-77"), False),
        ("*/accounts/aoai", canonical_id("aoai-2"), False),
        ("arn:aws:iam::*:user/Research-*", "arn:aws:iam::210987654321:user/research-anna", True),
        ("arn:aws:iam::*:user/research-*", "arn:aws:iam::210987654321:user/Research-Anna", True),
        (canonical_id(), canonical_id(), True),
        (canonical_id(), canonical_id() + "x", False),
    ],
)
def test_a_pattern_is_held_against_the_whole_first_field(pattern: str, entity: str, *, matched: bool) -> None:
    """Upper and lower case are the same, of the pattern and of what it is held against."""
    assert Scope("model_theft", pattern).matches("model_theft", entity) is matched
    assert Scope(EVERY, pattern).matches("model_theft", entity) is matched
    assert not Scope("denial_of_service", pattern).matches("model_theft", entity)


def test_an_exception_without_callers_explains_whoever_called() -> None:
    """Of its rule and its resource, and of no other."""
    tally = _listed(stranger=500)
    assert _suppressed(THEFT, tally, _rule(resource="*/aoai-prod")) == Suppression("Known.", "platform team", DAY)
    assert _suppressed(THEFT, tally, _rule(resource="*/aoai-test")) is None
    assert _suppressed(THEFT, tally, _rule(rule="denial_of_service")) is None


@pytest.mark.parametrize(("others", "explained"), [(0, True), (99, True), (100, False)])
def test_a_count_is_explained_if_the_rest_stays_below_the_threshold(others: int, *, explained: bool) -> None:
    """Whether others are listed as callers, found no room in the list, or are nobody."""
    suppression_rule = _rule(ROTATION)
    listed = _listed(rotation=400, stranger=others)
    crowded = Tally(count=400 + others, callers={ROTATION: 400}, other_callers=others)
    unnamed = Tally(count=400 + others, callers={ROTATION: 400})
    for tally in (listed, crowded, unnamed):
        assert (_suppressed(THEFT, tally, suppression_rule) is not None) is explained


def test_callers_are_the_same_in_upper_and_lower_case() -> None:
    """Services write ids in both."""
    upper = ROTATION.upper()
    assert _suppressed(THEFT, Tally(count=100, callers={upper: 100}), _rule(ROTATION))
    heavy = Tally(count=1, callers={upper: 1}, caller_bytes={upper: 3_000_000_000})
    assert _suppressed(TRANSFER, heavy, _rule(ROTATION))


def test_another_length_is_explained_only_if_every_record_is_theirs() -> None:
    """Nobody knows whose response was the large one."""
    large = Lengths(2, 2_000_000, 1_999_999)
    suppression_rule = _rule(ROTATION)
    assert _suppressed(THEFT, Tally(count=2, responses=large, callers={ROTATION: 2}), suppression_rule)
    for tally in (
        Tally(count=3, responses=large, callers={ROTATION: 2, STRANGER: 1}),
        Tally(count=3, responses=large, callers={ROTATION: 2}, other_callers=1),
        Tally(count=3, responses=large, callers={ROTATION: 2}),
    ):
        assert _suppressed(THEFT, tally, suppression_rule) is None


def test_of_several_triggers_each_must_be_explained() -> None:
    """Ninety-nine calls of a stranger are below the count, but one of them may be the large one."""
    tally = _listed(rotation=100, stranger=99)
    assert _suppressed(THEFT, tally, _rule(ROTATION))
    tally.responses = Lengths(1, 5_000_000, 5_000_000)
    assert _suppressed(THEFT, tally, _rule(ROTATION)) is None


def test_where_all_must_hold_together_one_that_falls_away_is_enough() -> None:
    """Nine prompts of a stranger are no flood, however long they are."""
    long = Lengths(19, 19 * 9_000, 9_000)
    assert _suppressed(FLOOD, Tally(count=19, requests=long, callers={ROTATION: 10, STRANGER: 9}), _rule(ROTATION))
    tally = Tally(count=20, requests=long, callers={ROTATION: 10, STRANGER: 10})
    assert _suppressed(FLOOD, tally, _rule(ROTATION)) is None


def test_a_newcomer_can_be_announced() -> None:
    """Nothing is left of the finding without the one it is about."""
    tally = Tally(count=3, callers={ROTATION: 3})
    assert _suppressed(NEWCOMER, tally, _rule(ROTATION), days_watched=20)
    assert _suppressed(NEWCOMER, tally, _rule(STRANGER), days_watched=20) is None


@pytest.mark.parametrize(
    ("others", "beyond", "explained"),
    [
        (999_999_999, 0, True),
        (1_000_000_000, 0, False),
        (0, 999_999_999, True),
        (0, 1_000_000_000, False),
        (500_000_000, 499_999_999, True),
        (500_000_000, 500_000_000, False),
    ],
)
def test_bytes_are_explained_if_nobody_else_can_have_had_that_many(
    others: int, beyond: int, *, explained: bool
) -> None:
    """What has no room in the list may all be of one caller, who is in the list with the rest of it."""
    tally = Tally(
        count=9,
        callers={ROTATION: 4, STRANGER: 5},
        caller_bytes={ROTATION: 3_000_000_000, STRANGER: others},
        other_bytes=beyond,
    )
    assert (_suppressed(TRANSFER, tally, _rule(ROTATION)) is not None) is explained


def test_a_heavy_caller_who_came_late_is_known_by_his_bytes() -> None:
    """He found no room among the callers, and is exempt all the same."""
    tally = Tally(count=60, callers={STRANGER: 50}, other_callers=10, caller_bytes={ROTATION: 3_000_000_000})
    assert _suppressed(TRANSFER, tally, _rule(ROTATION))


def test_several_exceptions_add_up_their_callers() -> None:
    """Neither explains it alone; the finding names both, and stays explained until the first of them ends."""
    tally = _listed(rotation=150, third=150)
    first = _rule(ROTATION, reason="Rotation.", expires=date(2027, 1, 2))
    second = _rule(THIRD, reason="Inventory.", expires=date(2027, 1, 1))
    idle = _rule(STRANGER, reason="Was not there.", expires=date(2026, 12, 1))
    assert _suppressed(THEFT, tally, first) is None
    assert _suppressed(THEFT, tally, second) is None
    assert _suppressed(THEFT, tally, idle, first, second) == Suppression(
        "Rotation.; Inventory.", "platform team", date(2027, 1, 1)
    )


def test_an_expired_exception_adds_nothing() -> None:
    """Nor one for another resource or rule."""
    tally = _listed(rotation=150, third=150)
    for second in (
        _rule(THIRD, expires=START.date() - timedelta(days=1)),
        _rule(THIRD, resource="*/aoai-test"),
        _rule(THIRD, rule="new_key_lister"),
    ):
        assert _suppressed(THEFT, tally, _rule(ROTATION), second) is None


def test_a_finding_names_no_more_exceptions_than_have_room() -> None:
    """Its column is bounded, however many explain it together."""
    callers = [f"{number:08}-4b5c-4d6e-8f70-8192a3b4c5d6" for number in range(MAX_CALLERS)]
    suppression_rules = [_rule(caller, reason=caller) for caller in callers]
    found = _suppressed(THEFT, Tally(count=500, callers=dict.fromkeys(callers, 10)), *suppression_rules)
    assert found is not None
    assert found.reason.split("; ") == callers[:MAX_NAMED]


@given(
    counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 80), min_size=1),
    unlisted=st.integers(0, 120),
    exempt=st.sets(st.sampled_from("abcdef"), min_size=1),
)
def test_a_finding_is_explained_if_and_only_if_it_is_none_without_the_exempt(
    counts: dict[str, int], unlisted: int, exempt: set[str]
) -> None:
    """Against the rule itself, given only the records of the others."""
    tally = Tally(count=sum(counts.values()) + unlisted, callers=counts, other_callers=unlisted)
    rest = Tally(count=tally.count - sum(counts.get(caller, 0) for caller in exempt))
    policy, numbers = Policy(suppression_rules=[_rule(*exempt)]), {"count": 100, "response_length": 1}
    triggers = BY_ID["model_theft"].triggers(tally, numbers)
    if triggers:
        found = policy.suppression(THEFT, tally, triggers, START)
        assert (found is not None) is (not BY_ID["model_theft"].triggers(rest, numbers))


def test_a_known_burst_is_posted_without_an_alert_until_its_exception_expires() -> None:
    """Then the same goes on as New: nobody was alerted before."""
    suppression_rule = _rule(ROTATION, rule="model_theft", reason="Rotation.")
    policy = Policy({"model_theft": {"count": 100, "response_length": 1_000_000}}, suppression_rules=[suppression_rule])
    deployment = Deployment(policy=policy)
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    for minutes in range(-65, 35, 5):
        deployment.receive(midnight + timedelta(minutes=minutes), 20)
    deployment.tick(midnight + timedelta(minutes=20))  # also what is caught up goes by its own time
    assert [(end, status) for end, status, _ in deployment.posted.course()[-5:]] == [
        ("23:40", "Suppressed"),
        ("23:50", "Suppressed"),
        ("00:00", "Suppressed"),
        ("00:10", "New"),
        ("00:20", "Ongoing"),
    ]
    explained = {"Reason": "Rotation.", "Owner": "platform team", "Expires": "2026-11-23"}
    rows = sorted(deployment.posted.newest().values(), key=lambda row: str(row["WindowEnd"]))
    assert [row["Suppression"] for row in rows[-3:]] == [explained, None, None]
    assert len({row["EpisodeId"] for row in rows[-5:]}) == 1
    listed = [beat["ExpiredExceptions"] for beat in deployment.posted.beats[-3:]]
    gone = {"RuleId": "model_theft", "Resource": "*", "Callers": 1, "Owner": "platform team", "Expires": "2026-11-23"}
    assert listed == [[], [gone], [gone]]


def test_a_stranger_who_joins_a_known_burst_makes_it_new() -> None:
    """From the first window in which what he does would fire alone."""
    policy = Policy({"model_theft": {"count": 100, "response_length": 1_000_000}}, suppression_rules=[_rule(ROTATION)])
    deployment = Deployment(policy=policy)
    deployment.receive(START, 300, caller=ROTATION)
    deployment.receive(START + timedelta(minutes=10), 99, caller=STRANGER)
    deployment.receive(START + timedelta(minutes=20), 1, caller=STRANGER)
    for minutes in (10, 20, 30, 40):
        deployment.tick(START + timedelta(minutes=minutes))
    assert [(status, count) for _, status, count in deployment.posted.course()] == [
        ("Suppressed", 300),
        ("Suppressed", 399),
        ("New", 400),
        ("Ongoing", 400),
    ]
