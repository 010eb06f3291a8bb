"""Bedrock records: who called, and which guardrail policies blocked, in every shape that occurs and in any other."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID
from detectors.sources.aws_bedrock import (
    MAX_CHARACTERS,
    MAX_GROUP_CHARACTERS,
    POLICIES,
    REASONING,
    SOURCE,
    BedrockRecord,
    account_id,
    guardrails,
    model_id,
    principal,
    user_arn,
)
from detectors.sources.decoding import Record, decode
from tests.builders import AWS_ACCOUNT, MODEL, START, USER_ARN, assessment, bedrock, event, message, refused
from tests.examples import examples

TWO = assessment("topicPolicy", "wordPolicy", sensitiveInformationPolicy="ANONYMIZED")
BLOCKING = {"topicPolicy", "wordPolicy"}
QUIET = assessment()


def blocked_policies(record: BedrockRecord) -> frozenset[str]:
    """Read the policies alone."""
    return guardrails(record).policies


def _blocked(answer: object) -> frozenset[str]:
    return blocked_policies(decode(message(bedrock(answer=answer))).records[0])


def _converse(**sides: object) -> dict[str, Any]:
    return {"stopReason": "guardrail_intervened", "trace": {"guardrail": {"modelOutput": ["{}"], **sides}}}


def _invoke(**sides: object) -> dict[str, Any]:
    return {"amazon-bedrock-guardrailAction": "INTERVENED", "amazon-bedrock-trace": {"guardrail": sides}}


SHAPES = {
    "InvokeModel, prompt": _invoke(input={"g1": TWO}),
    "InvokeModel, prompt in a list": _invoke(input=[{"g1": TWO}]),
    "InvokeModel, answer": _invoke(input={"g1": QUIET}, outputs=[{"g1": TWO}]),
    "InvokeModel, answer by guardrail": _invoke(outputs={"g1": [TWO]}),
    "Converse, prompt": _converse(inputAssessment={"g1": TWO}),
    "Converse, prompt in a list": _converse(inputAssessment=[{"g1": TWO}]),
    "Converse, answer": _converse(inputAssessment={"g1": QUIET}, outputAssessments={"g1": [QUIET, TWO]}),
    "Converse, answer in a list": _converse(outputAssessments=[{"g1": TWO}]),
    "a stream of InvokeModel": [{"type": "message_start"}, _invoke(input={"g1": TWO}), "[DONE]"],
    "a stream of Converse": [{"messageStop": {}}, {"metadata": _converse(inputAssessment={"g1": TWO})}],
    "JSON in a string": json.dumps(_converse(inputAssessment={"g1": TWO})),
    "two guardrails": _converse(inputAssessment={"g1": assessment("topicPolicy"), "g2": assessment("wordPolicy")}),
    "prompt and answer": _invoke(input={"g": assessment("topicPolicy")}, outputs=[{"g": assessment("wordPolicy")}]),
    "policies once each": _invoke(input={"g1": TWO}, outputs=[{"g1": TWO}, {"g1": assessment("wordPolicy")}]),
}


@pytest.mark.parametrize("answer", SHAPES.values(), ids=SHAPES.keys())
def test_the_policies_that_block_are_found_in_every_shape_of_a_trace(answer: object) -> None:
    """Those that only mask or watch are not among them, and each is one however often it blocks."""
    assert _blocked(answer) == BLOCKING


@pytest.mark.parametrize(
    ("policy", "items"),
    [
        ("topicPolicy", "topics"),
        ("contentPolicy", "filters"),
        ("wordPolicy", "customWords"),
        ("wordPolicy", "managedWordLists"),
        ("sensitiveInformationPolicy", "piiEntities"),
        ("sensitiveInformationPolicy", "regexes"),
        ("contextualGroundingPolicy", "filters"),
    ],
)
def test_a_policy_blocks_if_any_item_of_its_lists_does(policy: str, items: str) -> None:
    """Behind others that do not; an item that is found and let pass blocks nothing."""
    passing = [{"name": "a", "action": "NONE"}, {"name": "b"}, None]
    quiet = {"contentPolicy": {"filters": passing}, "wordPolicy": {"customWords": passing}}
    blocking = {policy: {"customWords": passing, items: [*passing, {"name": "c", "action": "BLOCKED"}]}}
    assert _blocked({**_converse(inputAssessment={"g": quiet}), "x": "BLOCKED"}) == set()
    assert _blocked(_converse(inputAssessment={"g": quiet | blocking})) == {policy}


@pytest.mark.parametrize("action", ["ANONYMIZED", "NONE", "blocked", "BLOCKED ", "", None, True, ["BLOCKED"]])
def test_any_other_action_does_not_block(action: object) -> None:
    """The spelling is exact. The word stands elsewhere, so that the answer is looked into."""
    quiet = {"topicPolicy": {"topics": [{"name": "x", "action": action}]}}
    assert _blocked({**_converse(inputAssessment={"g": quiet}), "x": "BLOCKED"}) == set()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "BLOCKED",
        {"output": {"message": {"content": [{"text": json.dumps(_converse(inputAssessment={"g1": TWO}))}]}}},
        {"output": {"message": {"content": [_converse(inputAssessment={"g1": TWO})]}}},
        {"trace": {"promptRouter": {"g1": TWO}}},
        {"trace": TWO},
        TWO,
        {"trace": {"guardrail": {"inputAssessment": {"g1": {"topicPolicy": [{"action": "BLOCKED"}]}}}}},
        {"trace": {"guardrail": {"inputAssessment": [[[[[TWO]]]]]}}},
        [[_invoke(input={"g1": TWO})]],
    ],
)
def test_what_only_looks_like_a_trace_is_none(answer: object) -> None:
    """Such as one that the model was made to say: only where Bedrock writes it does it mean something."""
    assert _blocked(answer) == set()


def test_a_prompt_is_not_looked_into() -> None:
    """Whoever calls a model writes it, and could write a trace."""
    prompt = {"inputBodyJson": _invoke(input={"g1": TWO}), "outputBodyJson": _invoke(input={"g1": TWO})}
    record = decode(message(bedrock(answer={}, input=prompt, **_invoke(input={"g1": TWO})))).records[0]
    assert blocked_policies(record) == set()


@pytest.mark.parametrize("written", [b"BLOCKE\\u0044", b"\\u0042LOCKED"])
def test_letters_may_be_spelt_as_numbers(written: bytes) -> None:
    """Nobody does, but JSON allows it."""
    body = message(bedrock(answer=SHAPES["Converse, prompt"])).replace(b"BLOCKED", written)
    assert blocked_policies(decode(body).records[0]) == BLOCKING


@pytest.mark.parametrize("broken", [b"\\ud83d", b"\xff", b'", "n": 1e999, "m": "'])
def test_a_trace_is_found_beside_what_strict_readers_refuse(broken: bytes) -> None:
    """Answers end anywhere, in the middle of a character too."""
    answer = {**_converse(inputAssessment={"g1": TWO}), "text": "@@"}
    assert blocked_policies(decode(message(bedrock(answer=answer)).replace(b"@@", broken)).records[0]) == BLOCKING


@pytest.mark.parametrize("depth", [10, 900, 5_000, 200_000])
def test_a_bottomless_trace_is_none(depth: int) -> None:
    """Wherever a reader gives up, nothing raises."""
    bottomless = b'[{"g":' * depth + b'"BLOCKED"' + b"}]" * depth
    for place in (
        b'{"outputBodyJson":%b}',
        b'{"outputBodyJson":{"trace":%b}}',
        b'{"outputBodyJson":{"trace":{"guardrail":{"inputAssessment":{"topicPolicy":{"topics":%b}}}}}}',
    ):
        assert blocked_policies(Record(output=msgspec.Raw(place % bottomless))) == set()


def test_a_huge_trace_is_read() -> None:
    """In time that grows with its length."""
    many = [{"g": assessment("contentPolicy", **{f"other{index}Policy": "BLOCKED"})} for index in range(20_000)]
    assert _blocked(_invoke(input=SHAPES, outputs=many)) == {"contentPolicy"}


roads = st.sampled_from(["outputBodyJson", "trace", "amazon-bedrock-trace", "guardrail", "inputAssessment", "outputs"])
ends = st.sampled_from(["topicPolicy", "wordPolicy", "topics", "customWords", "action", "BLOCKED", "NONE", "[DONE]"])
words = roads | ends
hostile: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(), inner, max_size=4),
    max_leaves=20,
)


@examples(250)
@given(output=hostile, inside=st.sampled_from(["output", "body", "trace", "guardrail", "assessment", "policy"]))
def test_no_trace_makes_it_raise(output: object, inside: str) -> None:
    """Whatever stands wherever: what comes out are names of policies, and the record is one."""
    policy = output if inside == "policy" else {"topics": [output]}
    given_assessment = output if inside == "assessment" else {"topicPolicy": policy}
    guardrail = output if inside == "guardrail" else {"input": {"g1": given_assessment}}
    trace = output if inside == "trace" else {"guardrail": guardrail}
    body = output if inside == "body" else {"trace": trace, "x": "BLOCKED"}
    written = json.dumps(output if inside == "output" else {"outputBodyJson": body})
    assert blocked_policies(Record(output=msgspec.Raw(written.encode()))) <= POLICIES | {REASONING}


@examples(150)
@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(output: bytes) -> None:
    """Not even what is no JSON."""
    assert blocked_policies(Record(output=msgspec.Raw(b'{"BLOCKED"' + output))) == set()
    for identity in (output, b'{"arn":"arn:' + output, b'{"arn":"arn:\xff' + output + b'"}'):
        assert user_arn(Record(identity=msgspec.Raw(identity))) is None


def test_who_called_what_is_read() -> None:
    """The names that groups are made of."""
    record = decode(message(bedrock())).records[0]
    assert (user_arn(record), model_id(record), account_id(record)) == (USER_ARN, MODEL, AWS_ACCOUNT)


@pytest.mark.parametrize(
    "identity",
    [
        None,
        {},
        [],
        5,
        "arn:aws:iam::1:user/x",
        {"arn": None},
        {"arn": 5},
        {"arn": ""},
        {"arn": "ip 1.2.3.4"},
        {"arn": "dana"},
        {"arn": "arn:aws:iam::1:user/x\x1fy"},
        {"claims": {"name": "dana"}, "authorization": {"scope": "/subscriptions/s"}},
    ],
)
def test_an_identity_without_a_readable_arn_is_nobody(identity: object) -> None:
    """Other services write other things under this name."""
    assert user_arn(decode(message(bedrock(identity=identity))).records[0]) is None


@pytest.mark.parametrize("name", [None, "", 5, True, [], {}, "a\nb", "a\x1fb"])
def test_a_model_or_an_account_that_is_no_name_is_none(name: object) -> None:
    """Groups are made of them, so they are texts of one line."""
    record = decode(message(bedrock(modelId=name, accountId=name))).records[0]
    assert (model_id(record), account_id(record)) == (None, None)


@pytest.mark.parametrize("length", [MAX_GROUP_CHARACTERS, MAX_GROUP_CHARACTERS + 1, MAX_CHARACTERS + 1, 100_000])
def test_a_long_name_is_cut_and_told_apart_by_its_hash(length: int) -> None:
    """Whoever calls may make up a model's name: it is never refused, and fills no storage."""
    names = [f"{'m' * (length - 1)}{last}" for last in "ab"]
    records = decode(message(*(bedrock(modelId=name, accountId=name) for name in names))).records
    for read in (model_id, account_id):
        kept = [read(record) or "" for record in records]
        assert [len(name) for name in kept] == [MAX_GROUP_CHARACTERS] * 2
        assert kept[0] != kept[1]
        assert (kept == names) is (length <= MAX_GROUP_CHARACTERS)


def test_an_endless_arn_is_cut_and_told_apart_by_its_hash() -> None:
    """Its caller is somebody, as any other."""
    arns = [f"arn:aws:iam::1:user/{'x' * 5_000}{last}" for last in "ab"]
    observed = [SOURCE.observe(decode(message(bedrock(arn))).records[0]) for arn in arns]
    users = {traits[1] for traits, *_ in observed}
    assert (len(users), {len(user) for user in users}) == (2, {MAX_GROUP_CHARACTERS})
    assert len({one[4] for one in observed}) == 2


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, True),
        ({"errorCode": "ValidationException"}, False),
        ({"errorCode": "accessdeniedexception"}, False),
        ({"errorCode": None}, False),
        ({"errorCode": 403}, False),
        ({"schemaType": "ModelInvocationLogs"}, False),
        ({"schemaType": None}, False),
    ],
)
def test_a_refused_call_is_told_by_its_code_and_schema(changes: dict[str, object], *, failed: bool) -> None:
    """Both exactly as AWS writes them."""
    delta = BatchCounter([BY_ID["bedrock_denied_models"]]).count(
        [event(1, {**refused("AccessDeniedException"), **changes})], START
    )
    assert bool(delta.tallies) is failed


@pytest.mark.parametrize(
    ("answer", "intervened"),
    [
        ({"stopReason": "guardrail_intervened"}, True),
        ({"amazon-bedrock-guardrailAction": "INTERVENED"}, True),
        ([{"messageStart": {}}, {"messageStop": {"stopReason": "guardrail_intervened"}}], True),
        (SHAPES["Converse, prompt"], True),
        ({"stopReason": "end_turn"}, False),
        ({"amazon-bedrock-guardrailAction": "NONE"}, False),
        ({"output": {"message": {"content": [{"text": "guardrail_intervened INTERVENED"}]}}}, False),
        ({"output": {"stopReason": "guardrail_intervened"}}, False),
    ],
)
def test_an_intervention_is_told_without_a_trace(answer: object, *, intervened: bool) -> None:
    """By the stop reason or the guardrail's action, where Bedrock writes them and not where a model does."""
    assert guardrails(decode(message(bedrock(answer=answer))).records[0]).intervened is intervened


@pytest.mark.parametrize(
    ("finding", "policies"), [("invalid", 2), ("impossible", 2), ("valid", 1), ("noTranslations", 1)]
)
def test_automated_reasoning_blocks_by_rejecting(finding: str, policies: int) -> None:
    """Its findings have no action."""
    reasoning: dict[str, object] = {"automatedReasoningPolicy": {"findings": [{finding: {}}]}}
    answer = _converse(outputAssessments={"g1": [{**assessment("topicPolicy"), **reasoning}]})
    assert len(_blocked(answer)) == policies


@pytest.mark.parametrize(
    "spelling",
    [
        MODEL,
        f"us.{MODEL}",
        f"global.{MODEL}",
        f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}",
        f"arn:aws:bedrock:us-east-1:111122223333:inference-profile/eu.{MODEL}",
        f"arn:aws-us-gov:bedrock:us-gov-west-1:111122223333:inference-profile/us-gov.{MODEL}",
    ],
)
def test_a_model_has_one_name_however_a_call_spells_it(spelling: str) -> None:
    """Else somebody who is denied varies the spelling, and no count is reached."""
    assert model_id(decode(message(bedrock(modelId=spelling))).records[0]) == MODEL


@pytest.mark.parametrize(
    "other",
    ["us.amazon", "user.model-v1", "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc123"],
)
def test_what_is_no_spelling_of_a_model_stays(other: str) -> None:
    """An application's own profile does not say which model is behind it."""
    assert model_id(decode(message(bedrock(modelId=other))).records[0]) == other


def test_a_role_is_one_principal_however_its_sessions_are_called() -> None:
    """Whoever takes a role on chooses the session's name. A user has none."""
    role = "arn:aws:sts::111122223333:assumed-role/app"
    assert {principal(f"{role}/{session}") for session in ("a", "b/c", "")} == {role}
    assert principal("arn:aws:iam::111122223333:user/team/dana") == "arn:aws:iam::111122223333:user/team/dana"


@pytest.mark.parametrize(
    ("told", "tokens"),
    [(b"7", 7), (b'"7"', 7), (b"7.0", 7), (b"-1", None), (b'"x"', None), (b"[ 218 B blob data ]", None), (b"{}", None)],
)
@pytest.mark.parametrize("text", [b"a line\nanother", b"plain"])
def test_tokens_are_read_beside_prompts_that_are_not(told: bytes, tokens: int | None, text: bytes) -> None:
    """A raw line break in a prompt costs no token; a number that is none counts as not told."""
    record = bedrock(input={"inputBodyJson": "@text", "inputTokenCount": "@told"})
    body = message(record).replace(b"@text", text).replace(b'"@told"', told)
    assert SOURCE.observe(decode(body).records[0])[2] == tokens
