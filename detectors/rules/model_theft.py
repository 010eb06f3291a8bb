"""Potential Azure OpenAI model theft: keys of one resource listed in bursts, or an unusually large response.

Whoever holds an account's keys can call its models, fine-tuned ones too, from anywhere. Deployment pipelines list
keys now and then; a hundred times an hour is a script. The second condition looks for a bulk transfer.

Upstream: Elastic prebuilt rule 4021e78d-5293-48d3-adee-a70fa4c18fab (selection, thresholds, one-hour window);
MITRE ATLAS AML.T0044 Full AI Model Access; OWASP LLM10 Model Theft.

What it cannot see: today's public samples of `ListKey` audit records carry no response length, so on such logs
only the count fires. The heartbeat says how many selected records carried one.
"""

from detectors.callers import azure_caller
from detectors.records import Record
from detectors.resources import canonical
from detectors.rules.rule import Rule, Threshold
from detectors.tally import Group


def _selects(record: Record) -> bool:
    return record.category == "Audit" and record.operation_name == "ListKey"


def _group(record: Record) -> Group | None:
    resource_id = canonical(record.resource_id or "")
    return None if resource_id is None else (resource_id,)


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
    group=_group,
    ungrouped="no_resource",
    caller=azure_caller,
    thresholds=(
        Threshold("count", "count", at_least=100),
        Threshold("response_length", "max_response_length", at_least=1_000_000),
    ),
    requires="any",
)
