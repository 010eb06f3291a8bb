"""Large transfer: an unusually large response of any operation, or very many bytes to one caller within the hour.

Model theft looks for a large response among key readings, whose logs carry no length today. This rule holds the same
number against every response that Azure OpenAI logs with its length, and adds up what each caller received: weights
that leave as files, training data that is read back, a model that is copied by asking it everything.

Threshold of the largest response: that of the upstream rule 4021e78d-5293-48d3-adee-a70fa4c18fab. MITRE ATLAS
AML.T0024 Exfiltration via AI Inference API, AML.T0044 Full AI Model Access; OWASP LLM10 Model Theft.

Informational, since embeddings in batches and images inside of JSON reach a million bytes in everyday use.
What it cannot see: streamed responses whose length is not logged; with key authentication, callers behind one masked
address are one caller.
"""

from detectors.records import Properties, Record
from detectors.rules.groups import by_resource
from detectors.rules.rule import Rule, Threshold


def _selects(record: Record, properties: Properties) -> bool:
    return record.category == "RequestResponse" and properties.response_length is not None


LARGE_TRANSFER = Rule(
    id="large_transfer",
    name="Large Transfer from Azure OpenAI",
    version=1,
    source_id="",
    severity="Informational",
    risk_score=21,
    techniques=("AML.T0024", "AML.T0044", "LLM10"),
    operations=None,
    selects=_selects,
    group_fields=("ResourceId",),
    group=by_resource,
    thresholds=(
        Threshold("response_length", "max_response_length", at_least=1_000_000),
        Threshold("caller_bytes", "max_caller_bytes", at_least=1_000_000_000),
    ),
    requires="any",
)
