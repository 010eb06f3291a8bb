"""What sets off each rule, and the alerts that Sentinel makes of it."""

from collections.abc import Callable
from datetime import datetime, timedelta

from detectors.examples.catalogue import WRITERS
from detectors.sources.source import Value
from infra.sentinel import analytic_rules
from tests.builders import START, assessment, bedrock, canonical_id, chat, list_key, refused
from tests.infra.kql import Deployment, Row, ScheduledRule

TICK = timedelta(seconds=45)
SWEEPER = "3e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6"
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


def written(source: str, times: int = 1, **fields: Value) -> list[Row]:
    """Return records of a source as it writes them; `{n}` in a text counts them."""
    writer = WRITERS[source]
    each = [
        {name: value.replace("{n}", str(number)) if isinstance(value, str) else value for name, value in fields.items()}
        for number in range(times)
    ]
    return [writer.write(writer.complete(one, 0), START) for one in each]


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
    "bedrock_guardrail_violations": lambda minute: [blocked()] * (2 if minute < 10 else 3),
    "key_sweep": lambda minute: written("azure_activity", 6 + minute, resource="swept-{n}", caller=SWEEPER),
    "first_key_listing": lambda _: [list_key("keyless", caller=STRANGER)],
    "first_key_use": lambda _: written("azure_openai", resource=canonical_id("keyless"), caller="203.0.113.***"),
    "diagnostics_removed": lambda minute: written(
        "azure_activity",
        minute,
        operation="MICROSOFT.INSIGHTS/DIAGNOSTICSETTINGS/DELETE",
        resource="blinded",
        caller=STRANGER,
    ),
    "refused_access": lambda minute: written("azure_openai", 50 + minute, status="401", caller=STRANGER),
    "refused_requests": lambda minute: written("azure_openai", 20 + minute, status="400", caller=STRANGER),
    "bedrock_model_enumeration": lambda minute: written(
        "aws_bedrock", 5 + minute, error="AccessDeniedException", principal="explorer", model="vendor.model-{n}"
    ),
    "bedrock_missing_models": lambda minute: written(
        "aws_bedrock", 4 + minute, error="ResourceNotFoundException", principal="prober"
    ),
    "bedrock_blocked_requests": lambda minute: written(
        "aws_bedrock", 6 + minute, intervened="yes", principal="visitors"
    ),
    "bedrock_token_burst": lambda minute: written(
        "aws_bedrock", 11 + minute, input_tokens=9_000, output_tokens=600, principal="spender"
    ),
    "bedrock_logging_disabled": lambda minute: written(
        "aws_cloudtrail", minute, event="DeleteModelInvocationLoggingConfiguration", principal="intruder"
    ),
    "bedrock_guardrail_weakened": lambda minute: written(
        "aws_cloudtrail", minute, event="DeleteGuardrail", principal="intruder"
    ),
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
