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

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import msgspec

from detectors.sources import lenient, repair
from detectors.sources.callers import named
from detectors.sources.source import CALLER, NOTHING, TOKENS, Field, LogSource, Observed, Scalar, Whole, first_text

NAME = "aws_bedrock"
_MAX_ARN_CHARACTERS = 256

SCHEMA = "ModelInvocationLog"
"""The `schemaType` of a record."""

POLICIES = frozenset(
    {"topicPolicy", "contentPolicy", "wordPolicy", "sensitiveInformationPolicy", "contextualGroundingPolicy"}
)
"""The policies of a guardrail whose items say what was done: `BLOCKED`, `ANONYMIZED` or `NONE`."""

REASONING = "automatedReasoningPolicy"
REJECTED = frozenset({"invalid", "impossible"})
"""The policy whose findings have no action, and the kinds of findings by which it rejects an answer."""

MAX_CHARACTERS = 2048
"""The longest name that is read as it is; AWS allows a model's as many."""

MAX_GROUP_CHARACTERS = 512
"""The longest name that groups are made of. Whoever calls may make up a model's: a longer one is told by a hash."""

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
    input: msgspec.Raw = NOTHING
    output: msgspec.Raw = NOTHING


class Traits(NamedTuple):
    """What repeats.

    Attributes:
        principal: the user, or the role without the name of its session, which whoever takes the role on may choose.
        model: the model, however the call spelt it.
        intervened: `yes` if a guardrail blocked the request or its answer, whether or not a trace says by what.
    """

    source: str
    principal: str | None
    account_id: str | None
    model: str | None
    error_code: Scalar
    blocking_policies: int
    intervened: str | None


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


@lru_cache(maxsize=1024)
def principal(arn: str) -> str:
    """Return the user, or the role without its session: `arn:aws:sts::111122223333:assumed-role/app`."""
    head, mark, rest = arn.partition(":assumed-role/")
    return f"{head}{mark}{rest.partition('/')[0]}"


def model_id(record: BedrockRecord) -> str | None:
    """Return the model, however the caller spelt it; None if none can be read."""
    name = _name(record.model_id)
    return None if name is None else named(_model(name), MAX_GROUP_CHARACTERS)


_MODEL_ARN = re.compile(r"arn:[^:]+:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(.+)")
_CROSS_REGION = re.compile(r"(?:us|us-gov|eu|apac|ap|jp|au|ca|sa|me|af|global)\.(?=[a-z0-9-]+\.)")


@lru_cache(maxsize=1024)
def _model(name: str) -> str:
    """One name for a model's id, its cross-region profile, the profile's ARN and the foundation model's ARN."""
    arn = _MODEL_ARN.fullmatch(name)
    return _CROSS_REGION.sub("", arn[1] if arn else name, count=1)


def account_id(record: BedrockRecord) -> str | None:
    """Return the AWS account that was called; None if none can be read."""
    name = _name(record.account_id)
    return None if name is None else named(name, MAX_GROUP_CHARACTERS)


class Verdict(NamedTuple):
    """What guardrails did to a request or its answer.

    Attributes:
        policies: those of which an item blocked, of all guardrails together.
        intervened: whether any guardrail blocked, also one that leaves no trace.
    """

    policies: frozenset[str]
    intervened: bool


_UNTOUCHED = Verdict(frozenset(), intervened=False)
_SIGNS = (b"BLOCKED", b"guardrail_intervened", b"INTERVENED", REASONING.encode(), b"\\u00")
"""One of these is in every answer that a guardrail touched. JSON may spell letters as escapes, though nobody does."""


def guardrails(record: BedrockRecord) -> Verdict:
    """Find what guardrails did. An answer without a sign of them is not parsed."""
    output = bytes(record.output)
    if not any(sign in output for sign in _SIGNS):
        return _UNTOUCHED
    body = _field(_parsed(output), "outputBodyJson")
    if isinstance(body, str):
        body = _parsed(body.encode(errors="replace"))
    chunks = body if isinstance(body, list) else [body]
    traces = (guardrail for chunk in chunks for guardrail in _guardrails(chunk))
    policies = frozenset(policy for guardrail in traces for policy in _blocking(guardrail, _LEVELS))
    return Verdict(policies, bool(policies) or any(map(_says_so, chunks)))


def _says_so(chunk: object) -> bool:
    """Whether a body, or a chunk of a stream, ends since a guardrail intervened."""
    stops = (_field(chunk, "stopReason"), _field(_field(chunk, "messageStop"), "stopReason"))
    return "guardrail_intervened" in stops or _field(chunk, "amazon-bedrock-guardrailAction") == "INTERVENED"


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
        if _rejects(value.get(REASONING)):
            yield REASONING
        value = list(value.values())
    if isinstance(value, list) and levels > 0:
        for inner in value:
            yield from _blocking(inner, levels - 1)


def _blocks(policy: object) -> bool:
    """Whether an item of one of the policy's lists says so."""
    lists = policy.values() if isinstance(policy, dict) else ()
    return any(_field(item, "action") == _BLOCKED for items in lists if isinstance(items, list) for item in items)


def _rejects(policy: object) -> bool:
    """Whether automated reasoning found the answer false."""
    findings = _field(policy, "findings")
    return isinstance(findings, list) and any(isinstance(one, dict) and REJECTED & one.keys() for one in findings)


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
    """Accept a text that groups can be made of: without control characters, which would break keys and ids apart.

    An endless one is cut, and told apart by its hash.
    """
    return named(value, MAX_CHARACTERS) if isinstance(value, str) and value and value.isprintable() else None


class _Counted(msgspec.Struct, rename="camel"):
    """The tokens of a prompt or an answer. What people said is skipped, not decoded."""

    input_token_count: Whole | None = None
    output_token_count: Whole | None = None


_NOT_COUNTED = _Counted()
_COUNTS = frozenset(one.encode_name for one in msgspec.structs.fields(_Counted))
_decode_counted = msgspec.json.Decoder(_Counted | None).decode


def _counted(side: msgspec.Raw) -> _Counted:
    """Read the tokens of one side of a call; a refused one has no answer."""
    try:
        return _decode_counted(side) or _NOT_COUNTED
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = bytes(side).decode(errors="replace")
    told = repair.members(text, _COUNTS) if text[:1] == "{" else {}
    return lenient.read(_Counted, {name: _parsed(value.encode()) for name, value in told.items()})[0]


def _observe(record: BedrockRecord) -> Observed:
    arn, verdict = user_arn(record), guardrails(record)
    traits = (
        NAME,
        None if arn is None else named(principal(arn), MAX_GROUP_CHARACTERS),
        account_id(record),
        model_id(record),
        record.error_code,
        len(verdict.policies),
        "yes" if verdict.intervened else None,
    )
    tokens = _counted(record.input).input_token_count, _counted(record.output).output_token_count
    return traits, first_text(record, _TIMES), *tokens, arn or "", frozenset()


_keep_name = partial(named, characters=_MAX_ARN_CHARACTERS)

SOURCE = LogSource(
    name=NAME,
    title="AWS Bedrock model invocation logs",
    record=BedrockRecord,
    marks=("schema_type", "operation_name"),
    recognises=lambda record: record.schema_type == SCHEMA and not record.operation_name,
    traits=Traits,
    observe=_observe,
    fields={
        CALLER: Field(lambda _: None, wire=frozenset({"identity"}), column="Caller", missing="no_caller"),
        "principal": Field(
            lambda of: of.principal, wire=frozenset({"identity"}), column="UserArn", missing="no_caller"
        ),
        "account": Field(
            lambda of: of.account_id, wire=frozenset({"accountId"}), column="AccountId", missing="no_account"
        ),
        "model": Field(lambda of: of.model, wire=frozenset({"modelId"}), column="ModelId", missing="no_model"),
        "error": Field(lambda of: of.error_code, "error_code", wire=frozenset({"errorCode"})),
        "blocking_policies": Field(lambda of: of.blocking_policies, wire=frozenset({"output"}), column="Violations"),
        "intervened": Field(lambda of: of.intervened, wire=frozenset({"output"})),
    },
    numbers=TOKENS,
    number_wire={"input_tokens": frozenset({"input"}), "output_tokens": frozenset({"output"})},
    name_of_caller=lambda _: _keep_name,
    times=_TIMES,
    private=frozenset({"identity", "input", "output"}),
    private_marks=(
        *(b"ModelInvocationLog", b"schemaVersion", b"arn:", b"modelId"),
        *(b"inputBody", b"inputContentType", b"inputTokenCount"),
        *(b"outputBody", b"outputContentType", b"outputTokenCount"),
    ),
)
