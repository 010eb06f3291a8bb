"""Ordinary applications are left in peace for a month, and thieves who come on its last day are not."""

import json
from collections import Counter

import pytest

from detectors.backtest.exports import find
from detectors.backtest.replay import BacktestRequest, Hooks, replay
from detectors.evaluation.episodes import Status
from detectors.evaluation.policy import Policy
from detectors.reporting.finding import Finding
from tests.quiet_month import APPLICATIONS, LAST_DAY, records, thieves

pytestmark = pytest.mark.real

FEWEST = 300
"""Records that even a deployment writes in a month."""


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """Replay the month; return what was found, but for the ends of episodes."""
    folder, found = tmp_path_factory.mktemp("month"), list[Finding]()
    for application in (*APPLICATIONS, thieves):
        lines = [json.dumps(record) for record in records(application)]
        assert len(lines) >= FEWEST
        (folder / f"{application.__name__}.ndjson").write_text("\n".join(lines))
    outcome = replay(find([str(folder)]), BacktestRequest(Policy()), hooks=Hooks(on_finding=found.append))
    assert not outcome.quality.problems
    return [finding for finding in found if finding.status != Status.CLOSED]


def test_nothing_that_applications_do_raises_an_alert(findings: list[Finding]) -> None:
    """Above Informational there is one thing: an owner who never listed the keys of an account before, which is Low."""
    before = [one for one in findings if one.window_end <= LAST_DAY]
    assert {(one.rule_id, one.severity) for one in before if one.severity != "Informational"} == {
        ("new_key_lister", "Low")
    }


def test_what_is_seen_of_applications_is_explained(findings: list[Finding]) -> None:
    """Long prompts and documents, batches, blocked visitors: upstream's numbers are reached every day."""
    seen = Counter(one.rule_id for one in findings if one.window_end <= LAST_DAY)
    assert seen.keys() == {
        "denial_of_service",
        "large_transfer",
        "new_key_lister",
        "bedrock_token_burst",
        "bedrock_blocked_requests",
    }
    assert min(seen.values()) >= 2


def test_thieves_stand_out_at_once(findings: list[Finding]) -> None:
    """By several times the usual of an account, or by being unknown where who refuses and blocks is known."""
    loud = {
        one.rule_id: one.severity for one in findings if one.window_end > LAST_DAY and one.severity != "Informational"
    }
    assert loud == {
        "denial_of_service": "Medium",
        "first_key_use": "Medium",
        "refused_requests": "Medium",
        "bedrock_blocked_requests": "Medium",
        "bedrock_token_burst": "Low",
    }
