"""Validation exceptions: one user sends Bedrock many requests within a minute that its models do not understand.

Whoever probes which models and parameters an identity can reach, or feels for limits, fails in bursts. So does a
broken application, which goes on failing at its usual pace.

Upstream: Elastic prebuilt rule 725a048a-88c5-4fc7-8677-a44fc0031822 (selection, threshold, minutes of the record's own
time, severity); MITRE ATLAS AML.T0015 Evade AI Model, AML.T0034 Cost Harvesting, AML.T0046 Spamming AI System with
Chaff Data.

Different on purpose: a record without user, account or time is quarantined, not counted for nobody.
What it cannot see: a patient prober, with three requests a minute or fewer.
"""

from detectors import bedrock
from detectors.records import Properties, Record
from detectors.rules.bedrock_groups import by_user_account_and_minute
from detectors.rules.rule import Rule, Threshold


def _selects(record: Record, _: Properties) -> bool:
    return bedrock.failed_with(record, "ValidationException")


BEDROCK_VALIDATION_EXCEPTIONS = Rule(
    id="bedrock_validation_exceptions",
    name="AWS Bedrock Burst of Validation Exceptions by One User",
    version=1,
    source_id="725a048a-88c5-4fc7-8677-a44fc0031822",
    severity="High",
    risk_score=73,
    techniques=("AML.T0015", "AML.T0034", "AML.T0046"),
    operations=frozenset({bedrock.SCHEMA}),
    selects=_selects,
    group_fields=("UserArn", "AccountId", "Minute"),
    group=by_user_account_and_minute,
    thresholds=(Threshold("count", "count", at_least=4),),
    requires="any",
    per_minute=True,
)
