"""Potential denial of an Azure OpenAI service: many long prompts to one resource within a minute.

Long prompts cost the most time and tokens. Ten and more in a minute, long on average, exhaust a deployment's quota
and its owner's money: a denial of service, or of wallet.

Upstream: Elastic prebuilt rule b0450411-46e5-46d2-9b35-8b5dd9ba763e (selection, thresholds, minutes of the
record's own time); MITRE ATLAS AML.T0029 Denial of ML Service; OWASP LLM04 Model Denial of Service.

What it cannot see: requests that carry no length take no part in the average, though they count.
"""

from detectors.records import Properties, Record
from detectors.rules.groups import by_resource_and_minute
from detectors.rules.rule import Rule, Threshold


def _selects(record: Record, _: Properties) -> bool:
    return record.operation_name == "ChatCompletions_Create"


DENIAL_OF_SERVICE = Rule(
    id="denial_of_service",
    name="Potential Azure OpenAI Denial of ML Service",
    version=1,
    source_id="b0450411-46e5-46d2-9b35-8b5dd9ba763e",
    severity="Medium",
    risk_score=47,
    techniques=("AML.T0029", "LLM04"),
    operations=frozenset({"ChatCompletions_Create"}),
    selects=_selects,
    group_fields=("ResourceId", "Minute"),
    group=by_resource_and_minute,
    thresholds=(
        Threshold("count", "count", at_least=10),
        Threshold("request_length", "avg_request_length", at_least=5_000),
    ),
    requires="all",
    per_minute=True,
)
