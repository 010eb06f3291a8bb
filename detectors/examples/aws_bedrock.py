"""Writes AWS Bedrock's model invocation logs: see `detectors.sources.aws_bedrock`, which reads them."""

from datetime import datetime
from typing import Any

from detectors.examples.aws_callers import ACCOUNTS, with_callers
from detectors.examples.writer import Fields, RecordWriter, guid_of, told, with_defaults
from detectors.sources.aws_bedrock import POLICIES, SCHEMA

_DEFAULTS: Fields = {
    "model": "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "blocking_policies": 0,
    "input_tokens": 9,
}
_LISTS = {"topicPolicy": "topics", "wordPolicy": "customWords", "sensitiveInformationPolicy": "piiEntities"}
_PROMPT = {"messages": [{"role": "user", "content": [{"text": "What do I need for a picnic?"}]}]}


def _complete(fields: Fields, customer: int) -> Fields:
    """Fill in the defaults; a caller is the session of a role, and a principal a role, unless they are ARNs."""
    fields = with_callers(with_defaults(fields, {**_DEFAULTS, "account": ACCOUNTS[customer % len(ACCOUNTS)]}))
    blocks = bool(fields["blocking_policies"]) or fields.get("intervened") is not None
    answered = blocks or not fields.get("error")
    return {
        **fields,
        "intervened": "yes" if blocks else None,
        "output_tokens": fields.get("output_tokens", 8) if answered else None,
    }


def _write(fields: Fields, at: datetime) -> dict[str, Any]:
    blocking, intervened = fields.get("blocking_policies"), fields.get("intervened")
    asked = {"inputContentType": "application/json", "inputBodyJson": _PROMPT}
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
            "input": told({**asked, "inputTokenCount": fields.get("input_tokens")}),
        }
    )
    if fields.get("error") and not intervened and fields.get("output_tokens") is None:
        return record
    body: dict[str, Any] = {"completion": "Bread, cheese and a blanket."}
    if intervened:
        body = {"completion": "Sorry, the model cannot answer this question.", "stopReason": "guardrail_intervened"}
    if isinstance(blocking, int) and blocking:
        body["amazon-bedrock-trace"] = _trace(blocking)
    answer = {"outputContentType": "application/json", "outputBodyJson": body}
    return {**record, "output": told({**answer, "outputTokenCount": fields.get("output_tokens")})}


def _trace(blocking: int) -> dict[str, Any]:
    """Return the trace of a guardrail of which some policies block; each has an item that only watches besides."""
    items = [{"name": "watched", "action": "NONE"}, {"name": "matched", "action": "BLOCKED"}]
    policies = {policy: {_LISTS.get(policy, "filters"): items} for policy in sorted(POLICIES)[:blocking]}
    return {"guardrail": {"input": {"gr-7f3k2": policies}}}


WRITER = RecordWriter(_complete, _write)
