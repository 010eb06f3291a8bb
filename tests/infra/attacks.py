"""What sets off each rule, and the alerts that Sentinel makes of it."""

from collections.abc import Callable
from datetime import datetime, timedelta

from infra.sentinel import analytic_rules
from tests.builders import START, assessment, bedrock, chat, list_key, refused
from tests.infra.kql import Deployment, Row, ScheduledRule

TICK = timedelta(seconds=45)
STRANGER = "2e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6"


def at(minutes: float) -> datetime:
    """So many minutes after 08:00."""
    return START + timedelta(minutes=minutes)


def clock(minutes: float) -> str:
    """Return the same as records tell it."""
    return f"{at(minutes):%Y-%m-%dT%H:%M:%SZ}"


def long_prompts(minute: int, name: str = "aoai-prod") -> Row:
    """Return a chat completion with a prompt of 6,000 bytes."""
    return chat(name, requestLength=6_000) | {"time": clock(minute)}


def blocked() -> Row:
    """Return a request that two policies of a guardrail blocked."""
    trace = {"guardrail": {"inputAssessment": {"gr": assessment("topicPolicy", "wordPolicy")}}}
    return bedrock(answer={"trace": trace})


ATTACKS: dict[str, Callable[[int], list[Row]]] = {
    "model_theft": lambda minute: [list_key("stolen", caller=STRANGER)] * (120 + 10 * minute),
    "denial_of_service": lambda minute: [long_prompts(minute, "flooded")] * (12 + minute),
    "insecure_output": lambda minute: [chat("probed", responseLength=0)] * (10 + minute),
    "large_transfer": lambda minute: [chat("drained", responseLength=1_500_000 + 100_000 * minute)],
    "new_key_lister": lambda _: [list_key("watched", caller=STRANGER)],
    "bedrock_denied_models": lambda minute: [refused("AccessDeniedException")] * (4 + minute),
    "bedrock_validation_exceptions": (
        lambda minute: [refused("ValidationException", timestamp=clock(minute))] * (4 + minute)
    ),
    "bedrock_guardrail_violations": lambda minute: [blocked()] * (1 + minute),
}
"""What sets off each rule in a minute; a later minute more than doubles it."""


def tick_until(deployment: Deployment, first: int, last: int) -> None:
    """Tick every ten minutes."""
    for minute in range(first, last + 1, 10):
        deployment.tick(at(minute) + TICK)


def alerts(deployment: Deployment, rule_id: str, until: float) -> list[Row]:
    """Return the alerts of a detection, in the order in which they come; without their words."""
    rule = ScheduledRule.load(analytic_rules.path(rule_id).name)
    return [row for _, row in rule.runs(deployment.posting.workspace, at(2), at(until))]


def statuses(deployment: Deployment, rule_id: str, until: float) -> list[str]:
    """Return what each alert of a detection says of its episode."""
    return [row["Status"] for row in alerts(deployment, rule_id, until)]
