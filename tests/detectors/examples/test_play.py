"""The examples of the rules, played: they are each rule's test."""

from dataclasses import replace

import pytest

from detectors.examples.play import play
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Example, ExampleEvent, Rule, Threshold

EVENT = ExampleEvent("azure_openai", {})
EXAMPLES = [pytest.param(rule, one, id=f"{rule.id}: {one.says}") for rule in CATALOGUE for one in rule.examples]
THRESHOLDS = [pytest.param(rule, one, id=f"{rule.id} {one.name}") for rule in CATALOGUE for one in rule.thresholds]


def _moved(rule: Rule, threshold: Threshold, by: int) -> Rule:
    """Return the rule with one number moved."""
    moved = [replace(one, at_least=one.at_least + by * (one == threshold)) for one in rule.thresholds]
    return replace(rule, thresholds=tuple(moved))


def _changes(rule: Rule, moved: Rule, *, fires: bool) -> bool:
    """Whether a moved rule says otherwise of an example."""
    return any(one.fires is fires and not play(moved, one).holds for one in rule.examples)


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_a_rule_does_what_its_example_says(rule: Rule, example: Example) -> None:
    """Through counting, buckets and evaluation; and every record of it is a sound one, but for what it leaves out."""
    played = play(rule, example)
    assert played.fires is example.fires
    assert not played.quarantined


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: str(rule.id))
def test_a_rule_has_examples_that_fire_and_that_do_not(rule: Rule) -> None:
    """Two of each at least, told apart by what they say."""
    assert [one.fires for one in rule.examples].count(True) > 1
    assert [one.fires for one in rule.examples].count(False) > 1
    assert len({one.says for one in rule.examples}) == len(rule.examples)


@pytest.mark.parametrize(("rule", "threshold"), THRESHOLDS)
def test_an_example_stands_at_each_number(rule: Rule, threshold: Threshold) -> None:
    """If the number were one more, an example that fires would not."""
    assert _changes(rule, _moved(rule, threshold, 1), fires=True)


@pytest.mark.parametrize(("rule", "threshold"), THRESHOLDS)
def test_an_example_stands_one_below_each_number(rule: Rule, threshold: Threshold) -> None:
    """If the number were one less, an example that does not fire would."""
    if threshold.at_least > 1:
        assert _changes(rule, _moved(rule, threshold, -1), fires=False)


def test_what_an_example_came_to_is_shown() -> None:
    """The findings as they would have been posted, and records that did not count."""
    rule = BY_ID["model_theft"]
    nameless = ExampleEvent("azure_openai", {"resource": None})
    said = Example("more listings than enough, and one of nobody", (replace(EVENT, times=130), nameless), fires=True)
    played = play(rule, said)
    assert played.holds
    assert {row["EventCount"] for row in played.rows} == {130}
    assert played.quarantined == ["no_resource"]
    assert not play(rule, replace(said, fires=False)).holds


def test_an_example_is_watched_until_its_last_record_has_left_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """An average may rise when others have left: here ten minutes after the last record."""
    rule = replace(BY_ID["denial_of_service"], per_minute=False, group_fields=("ResourceId",))
    monkeypatch.setitem(BY_ID, rule.id, rule)
    short = replace(EVENT, fields={"request_length": 1_000}, times=100)
    long = replace(EVENT, fields={"request_length": 20_000}, times=12, after_minutes=50)
    played = play(rule, Example("long prompts after short ones", (short, long), fires=True))
    assert [row["WindowEnd"][11:16] for row in played.rows] == ["09:10", "09:20", "09:30", "09:40", "09:50"]
