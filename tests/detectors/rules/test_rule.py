"""Rules: what model theft selects, when thresholds fire, and what holds for the whole catalogue."""

import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from detectors.configuration.settings import setting_of
from detectors.ingestion.counting import BatchCounter
from detectors.ingestion.delta import Delta
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Condition, Rule, Selection, Threshold, Trigger, measure
from detectors.rules.tally import Key, Lengths, Tally
from tests.builders import START, canonical_id, chat, event, list_key, of_rules

MODEL_THEFT = BY_ID["model_theft"]

DEFAULTS = {threshold.name: threshold.at_least for threshold in MODEL_THEFT.thresholds}
COUNT = Threshold("count", "count", at_least=10)
LENGTH = Threshold("request_length", "avg_request_length", at_least=5000)
FLOOD = replace(MODEL_THEFT, id="flood", thresholds=(COUNT, LENGTH), requires="all")


def _counted(changes: Mapping[str, Any]) -> Delta:
    return BatchCounter([MODEL_THEFT]).count([event(1, {**list_key(), **changes})], START)


def _fired(rule: Rule, tally: Tally) -> list[str]:
    at_least = {threshold.name: threshold.at_least for threshold in rule.thresholds}
    return [trigger.threshold for trigger in rule.triggers(tally, at_least)]


def test_model_theft_selects_key_readings() -> None:
    """The one operation of the one category, and groups by the whole resource."""
    assert list(of_rules(_counted({}).tallies)) == [Key("model_theft", (canonical_id(),))]


@pytest.mark.parametrize(
    "changes",
    [
        {"operationName": "listkey"},
        {"operationName": "ListKeys"},
        {"operationName": "LISTKEY"},
        {"operationName": " ListKey"},
        {"operationName": "RegenerateKey"},
        {"operationName": None},
        {"category": "audit"},
        {"category": "Audit "},
        {"category": "RequestResponse"},
        {"category": None},
        chat(),
    ],
)
def test_model_theft_selects_nothing_else(changes: Mapping[str, Any]) -> None:
    """Case and spelling are exact, as in the upstream rule."""
    delta = _counted(changes)
    assert (delta.tallies, delta.flaws) == ({}, [])


@pytest.mark.parametrize("resource_id", [None, "", "aoai-prod", "/subscriptions/s"])
def test_a_key_reading_without_a_resource_has_no_group(resource_id: str | None) -> None:
    """It is not counted for a made-up one."""
    delta = _counted({"resourceId": resource_id})
    assert (delta.tallies, delta.counters.quarantined) == ({}, {"no_resource": 1})


@pytest.mark.parametrize(
    ("count", "largest", "fired"),
    [
        (99, None, []),
        (100, None, ["count"]),
        (1, 999_999, []),
        (1, 1_000_000, ["response_length"]),
        (99, 999_999, []),
        (100, 1_000_000, ["count", "response_length"]),
        (0, None, []),
    ],
)
def test_model_theft_fires_at_its_thresholds(count: int, largest: int | None, fired: list[str]) -> None:
    """Either will do; a value equal to the threshold fires, one below does not."""
    responses = Lengths() if largest is None else Lengths(1, largest, largest)
    assert _fired(MODEL_THEFT, Tally(count=count, responses=responses)) == fired


def test_a_trigger_says_what_was_reached_and_by_how_much() -> None:
    """Under the thresholds in force, which need not be the defaults."""
    tally = Tally(count=120, responses=Lengths(3, 60, 40))
    assert MODEL_THEFT.triggers(tally, {"count": 120, "response_length": 40}) == (
        Trigger("count", "count", 120, 120),
        Trigger("response_length", "max_response_length", 40, 40),
    )
    assert MODEL_THEFT.triggers(tally, {"count": 121, "response_length": 41}) == ()


def test_nobody_who_got_bytes_is_not_somebody_who_got_0() -> None:
    """A threshold of bytes by caller has nothing to look at then."""
    assert measure(Tally(count=1), "max_caller_bytes") is None
    assert measure(Tally(count=2, caller_bytes={"a": 0, "b": 7}), "max_caller_bytes") == 7


def test_a_number_that_cannot_be_read_may_be_whatever_a_selection_asks_for() -> None:
    """What is not there, or too small, is not."""
    selection = Selection("azure_openai", (), (Condition("response_length", "at_least", (5,)),))
    assert selection.measures({}, {"response_length"})
    assert not selection.measures({}, {"request_length"})
    assert not selection.measures({"response_length": 4})


def test_a_missing_length_is_not_a_length_of_0() -> None:
    """It takes no part in maximum and mean, so that a threshold of 0 would not fire on it."""
    without, with_zero = Tally(count=4), Tally(count=4, responses=Lengths(1, 0, 0), requests=Lengths(1, 0, 0))
    assert (measure(without, "max_response_length"), measure(without, "avg_request_length")) == (None, None)
    assert (measure(with_zero, "max_response_length"), measure(with_zero, "avg_request_length")) == (0, 0)
    assert MODEL_THEFT.triggers(without, {"count": 5, "response_length": 0}) == ()


def test_a_mean_is_over_the_records_that_carry_a_length() -> None:
    """Not over all of them."""
    assert measure(Tally(count=100, requests=Lengths(2, 10_001, 9_000)), "avg_request_length") == 5000.5


@pytest.mark.parametrize(
    ("count", "requests", "fired"),
    [
        (10, Lengths(2, 10_000, 9_000), ["count", "request_length"]),
        (9, Lengths(2, 10_000, 9_000), []),
        (10, Lengths(2, 9_999, 9_000), []),
        (10, Lengths(), []),
        (9, Lengths(), []),
    ],
)
def test_a_rule_that_requires_all_fires_only_when_all_hold(count: int, requests: Lengths, fired: list[str]) -> None:
    """One threshold reached alone, or one that cannot be measured, is nothing."""
    assert _fired(FLOOD, Tally(count=count, requests=requests)) == fired


def test_the_same_thresholds_fire_one_by_one_in_a_rule_that_requires_any() -> None:
    """The difference is `requires` alone."""
    assert _fired(replace(FLOOD, requires="any"), Tally(count=10)) == ["count"]


def test_model_theft_is_the_upstream_rule() -> None:
    """Its numbers, severity and tags are the contract."""
    rule = MODEL_THEFT
    assert (rule.source_id, rule.severity, rule.risk_score) == ("4021e78d-5293-48d3-adee-a70fa4c18fab", "Medium", 47)
    assert rule.techniques == ("AML.T0044", "LLM10")
    assert DEFAULTS == {"count": 100, "response_length": 1_000_000}
    assert rule.requires == "any"
    assert rule.select == (
        Selection(
            "azure_openai", (Condition("category", "is", ("Audit",)), Condition("operation", "is", ("ListKey",)))
        ),
    )


def test_the_catalogue_has_no_name_twice() -> None:
    """Ids name rules in stored tallies and settings; thresholds are named within their rule."""
    assert list(BY_ID.values()) == list(CATALOGUE)
    settings = [setting_of(rule.id, threshold.name) for rule in CATALOGUE for threshold in rule.thresholds]
    assert len(settings) == len(set(settings))


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.id)
def test_a_rule_of_the_catalogue_is_complete(rule: Rule) -> None:
    """What settings, findings and Sentinel need of it."""
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", rule.id)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+__[A-Z0-9_]+", setting_of(rule.id, t.name)) for t in rule.thresholds)
    assert rule.severity in {"Informational", "Low", "Medium", "High"}
    assert 0 <= rule.risk_score <= 100
    assert rule.version >= 1
    assert rule.thresholds
    assert len(rule.description) > 200
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in rule.group_fields)
    assert len(set(rule.group_fields)) == len(rule.group_fields) >= 1 + rule.per_minute
    assert not (rule.per_minute and rule.first_seen_only)
    assert BatchCounter([rule]).count([event(1, {}, {"schemaType": "ModelInvocationLog"})], START).tallies == {}


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.id)
def test_a_rule_cannot_be_changed(rule: Rule) -> None:
    """Thresholds in force are settings, not changes of the rule."""
    with pytest.raises(FrozenInstanceError):
        rule.risk_score = 0  # type: ignore[misc]


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.id)
def test_an_episode_is_about_all_that_a_rule_groups_by_but_the_minute(rule: Rule) -> None:
    """However many fields there are."""
    group = tuple(f"value of {name}" for name in rule.group_fields)
    assert rule.episode_group(group) == (group[:-1] if rule.per_minute else group)
    assert rule.episode_group(rule.episode_group(group)) == rule.episode_group(group)


@pytest.mark.parametrize(
    "condition",
    [
        Condition("error", "is", (1,)),
        Condition("error", "is_not", (1,)),
        Condition("error", "known", (True,)),
        Condition("error", "at_least", (1,)),
        Condition("error", "at_least", (2,)),
    ],
    ids=lambda condition: f"{condition.test} {condition.values[0]}",
)
def test_values_that_are_equal_pass_the_same_conditions(condition: Condition) -> None:
    """What is decided for one is looked up for the other: a service may write 1, 1.0 or true."""
    equal: list[Any] = [1, 1.0, True]
    assert len({condition.holds(value) for value in equal}) == 1
