"""What is in force for a rule and a resource, why, and which rules are counted at all."""

import pickle
from dataclasses import replace
from typing import Any

import pytest

from detectors.evaluation import policy as module
from detectors.evaluation.policy import EffectiveThresholds, Policy, PolicyChange, Resolved
from detectors.evaluation.suppressions import EVERY, Scope
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.tally import Key
from tests.builders import START, canonical_id, event, list_key

THEFT = {"count": 100, "response_length": 1_000_000}
PROD = Key("model_theft", (canonical_id("aoai-prod"),))
CI = Key("model_theft", (canonical_id("aoai-ci-7"),))
FLOOD = Key("denial_of_service", (canonical_id("aoai-prod"), "2026-11-23T08:00Z"))


def _change(rule: str = "model_theft", resource: str = EVERY, **values: Any) -> PolicyChange:  # noqa: ANN401 - of any field
    return PolicyChange(values.pop("origin", "here"), Scope(rule, resource), **values)


def test_without_changes_the_catalogue_holds_everywhere() -> None:
    """Every rule is on, with its own numbers and severity."""
    policy = Policy()
    assert policy.rules == CATALOGUE
    for rule in CATALOGUE:
        numbers = {threshold.name: threshold.at_least for threshold in rule.thresholds}
        assert policy.effective(Key(rule.id, ("anything",))) == EffectiveThresholds(numbers, rule.severity)


def test_a_rule_without_numbers_is_off_whatever_changes() -> None:
    """Plain numbers make a policy of just these rules."""
    policy = Policy({"model_theft": THEFT}, [_change(EVERY, enabled=True, severity="High")])
    assert policy.rules == (BY_ID["model_theft"],)
    assert policy.effective(PROD) == EffectiveThresholds(THEFT, "High")
    assert policy.effective(FLOOD) is None
    assert not policy.resolve("denial_of_service", "x").enabled.value


def test_the_later_of_two_changes_wins_value_by_value() -> None:
    """What the later one does not say stays as the earlier one has it."""
    changes = [_change(thresholds={"count": 7, "response_length": 8}, severity="Low"), _change(thresholds={"count": 9})]
    assert Policy(changes=changes).effective(PROD) == EffectiveThresholds({"count": 9, "response_length": 8}, "Low")
    assert Policy(changes=changes[::-1]).effective(PROD) == EffectiveThresholds(
        {"count": 7, "response_length": 8}, "Low"
    )


def test_a_change_for_resources_leaves_the_others_alone() -> None:
    """On the same policy, asked again and again."""
    policy = Policy(changes=[_change(resource="*/accounts/aoai-ci-*", thresholds={"count": 5})])
    for _ in range(2):
        assert policy.effective(CI) == EffectiveThresholds({**THEFT, "count": 5}, "Medium")
        assert policy.effective(PROD) == EffectiveThresholds(THEFT, "Medium")


def test_a_change_for_one_rule_leaves_the_others_alone() -> None:
    """Though both have a threshold of that name."""
    policy = Policy(changes=[_change(thresholds={"count": 5})])
    assert policy.effective(FLOOD) == Policy().effective(FLOOD)


def test_a_change_for_every_rule_reaches_those_that_know_the_value() -> None:
    """A rule without that threshold gets none."""
    policy = Policy(changes=[_change(EVERY, thresholds={"count": 5, "caller_bytes": 6})])
    assert policy.effective(PROD) == EffectiveThresholds({**THEFT, "count": 5}, "Medium")
    assert policy.effective(Key("large_transfer", PROD.group)) == EffectiveThresholds(
        {"response_length": 1_000_000, "caller_bytes": 6}, "Medium"
    )


def test_minutes_and_callers_of_a_resource_share_its_terms() -> None:
    """The first group field decides, and it alone is remembered."""
    policy = Policy(changes=[_change("denial_of_service", "*/aoai-prod", enabled=False)])
    assert policy.effective(FLOOD) is None
    assert policy.effective(Key("denial_of_service", (canonical_id("aoai-prod"), "2026-11-23T08:01Z"))) is None
    assert policy.effective(Key("denial_of_service", (canonical_id("aoai-test"), "2026-11-23T08:00Z"))) is not None


def test_terms_are_remembered_but_not_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes up resources does not fill the memory; what is let go of is worked out again."""
    monkeypatch.setattr(module, "_MAX_REMEMBERED", 3)
    policy = Policy(changes=[_change(resource="*-2", enabled=False)])
    for _ in range(2):
        for number in range(10):
            assert (policy.effective(Key("model_theft", (f"r-{number}",))) is None) is (number == 2)
            assert len(policy._remembered) <= 3  # noqa: SLF001 - the bound cannot be seen from outside
    assert policy.effective(Key("model_theft", ("r-9",))) is policy.effective(Key("model_theft", ("r-9",)))


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ([_change(enabled=False)], False),
        ([_change(EVERY, enabled=False)], False),
        ([_change("denial_of_service", enabled=False)], True),
        ([_change(resource="*/aoai-prod", enabled=False)], True),
        ([_change(enabled=False), _change(resource="*/aoai-prod", enabled=True)], True),
        ([_change(resource="*/aoai-prod", enabled=True), _change(enabled=False)], False),
        ([_change(enabled=False), _change(resource="*/aoai-prod", enabled=False)], False),
        ([_change(enabled=False), _change(thresholds={"count": 5}), _change(severity="High")], False),
        ([_change(enabled=False), _change(enabled=True)], True),
    ],
)
def test_a_rule_is_counted_if_some_resource_may_have_it_on(changes: list[PolicyChange], *, counted: bool) -> None:
    """What is off everywhere is not looked for at all."""
    policy = Policy(changes=changes)
    delta = BatchCounter(policy.rules).count([event(1, list_key())], START)
    assert ("model_theft" in delta.counters.selected) is counted
    assert any(key.rule_id == "model_theft" for key in delta.tallies) is counted
    assert "new_key_lister" in delta.counters.selected or changes[0].scope.rule == EVERY


def test_every_value_says_where_it_comes_from() -> None:
    """The last change that set it, with its reason; the catalogue otherwise."""
    changes = [
        _change(origin="file rules", enabled=True, thresholds={"count": 5, "response_length": 6}),
        _change(origin="file 1", resource="*-ci-*", thresholds={"count": 7}, reason="Integration tests."),
        _change(origin="file 2", resource="*-other-*", thresholds={"count": 8}, reason="Not this one."),
        _change(origin="file 3", rule=EVERY, severity="Low", reason="Only tests."),
    ]
    found = Policy(changes=changes).resolve("model_theft", CI.group[0])
    assert found.enabled == Resolved(value=True, origin="file rules", reason="")
    assert found.severity == Resolved("Low", "file 3", "Only tests.")
    assert found.thresholds == {
        "count": Resolved(7, "file 1", "Integration tests."),
        "response_length": Resolved(6, "file rules", ""),
    }
    assert found.effective == EffectiveThresholds({"count": 7, "response_length": 6}, "Low")
    assert Policy().resolve("model_theft", "x").severity == Resolved("Medium", "default", "")


def test_one_number_can_be_tried_for_one_rule() -> None:
    """Above everything else that holds, for every resource; the other rules are off, and the policy is as it was."""
    policy = Policy(
        changes=[_change(resource="*-ci-*", thresholds={"count": 5, "response_length": 6}), _change(severity="High")]
    )
    tried = policy.alone("model_theft").with_number("model_theft", "count", 42)
    assert tried.rules == (BY_ID["model_theft"],)
    assert tried.effective(CI) == EffectiveThresholds({"count": 42, "response_length": 6}, "High")
    assert tried.effective(PROD) == EffectiveThresholds({"count": 42, "response_length": 1_000_000}, "High")
    assert tried.effective(FLOOD) is None
    assert policy.effective(CI) == EffectiveThresholds({"count": 5, "response_length": 6}, "High")


def test_what_is_remembered_is_no_part_of_a_policy() -> None:
    """Equal before and after it was asked; and it goes to other processes."""
    policy = Policy(changes=(_change(resource="*-ci-*", enabled=False),))
    policy.effective(CI)
    assert policy == replace(policy) == pickle.loads(pickle.dumps(policy))  # noqa: S301 - made here


def test_no_threshold_is_called_like_another_value_of_the_tuning_file() -> None:
    """Settings and tuning file name both in one place."""
    names = {threshold.name for rule in CATALOGUE for threshold in rule.thresholds}
    assert names.isdisjoint({"enabled", "severity", "rule", "resource", "reason"})
