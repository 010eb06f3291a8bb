"""What the report says of rules of all kinds: minutes, severities, exceptions, groups of several fields."""

from datetime import date, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from detectors.backtest.outcome import EpisodeSummary, Outcome, Quality, Timeline
from detectors.backtest.presentation import counted_entities
from detectors.backtest.report import render
from detectors.backtest.report.page import template_environment
from detectors.backtest.report.quality import lengths
from detectors.backtest.report.scales import STEP
from detectors.evaluation.suppressions import Suppression
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.counters import Selected
from detectors.rules.rule import Number
from tests.builders import canonical_id
from tests.detectors.backtest.outcomes import BEGIN, MADE, month, quality

MINUTES = EpisodeSummary(
    episode_id="e",
    rule_id="denial_of_service",
    resource=canonical_id(),
    first_window=BEGIN + timedelta(minutes=10),
    last_window=BEGIN + timedelta(minutes=30),
    windows=3,
    severity="High",
    peaks={"count": 24, "request_length": 9_000.5},
)
NUMBERS = {"denial_of_service": {"count": 10, "request_length": 5_000}}


def _of_minutes(*episodes: EpisodeSummary, **changes: object) -> Outcome:
    """Return an outcome of the rule that looks at minutes."""
    values: dict[str, Any] = {
        "quality": quality(selected={"denial_of_service": Selected(900, 0)}),
        "rules": ["denial_of_service"],
        "thresholds": NUMBERS,
        "severities": {"denial_of_service": "Low"},
        "episodes": list(episodes),
        **changes,
    }
    return Outcome(**values)


def test_what_is_per_minute_is_called_minutes() -> None:
    """In the table of rules, of episodes and on timelines; hours are not."""
    at = int(BEGIN.timestamp())
    points: list[tuple[int, Number]] = [(at + 180, 4), (at + 540, 24), (at + 600, 12)]
    drawn = Timeline(
        rule_id="denial_of_service", threshold="count", measure="count", at_least=10, resource="x", points=points
    )
    page = render(_of_minutes(MINUTES, timelines=[drawn]), MADE)
    assert "count ≥ 10 records and request_length ≥ 5,000 bytes in a minute" in page
    assert ">3<small>minutes</small>" in page
    assert ": records in the minute" in page
    assert (
        "Peak 24 records at 2026-10-01 00:09; 2 minutes at or above 10, which fires only with request_length." in page
    )
    hours = render(month(), MADE)
    assert "count ≥ 100 records or response_length ≥ 1,000,000 bytes in an hour" in hours
    assert "records in the minute" not in hours
    assert "<small>minutes</small>" not in hours


def test_a_minute_stands_where_the_window_ends_that_first_held_it() -> None:
    """In the column of its episode, not before it: of ten minutes the largest is drawn."""
    at = int(BEGIN.timestamp())
    points: list[tuple[int, Number]] = [(at + 60, 4), (at + 540, 24), (at + 600, 12)]
    drawn = Timeline(
        rule_id="denial_of_service", threshold="count", measure="count", at_least=10, resource="x", points=points
    )
    outcome = _of_minutes(timelines=[drawn], quality=Quality())
    page = render(outcome, MADE)
    assert f'data-first="{at + STEP}"' in page
    assert 'data-values="0:24 1:12"' in page


def test_the_severity_in_force_is_shown() -> None:
    """Of the rule where no resource has its own, and of each episode."""
    page = render(_of_minutes(MINUTES), MADE)
    header, episodes = page.split('id="episodes"')
    assert "severity low" in header
    assert "severity high" not in header
    assert "severity high" in episodes.partition("</section>")[0]


@pytest.mark.parametrize(
    ("suppressed", "state", "more"),
    [(3, "◌ suppressed", ""), (1, "● open", "1 of 3 suppressed"), (0, "● open", "")],
)
def test_what_an_exception_explains_is_shown_with_its_reason(suppressed: int, state: str, more: str) -> None:
    """All of an episode or a part of it; and how many episodes alert nobody."""
    explained = Suppression("The <nightly> rotation.", "platform team", date(2027, 3, 31)) if suppressed else None
    page = render(_of_minutes(replace(MINUTES, suppressed=suppressed, suppression=explained)), MADE)
    assert f">{state}<" in page
    assert ("The &lt;nightly&gt; rotation." in page) == (suppressed > 0)
    assert ("platform team, until 2027-03-31" in page) == (suppressed > 0)
    assert more in page
    assert ("of 3 suppressed" in page) == bool(more)
    assert f"<dt>Suppressed episodes</dt><dd>{int(suppressed == 3)}</dd>" in page


def test_what_a_group_is_made_of_stands_below_its_name() -> None:
    """With the names of the fields, as a number alone says nothing; the name is what people know it by."""
    arn = "arn:aws:sts::111122223333:assumed-role/app-prod/dana"
    group = f"{arn} anthropic.claude-3 111122223333 3"
    label = template_environment().get_template("parts.html").make_module().resource  # type: ignore[attr-defined]
    shown = label(BY_ID["bedrock_guardrail_violations"], group)
    for text in (
        "<strong>assumed-role/app-prod/dana</strong>",
        "<small>ModelId anthropic.claude-3</small>",
        "<small>AccountId 111122223333</small>",
        "<small>Violations 3</small>",
    ):
        assert text in shown
    newcomer = label(BY_ID["new_key_lister"], f"{canonical_id()} eve")
    assert "<strong>aoai-prod</strong>" in newcomer
    assert "<small>Caller eve</small>" in newcomer


@pytest.mark.parametrize(
    ("subjects", "text"),
    [
        ([], "0 resources"),
        ([canonical_id(), f"{canonical_id()} eve", f"{canonical_id()} dan"], "1 resource"),
        ([canonical_id(), "arn:aws:iam::1:user/dana m 1", "arn:aws:iam::1:user/dana n 1"], "1 resource and 1 user"),
        (["arn:aws:iam::1:user/dana m 1", "arn:aws:iam::1:user/eli m 1"], "2 users"),
    ],
)
def test_resources_and_users_are_counted_once(subjects: list[str], text: str) -> None:
    """Whatever else they were grouped by."""
    assert counted_entities(subjects) == text


def test_a_sweep_says_where_it_overrules_single_resources() -> None:
    """Its number in force is not what the backtest did there."""
    sentence = "also for those that have a number of their own"
    assert sentence not in render(month(), MADE)
    assert sentence in render(month(trials=[replace(trial, overrules=True) for trial in month().trials]), MADE)


def test_only_rules_with_a_threshold_on_lengths_are_told_about_lengths() -> None:
    """Of eight rules that would be eight lines."""
    read = quality(selected={rule.id: Selected(5, 0) for rule in CATALOGUE})
    told = [text.partition(":")[0] for text, _ in lengths(read, list(BY_ID))]
    assert told == [BY_ID["model_theft"].name, BY_ID["large_transfer"].name]
