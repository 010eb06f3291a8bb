"""Potential Azure OpenAI model theft: keys of one resource listed in bursts, or an unusually large response.

Whoever holds an account's keys can call its models, fine-tuned ones too, from anywhere. Deployment pipelines list
keys now and then; a hundred times an hour is a script. The second condition looks for a bulk transfer.

Upstream: Elastic prebuilt rule 4021e78d-5293-48d3-adee-a70fa4c18fab (selection, thresholds, one-hour window);
MITRE ATLAS AML.T0044 Full AI Model Access; OWASP LLM10 Model Theft.

What it cannot see: today's public samples of `ListKey` audit records carry no response length, so on such logs
only the count fires. The heartbeat says how many selected records carried one.
"""

from detectors.records import Properties, Record
from detectors.rules.groups import by_resource
from detectors.rules.rule import Rule, Threshold


def _selects(record: Record, _: Properties) -> bool:
    return record.category == "Audit" and record.operation_name == "ListKey"


MODEL_THEFT = Rule(
    id="model_theft",
    name="Potential Azure OpenAI Model Theft",
    version=1,
    source_id="4021e78d-5293-48d3-adee-a70fa4c18fab",
    severity="Medium",
    risk_score=47,
    techniques=("AML.T0044", "LLM10"),
    operations=frozenset({"ListKey"}),
    selects=_selects,
    group_fields=("ResourceId",),
    group=by_resource,
    thresholds=(
        Threshold("count", "count", at_least=100),
        Threshold("response_length", "max_response_length", at_least=1_000_000),
    ),
    requires="any",
)
