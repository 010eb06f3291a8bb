"""Guardrail violations: one request to Bedrock that several policies of a guardrail block at once.

Harmless prompts touch one policy by accident. One that is blocked for its topic, its words and its content together
was likely written to be.

Upstream: Elastic prebuilt rule f4c2515a-18bb-47ce-a768-1dc4e7b0fe6c (more than one policy in a blocked request, groups,
severity); MITRE ATLAS AML.T0051 LLM Prompt Injection, AML.T0054 LLM Jailbreak.

Different on purpose: upstream lists the names of all policies that matched and the actions of all their items, apart
from each other, so a policy that only masked or watched counts once another one blocked. Here a policy counts if one
of its own items blocked. Upstream reads the prompt's side of streamed answers; here both sides of all answers count,
each policy once.

What it cannot see: calls whose caller asked for no trace, and answers that Bedrock stores apart since they are larger
than 100 KB.
"""

from detectors import bedrock
from detectors.records import Properties, Record
from detectors.rules.bedrock_groups import by_user_model_account_and_violations
from detectors.rules.rule import Rule, Threshold

MIN_POLICIES = 2


def _selects(record: Record, _: Properties) -> bool:
    return record.schema_type == bedrock.SCHEMA and len(bedrock.blocked_policies(record)) >= MIN_POLICIES


BEDROCK_GUARDRAIL_VIOLATIONS = Rule(
    id="bedrock_guardrail_violations",
    name="AWS Bedrock Request Blocked by Several Guardrail Policies",
    version=1,
    source_id="f4c2515a-18bb-47ce-a768-1dc4e7b0fe6c",
    severity="Low",
    risk_score=21,
    techniques=("AML.T0051", "AML.T0054"),
    operations=frozenset({bedrock.SCHEMA}),
    selects=_selects,
    group_fields=("UserArn", "ModelId", "AccountId", "Violations"),
    group=by_user_model_account_and_violations,
    thresholds=(Threshold("count", "count", at_least=1),),
    requires="any",
)
