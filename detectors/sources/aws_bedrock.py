"""What AWS Bedrock's model invocation logs tell: who called which model, and which guardrail policies blocked it. Pure.

A record stands for one call. Its `output` holds the answer, and the guardrail's trace if the caller asked for one:

- InvokeModel: `outputBodyJson["amazon-bedrock-trace"].guardrail`, in a stream one of many chunks in a list;
- Converse: `outputBodyJson.trace.guardrail`.

Below it an assessment stands for each guardrail and side: `input` or `inputAssessment` under the guardrail's id,
`outputs` or `outputAssessments` as a list of such objects, or as lists under the id. All of these occur, so the walk
goes by what an assessment looks like, not by the road to it.

Sources: "Monitor model invocation" and "Test a guardrail" in the Amazon Bedrock user guide, GuardrailTraceAssessment
in its API reference, and records seen in public samples.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import msgspec

from detectors.sources import repair
from detectors.sources.callers import named
from detectors.sources.source import CALLER, NOTHING, Field, LogSource, Observed, Scalar, first_text

NAME = "aws_bedrock"
_MAX_ARN_CHARACTERS = 256

SCHEMA = "ModelInvocationLog"
"""The `schemaType` of a record."""

POLICIES = frozenset(
    {"topicPolicy", "contentPolicy", "wordPolicy", "sensitiveInformationPolicy", "contextualGroundingPolicy"}
)
"""The policies of a guardrail whose items say what was done: `BLOCKED`, `ANONYMIZED` or `NONE`."""

MAX_CHARACTERS = 2048
"""The longest name that groups are made of; AWS allows a model's as many."""

_TIMES = ("time", "timestamp")
"""AWS calls it `timestamp`; where both stand, the other belongs to whoever passed the record on."""

_BLOCKED = "BLOCKED"
_TRACES = ("amazon-bedrock-trace", "trace")
_LEVELS = 2
"""How far below a side of a trace an assessment can stand: `{id: [assessment]}` or `[{id: assessment}]`."""


class BedrockRecord(msgspec.Struct, rename="camel", gc=False):
    """One record. Objects stay JSON until a rule asks."""

    time: str | None = None
    operation_name: str | None = None
    schema_type: Scalar = None
    timestamp: Scalar = None
    account_id: Scalar = None
    model_id: Scalar = None
    error_code: Scalar = None
    identity: msgspec.Raw = NOTHING
    output: msgspec.Raw = NOTHING


class Traits(NamedTuple):
    """What repeats."""

    source: str
    account_id: str | None
    model_id: str | None
    error_code: Scalar
    blocking_policies: int


class _Identity(msgspec.Struct):
    arn: str | None = None


_decode_identity = msgspec.json.Decoder(_Identity).decode
_decode_json = msgspec.json.Decoder().decode


def user_arn(record: BedrockRecord) -> str | None:
    """Find the caller: a user, or a role and its session; None if neither is readable."""
    return _arn_in(bytes(record.identity))


@lru_cache(maxsize=1024)
def _arn_in(identity: bytes) -> str | None:
    try:
        arn = _name(_decode_identity(identity).arn)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return arn if arn and arn.startswith("arn:") else None


def model_id(record: BedrockRecord) -> str | None:
    """Find the model, or the profile it was called through, as the caller named it; None if unreadable."""
    return _name(record.model_id)


def account_id(record: BedrockRecord) -> str | None:
    """Return the AWS account that was called; None if none can be read."""
    return _name(record.account_id)


def blocked_policies(record: BedrockRecord) -> frozenset[str]:
    r"""List the guardrail policies that blocked the request or its answer, of all guardrails together.

    An answer without the word is not parsed. JSON may spell letters as `\u0042`, though nobody does.
    """
    output = bytes(record.output)
    if b"BLOCKED" not in output and b"\\u00" not in output:
        return frozenset()
    body = _field(_parsed(output), "outputBodyJson")
    if isinstance(body, str):
        body = _parsed(body.encode(errors="replace"))
    chunks = body if isinstance(body, list) else [body]
    guardrails = (guardrail for chunk in chunks for guardrail in _guardrails(chunk))
    return frozenset(policy for guardrail in guardrails for policy in _blocking(guardrail, _LEVELS))


def _guardrails(chunk: object) -> Iterator[object]:
    """Yield the sides of the guardrail traces in a body, or in a chunk of a stream."""
    for holder in (chunk, _field(chunk, "metadata")):  # the last chunk of a Converse stream
        for name in _TRACES:
            guardrail = _field(_field(holder, name), "guardrail")
            if isinstance(guardrail, dict):
                yield from guardrail.values()


def _blocking(value: object, levels: int) -> Iterator[str]:
    """Yield the policies that block, in assessments at most some levels below a value."""
    if isinstance(value, dict):
        yield from (policy for policy in POLICIES & value.keys() if _blocks(value[policy]))
        value = list(value.values())
    if isinstance(value, list) and levels > 0:
        for inner in value:
            yield from _blocking(inner, levels - 1)


def _blocks(policy: object) -> bool:
    """Whether an item of one of the policy's lists says so."""
    lists = policy.values() if isinstance(policy, dict) else ()
    return any(_field(item, "action") == _BLOCKED for items in lists if isinstance(items, list) for item in items)


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _parsed(text: bytes) -> object:
    """Parse JSON; None if it is none. Answers may end in half a character, which only the slow way reads."""
    try:
        return _decode_json(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return repair.parse(text.decode(errors="replace"))
    except ValueError:
        return None


def _name(value: object) -> str | None:
    """Accept a text that groups can be made of: without control characters, which would break keys and ids apart."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_CHARACTERS and value.isprintable() else None


def _observe(record: BedrockRecord) -> Observed:
    traits = (
        NAME,
        account_id(record),
        model_id(record),
        record.error_code,
        len(blocked_policies(record)),
    )
    return traits, first_text(record, _TIMES), None, None, user_arn(record) or "", frozenset()


SOURCE = LogSource(
    name=NAME,
    title="AWS Bedrock model invocation logs",
    record=BedrockRecord,
    marks=("schema_type", "operation_name"),
    recognises=lambda record: record.schema_type == SCHEMA and not record.operation_name,
    traits=Traits,
    observe=_observe,
    fields={
        CALLER: Field(lambda _: None, "", frozenset({"identity"}), "UserArn", "no_caller"),
        "account": Field(lambda of: of.account_id, "", frozenset({"accountId"}), "AccountId", "no_account"),
        "model": Field(lambda of: of.model_id, "", frozenset({"modelId"}), "ModelId", "no_model"),
        "error": Field(lambda of: of.error_code, "error_code", frozenset({"errorCode"})),
        "blocking_policies": Field(lambda of: of.blocking_policies, "", frozenset({"output"}), "Violations"),
    },
    number_wire={},
    name_of_caller=lambda _: partial(named, characters=_MAX_ARN_CHARACTERS),
    times=_TIMES,
    private=frozenset({"identity", "output"}),
    private_mark=rb"ModelInvocationLog|schemaVersion|arn:|modelId|(?:in|out)put(?:Body|ContentType|TokenCount)",
)
