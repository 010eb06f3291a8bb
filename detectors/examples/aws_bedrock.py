"""Writes AWS Bedrock's model invocation logs: see `detectors.sources.aws_bedrock`, which reads them."""

from datetime import datetime
from typing import Any

from detectors.examples.writer import Fields, RecordWriter, guid_of, told, with_defaults
from detectors.sources.aws_bedrock import POLICIES, SCHEMA

_DEFAULTS: Fields = {
    "account": "111122223333",  # of AWS's own examples
    "model": "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "caller": "an application",
    "blocking_policies": 0,
}
_LISTS = {"topicPolicy": "topics", "wordPolicy": "customWords", "sensitiveInformationPolicy": "piiEntities"}
_PROMPT = {"messages": [{"role": "user", "content": [{"text": "What do I need for a picnic?"}]}]}


def _complete(fields: Fields) -> Fields:
    """Fill in the defaults; a caller who is no ARN yet is somebody who took a role."""
    fields = with_defaults(fields, _DEFAULTS)
    caller = fields["caller"]
    if isinstance(caller, str) and not caller.startswith("arn:"):
        session = "-".join(caller.split())
        caller = f"arn:aws:sts::{fields['account']}:assumed-role/app-prod/{session}"
    return {**fields, "caller": caller}


def _write(fields: Fields, at: datetime) -> dict[str, Any]:
    blocking = fields.get("blocking_policies")
    record = told(
        {
            "schemaType": SCHEMA,
            "schemaVersion": "1.0",
            "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "accountId": fields.get("account"),
            "identity": told({"arn": fields.get("caller")}),
            "region": "us-east-1",
            "requestId": guid_of(f"{at}"),
            "operation": "InvokeModel",
            "modelId": fields.get("model"),
            "errorCode": fields.get("error"),
            "input": {"inputContentType": "application/json", "inputBodyJson": _PROMPT, "inputTokenCount": 9},
        }
    )
    if fields.get("error") and not blocking:
        return record
    body: dict[str, Any] = {"completion": "Bread, cheese and a blanket."}
    if isinstance(blocking, int) and blocking:
        body = {"completion": "Sorry, the model cannot answer this question.", "amazon-bedrock-trace": _trace(blocking)}
    return {
        **record,
        "output": {"outputContentType": "application/json", "outputBodyJson": body, "outputTokenCount": 8},
    }


def _trace(blocking: int) -> dict[str, Any]:
    """Return the trace of a guardrail of which some policies block; each has an item that only watches besides."""
    items = [{"name": "watched", "action": "NONE"}, {"name": "matched", "action": "BLOCKED"}]
    policies = {policy: {_LISTS.get(policy, "filters"): items} for policy in sorted(POLICIES)[:blocking]}
    return {"guardrail": {"input": {"gr-7f3k2": policies}}}


WRITER = RecordWriter(_complete, _write)
