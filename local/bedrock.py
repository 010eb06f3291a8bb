"""What AWS Bedrock's model invocation logs look like, each record a message of its own, as a shipper sends them.

The fields are those of public samples; every value is made up, and 111122223333 is the account of AWS's own examples.
"""

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from local.samples import guid

ACCOUNT = "111122223333"
CLAUDE, TITAN, LLAMA = (
    "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "amazon.titan-text-premier-v1:0",
    "meta.llama3-70b-instruct-v1:0",
)
_LISTS = {
    "topicPolicy": "topics",
    "wordPolicy": "customWords",
    "contentPolicy": "filters",
    "sensitiveInformationPolicy": "piiEntities",
}


def session(role: str, name: str) -> str:
    """Return the ARN of somebody who took a role."""
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{name}"


def refused(rng: Random, user: str, model: str, time: str, error: str) -> str:
    """Return a call that Bedrock refused; it has no answer."""
    return json.dumps(_record(rng, user, model, time, "InvokeModel") | {"errorCode": error})


def conversed(rng: Random, user: str, model: str, time: str, policies: Mapping[str, str]) -> str:
    """Make a Converse call, and what each policy of the guardrail did with the prompt: BLOCKED, ANONYMIZED or NONE."""
    body: dict[str, Any] = {"stopReason": "guardrail_intervened" if "BLOCKED" in policies.values() else "end_turn"}
    if policies:
        body["trace"] = {"guardrail": {"inputAssessment": {"gr-7f3k2": _assessment(policies)}}}
    return _answered(_record(rng, user, model, time, "Converse"), body)


def invoked(rng: Random, user: str, model: str, time: str, policies: Mapping[str, str]) -> str:
    """Return the same with InvokeModel, whose trace stands elsewhere and tells of the answer's side."""
    body: dict[str, Any] = {"completion": "Sorry, the model cannot answer this question."}
    if policies:
        body["amazon-bedrock-trace"] = {"guardrail": {"outputs": [{"gr-7f3k2": _assessment(policies)}]}}
    return _answered(_record(rng, user, model, time, "InvokeModel"), body)


def _assessment(policies: Mapping[str, str]) -> dict[str, Any]:
    """Each policy with two items, of which one only watched."""
    return {
        policy: {_LISTS[policy]: [{"name": "watched", "action": "NONE"}, {"name": "matched", "action": action}]}
        for policy, action in policies.items()
    }


def _answered(record: dict[str, Any], body: dict[str, Any]) -> str:
    output = {"outputContentType": "application/json", "outputBodyJson": body, "outputTokenCount": 24}
    return json.dumps(record | {"output": output})


def _record(rng: Random, user: str, model: str, time: str, operation: str) -> dict[str, Any]:
    prompt = {"messages": [{"role": "user", "content": [{"text": "What do I need for a picnic?"}]}]}
    return {
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "timestamp": time,
        "accountId": ACCOUNT,
        "identity": {"arn": user},
        "region": "us-east-1",
        "requestId": guid(rng),
        "operation": operation,
        "modelId": model,
        "input": {"inputContentType": "application/json", "inputBodyJson": prompt, "inputTokenCount": 9},
    }
