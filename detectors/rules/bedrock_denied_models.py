"""Denied models: one user tries a Bedrock model again and again that the account does not let him use.

An application is denied once, when it is set up, and mended. Who keeps trying looks for a way around what was
approved, or has a stolen identity and finds out what it is good for.

Upstream: Elastic prebuilt rule 17261da3-a6d0-463c-aac8-ea1718afcd20 (selection, threshold, one-hour window, severity);
MITRE ATLAS AML.T0015 Evade AI Model, AML.T0034 Cost Harvesting.

Different on purpose: a record without user, model or account is quarantined, not counted for nobody.
What it cannot see: many models tried less often than that each; calls that never reach Bedrock.
"""

from detectors import bedrock
from detectors.records import Properties, Record
from detectors.rules.bedrock_groups import by_user_model_and_account
from detectors.rules.rule import Rule, Threshold


def _selects(record: Record, _: Properties) -> bool:
    return bedrock.failed_with(record, "AccessDeniedException")


BEDROCK_DENIED_MODELS = Rule(
    id="bedrock_denied_models",
    name="AWS Bedrock Denied Model Tried Repeatedly by One User",
    version=1,
    source_id="17261da3-a6d0-463c-aac8-ea1718afcd20",
    severity="High",
    risk_score=73,
    techniques=("AML.T0015", "AML.T0034"),
    operations=frozenset({bedrock.SCHEMA}),
    selects=_selects,
    group_fields=("UserArn", "ModelId", "AccountId"),
    group=by_user_model_and_account,
    thresholds=(Threshold("count", "count", at_least=4),),
    requires="any",
)
