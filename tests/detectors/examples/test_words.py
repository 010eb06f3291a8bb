"""Examples in words."""

from dataclasses import replace

from detectors.examples.words import ExampleInWords, examples_of
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Example, ExampleEvent


def test_an_example_says_how_many_records_of_what_and_when() -> None:
    """Only what is not in the rule's selection anyway."""
    events = (
        ExampleEvent("azure_openai", {"caller": "a script"}, times=1_200, over_minutes=50),
        ExampleEvent("azure_openai", {"response_length": 1_000_000, "status": None}, days_before=14),
        ExampleEvent("aws_bedrock", {}, times=2, over_minutes=1, after_minutes=1),
    )
    rule = replace(
        BY_ID["model_theft"], examples=(Example("as usual", events, fires=False), Example("a thief", (), fires=True))
    )
    assert examples_of(rule) == [
        ExampleInWords("a thief", [], fires=True),
        ExampleInWords(
            "as usual",
            [
                "1,200 records over 50 minutes, caller a script",
                "1 record, 14 days before, response_length 1,000,000, no status",
                "2 records over 1 minute, 1 minute later, source aws_bedrock",
            ],
            fires=False,
        ),
    ]


def test_every_rule_has_its_examples_in_words() -> None:
    """None is lost, and each has a line for each of its events."""
    for rule in CATALOGUE:
        told = {one.says: len(one.records) for one in examples_of(rule)}
        assert told == {one.says: len(one.events) for one in rule.examples}
