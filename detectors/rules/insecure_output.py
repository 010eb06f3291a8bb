"""Potential insecure output handling: a model answers, again and again, with success and nothing.

An empty answer under status 200 is what a filter, or a probe for one, leaves behind: somebody feels for the edge of
what the application passes on.

Upstream: Elastic prebuilt rule fb16f9ef-cb03-4234-adc2-44641f3b71ee (selection, threshold, one-hour window);
OWASP LLM02 Insecure Output Handling.

What it cannot see: answers without a length, and streams whose length is not logged.
"""

from detectors.records import Properties, Record
from detectors.rules.groups import by_resource
from detectors.rules.rule import Rule, Threshold


def _selects(record: Record, properties: Properties) -> bool:
    return (
        record.operation_name == "ChatCompletions_Create"
        and record.result_signature == "200"
        and properties.response_length == 0
    )


INSECURE_OUTPUT = Rule(
    id="insecure_output",
    name="Potential Azure OpenAI Insecure Output Handling",
    version=1,
    source_id="fb16f9ef-cb03-4234-adc2-44641f3b71ee",
    severity="Low",
    risk_score=21,
    techniques=("LLM02",),
    operations=frozenset({"ChatCompletions_Create"}),
    selects=_selects,
    group_fields=("ResourceId",),
    group=by_resource,
    thresholds=(Threshold("count", "count", at_least=10),),
    requires="any",
)
