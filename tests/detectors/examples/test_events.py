"""The events of an example as records: how many, when, and what they say."""

from datetime import timedelta

import pytest

from detectors.examples.events import fields_of, happenings
from detectors.examples.play import START
from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Condition, Example, ExampleEvent, Selection
from detectors.sources.source import Value
from tests.detectors.examples.rules import rule_of

AZURE = "azure_openai"
MINUTE = timedelta(minutes=1)


def test_records_spread_evenly_from_the_start_on() -> None:
    """The last one before the end: a hundred in sixty minutes are in one hour."""
    events = (ExampleEvent(AZURE, {}, times=4, over_minutes=60), ExampleEvent(AZURE, {}, times=2, after_minutes=90))
    times = [one.at - START for one in happenings(BY_ID["model_theft"], Example("", events, fires=True), START)]
    assert times == [0 * MINUTE, 15 * MINUTE, 30 * MINUTE, 45 * MINUTE, 90 * MINUTE, 90 * MINUTE]


def test_records_of_days_before_keep_the_time_of_the_day() -> None:
    """They may spread and be moved as well."""
    event = ExampleEvent(AZURE, {}, times=2, over_minutes=2, after_minutes=5, days_before=14)
    times = [one.at - START for one in happenings(BY_ID["model_theft"], Example("", (event,), fires=True), START)]
    assert times == [timedelta(days=-14) + 5 * MINUTE, timedelta(days=-14) + 6 * MINUTE]


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (Condition("status", "is", ("400",)), {"status": "400"}),
        (Condition("status", "is", ("400", "401")), {"status": "400"}),
        (Condition("status", "is_not", ("200",)), {}),
        (Condition("status", "known", (True,)), {}),
        (Condition("status", "known", (False,)), {"status": None}),
        (Condition("response_length", "at_least", (7,)), {"response_length": 7}),
    ],
)
def test_an_event_says_what_the_rule_asks_for(condition: Condition, wanted: dict[str, Value]) -> None:
    """The least of it, unless it says otherwise."""
    rule = rule_of(Selection(AZURE, (condition,)))
    assert fields_of(rule, ExampleEvent(AZURE, {}), 1) == wanted
    assert fields_of(rule, ExampleEvent(AZURE, {condition.field: "5"}), 1) == {condition.field: "5"}


def test_an_event_of_another_source_says_what_is_asked_of_that_one() -> None:
    """A rule may read several logs."""
    azure, bedrock = Condition("status", "is", ("400",)), Condition("error", "is", ("Refused",))
    rule = rule_of(Selection(AZURE, (azure,)), Selection("aws_bedrock", (bedrock,)))
    assert fields_of(rule, ExampleEvent("aws_bedrock", {}), 1) == {"error": "Refused"}


def test_a_text_may_count_the_records() -> None:
    """Each of them is of another caller then."""
    event = ExampleEvent(AZURE, {"caller": "caller {n}", "resource": "aoai-{n}"}, times=3)
    made = list(happenings(BY_ID["model_theft"], Example("", (event,), fires=True), START))
    assert len({one.fields["caller"] for one in made}) == 3
    assert [str(one.record["resourceId"])[-6:] for one in made] == ["AOAI-1", "AOAI-2", "AOAI-3"]
