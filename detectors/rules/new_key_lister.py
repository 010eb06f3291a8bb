"""New key lister: keys of a resource listed by somebody who never listed them before.

A burst is loud; a thief who knows what he wants lists keys once. On most resources the same few pipelines and people
list keys, month after month, and a newcomer is worth a look.

Whoever was seen in the first two weeks is known. A caller who lists keys again after being known is never new. For
each resource a thousand callers are remembered; of more, those not seen for the longest are forgotten.

What defenders publish: Datadog's rule "Azure AI API keys listed from previously unseen application"
(https://docs.datadoghq.com/security/default_rules/def-000-vdl/) looks for new applications in activity logs;
Microsoft's lawsuit against Storm-2139 (2025) was about stolen Azure OpenAI keys that were resold.
MITRE ATLAS AML.T0012 Valid Accounts, AML.T0055 Unsecured Credentials. Informational: new colleagues and new pipelines
are new as well.
What it cannot see: callers without an object id.
"""

from detectors.records import Properties, Record
from detectors.rules.groups import by_resource_and_caller
from detectors.rules.rule import Rule, Threshold


def _selects(record: Record, properties: Properties) -> bool:
    return record.category == "Audit" and record.operation_name == "ListKey" and bool(properties.object_id)


NEW_KEY_LISTER = Rule(
    id="new_key_lister",
    name="Azure OpenAI Keys Listed by a New Caller",
    version=1,
    source_id="",
    severity="Informational",
    risk_score=21,
    techniques=("AML.T0012", "AML.T0055"),
    operations=frozenset({"ListKey"}),
    selects=_selects,
    group_fields=("ResourceId", "Caller"),
    group=by_resource_and_caller,
    thresholds=(
        Threshold("count", "count", at_least=1),
        Threshold("learning_days", "days_watched", at_least=14),
    ),
    requires="all",
    only_new=True,
)
