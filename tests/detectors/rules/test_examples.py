"""Examples as rule files have them: what they mean, and what is refused."""

from pathlib import Path

import pytest

from detectors.rules import reading
from detectors.rules.rule import Example, ExampleEvent, Rule

SOUND = """
id = "mine"
name = "Mine"
description = "What nobody else looks for."
version = 1
severity = "High"
techniques = ["AML.T0044"]
[[select]]
source = "azure_openai"
[group]
by = ["resource"]
[thresholds.count]
measure = "count"
at_least = 3
unit = "Calls"

[[example]]
says = "a caller comes back"
fires = true
events = [
    { times = 3, over_minutes = 5, caller = "a caller", status = { known = false } },
    { after_minutes = 7, days_before = 2, response_length = 5, source = "azure_openai" },
]

[[example]]
says = "nothing of note"
fires = false
events = [{}, { source = "aws_bedrock", error = "Refused" }]
"""


def _read(text: str, folder: Path) -> tuple[Rule | None, list[str]]:
    problems: list[str] = []
    path = folder / "mine.toml"
    path.write_text(text)
    return reading.read(path, problems), problems


def test_examples_are_read(tmp_path: Path) -> None:
    """With what an event says, and what it leaves to the rule and to ordinary records."""
    rule, problems = _read(SOUND, tmp_path)
    assert problems == []
    assert rule
    assert rule.examples == (
        Example(
            "a caller comes back",
            (
                ExampleEvent("azure_openai", {"caller": "a caller", "status": None}, times=3, over_minutes=5),
                ExampleEvent("azure_openai", {"response_length": 5}, after_minutes=7, days_before=2),
            ),
            fires=True,
        ),
        Example(
            "nothing of note",
            (ExampleEvent("azure_openai", {}), ExampleEvent("aws_bedrock", {"error": "Refused"})),
            fires=False,
        ),
    )


@pytest.mark.parametrize(
    ("was", "becomes", "problem"),
    [
        ('says = "a caller comes back"\n', "", "[[example]] 1, line 17: says is missing: give it what happens"),
        ("fires = true", 'fires = "yes"', "[[example]] 1, line 19: fires is 'yes': give it true or false."),
        ("fires = false\n", "", "[[example]] 2, line 25: fires is missing: give it true or false."),
        ("events = [{}, {", "event = [{}, {", "[[example]] 2, line 25: events is missing: give it a list of events"),
        (
            'events = [{}, { source = "aws_bedrock", error = "Refused" }]',
            "events = []",
            "line 28: events is []: give it a list of events, such as [{ times = 100, over_minutes = 50 }].",
        ),
        ("events = [{}, {", "events = [7, {", "line 28: events 1 is 7: give it values between { and }."),
        ("times = 3", "times = 0", "[[example]] 1 events 1, line 20: times is 0: give it a whole number from 1 to"),
        ("times = 3", "time = 3", "[[example]] 1 events 1, line 20: time is not known: did you mean times? There is"),
        ("over_minutes = 5", "over_minutes = 1.5", "line 20: over_minutes is 1.5: give it a whole number from 0 to"),
        ("days_before = 2", "days_before = 366", "events 2, line 20: days_before is 366: give it a whole number"),
        ("{ known = false }", "{ known = true }", "line 20: status is {'known': True}: give it a text, a number, or {"),
        ("response_length = 5", "response_length = true", "line 20: response_length is True: give it a text, a number"),
        ('source = "aws_bedrock"', 'source = "aws"', "[[example]] 2 events 2, line 28: source is 'aws': there is"),
        ('error = "Refused"', 'eror = "Refused"', "line 28: eror is not known: did you mean error? There is caller"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_a_way_out(tmp_path: Path, was: str, becomes: str, problem: str) -> None:
    """Also where an event stands in a list of several lines: then it is the line of the list."""
    assert was in SOUND
    rule, problems = _read(SOUND.replace(was, becomes, 1), tmp_path)
    assert rule is None
    assert problem in problems[0]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """In every example."""
    text = SOUND.replace("times = 3", "times = 0").replace("fires = false", "fires = 0").replace("error", "eror")
    _, problems = _read(text, tmp_path)
    assert len(problems) == 3
