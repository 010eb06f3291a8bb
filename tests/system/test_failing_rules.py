"""A rule that cannot be evaluated holds up no other, is reported, and is made up for by the next release."""

from collections.abc import Callable
from typing import Any

import pytest

from detectors import evaluator
from detectors.evaluation import episodes, window
from detectors.reporting.finding import finding
from detectors.rules.rule import Rule
from detectors.storage import journal
from detectors.windows import BUCKET
from tests.builders import START, canonical_id, chat
from tests.deployment import Deployment

BROKEN = "model_theft"


class UnthoughtOfError(Exception):
    """What nobody thought of."""


def _fail() -> None:
    raise UnthoughtOfError("not thought of")


def _triggers(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Rule.triggers
    monkeypatch.setattr(Rule, "triggers", lambda rule, *others: _fail() if rule.id == BROKEN else sound(rule, *others))


def _sightings(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = window.sightings
    monkeypatch.setattr(
        evaluator, "sightings", lambda totals, end: _fail() if next(iter(totals))[0] == BROKEN else sound(totals, end)
    )


def _findings(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = finding
    monkeypatch.setattr(
        evaluator,
        "finding",
        lambda change, *others: _fail() if change.episode.rule_id == BROKEN else sound(change, *others),
    )


def _continued(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = episodes._continued  # noqa: SLF001 - the step of one episode
    monkeypatch.setattr(
        episodes, "_continued", lambda key, *others: _fail() if key.rule_id == BROKEN else sound(key, *others)
    )


def _of(deployment: Deployment, *, broken: bool) -> list[dict[str, Any]]:
    """Return the findings of the rule that fails, as a reader sees them, or those of all others."""
    rows = [row for row in deployment.posted.newest().values() if (row["RuleId"] == BROKEN) is broken]
    return [{name: value for name, value in row.items() if name != "EpisodeId"} for row in rows]


@pytest.mark.parametrize("breaks", [_triggers, _sightings, _findings, _continued])
def test_a_rule_that_fails_holds_up_no_other_and_is_reported(
    monkeypatch: pytest.MonkeyPatch, breaks: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Its open episodes do not end meanwhile; evaluated by the next release, the window says what it would have."""
    sound, broken = Deployment(), Deployment()
    for deployment in (sound, broken):
        deployment.receive(START, 150, length=2_000_000)
        deployment.arrive(START, *[chat(requestLength=9_000)] * 12)
        deployment.tick(START + BUCKET)
        deployment.receive(START + BUCKET, 150, "later")
    sound.tick(START + 2 * BUCKET)
    with monkeypatch.context() as patched:
        breaks(patched)
        assert broken.tick(START + 2 * BUCKET) == ["08:20"]
        assert broken.tick(START + 2 * BUCKET) == []
    assert _of(broken, broken=False) == _of(sound, broken=False)
    beat = broken.posted.beats[-1]
    assert beat["FailedRules"] == [{"RuleId": BROKEN, "Error": "UnthoughtOfError: not thought of"}]
    opened = {episode.group for episode in broken.open_episodes(START + 2 * BUCKET) if episode.rule_id == BROKEN}
    assert (canonical_id(),) in opened
    monkeypatch.setattr(journal, "__version__", "the next release")
    assert broken.tick(START + 2 * BUCKET) == ["08:20"]
    assert broken.posted.beats[-1]["FailedRules"] == []
    assert _of(broken, broken=True) == _of(sound, broken=True)
