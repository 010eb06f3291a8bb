"""What logs look like out there, by kinds: what each comes to, through counting and evaluation.

The records are our own. Their kinds are those of public samples, of bug reports about shippers, and of what the
documentation of Azure and AWS says.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from detectors.evaluation.policy import Policy
from detectors.events import Event
from detectors.examples.catalogue import WRITERS
from detectors.sources.source import Value
from tests.builders import (
    AWS_ACCOUNT,
    MODEL,
    ROLE_ARN,
    SOURCE,
    START,
    assessment,
    bedrock,
    canonical_id,
    chat,
    list_key,
    message,
    of_another_service,
    refused,
    resource_id,
)
from tests.deployment import Deployment

type RawRecord = dict[str, Any]
TIME = "2026-11-23T08:00:30Z"
DAYS = timedelta(days=20)


class Seen:
    """What the detector makes of messages that arrive within ten minutes."""

    def __init__(self, *bodies: bytes, before: Sequence[RawRecord] = ()) -> None:
        self._deployment = Deployment(policy=Policy())
        if before:
            self._deployment.arrive(START - DAYS, *before)
            self._deployment.tick(START - DAYS + timedelta(minutes=10))
        events = [Event(1_000 + place, START + timedelta(minutes=1), body) for place, body in enumerate(bodies)]
        self._deployment.ingest(SOURCE, events)
        self._deployment.tick(START + timedelta(minutes=10))
        self.rows = [row for row in self._deployment.posted.newest().values() if row["Triggers"]]
        self.beat = self._deployment.posted.beats[-1]

    @property
    def findings(self) -> dict[str, int]:
        """By rule, what its first threshold came to; a rule fires for one group in these tests."""
        assert len({row["RuleId"] for row in self.rows}) == len(self.rows)
        return {row["RuleId"]: int(row["Triggers"][0]["Value"]) for row in self.rows}

    @property
    def unknown(self) -> list[str]:
        """The shapes of records of no known source."""
        return [one["Fields"] for one in self.beat["UnknownRecords"]]

    @property
    def quarantined(self) -> dict[str, int]:
        """Records by the reason of their quarantine."""
        return {one["Reason"]: one["Records"] for one in self.beat["QuarantinedByReason"]}


def written(source: str, times: int = 1, **fields: Value) -> Iterator[RawRecord]:
    """Write records of a source as it writes them; `{n}` in a text counts them."""
    writer = WRITERS[source]
    for number in range(1, times + 1):
        numbered = {
            name: value.replace("{n}", str(number)) if isinstance(value, str) else value
            for name, value in fields.items()
        }
        yield writer.write(writer.complete(numbered, 0), START)


def flood(times: int = 12, **changes: object) -> list[RawRecord]:
    """Make calls with long prompts, all within a minute: a denial of service, if they are read."""
    return [{**chat(requestLength=6_000), "time": TIME, **changes}] * times


def with_properties(record: RawRecord, **changes: object) -> RawRecord:
    """Return a record with other properties, as an object."""
    return {**record, "properties": {**json.loads(record["properties"]), **changes}}


KEYS = {"model_theft": 120}
FLOOD = {"denial_of_service": 12}


@pytest.mark.parametrize(
    "spelling",
    [
        resource_id(),
        resource_id(upper=False),
        resource_id()[1:],
        f"{resource_id()}/projects/agents",
        f"{resource_id(upper=False)}/deployments/chat",
    ],
)
def test_child_resources_and_spellings_belong_to_their_account(spelling: str) -> None:
    """In upper and lower case, with and without the first slash."""
    seen = Seen(message(*[{**list_key(), "resourceId": spelling}] * 60, *[list_key()] * 60))
    assert seen.findings == KEYS
    assert seen.rows[0]["ResourceId"] == canonical_id()


def test_the_activity_log_is_read_and_is_no_model_theft() -> None:
    """200 listings of one account by one caller, each logged when it starts and when it ends."""
    start, end = (list(written("azure_activity", 200, stage=stage)) for stage in ("start", "end"))
    seen = Seen(message(*start, *end))
    assert seen.findings == {}
    selected = {one["RuleId"]: one["Records"] for one in seen.beat["SelectedByRule"]}
    assert selected == {"key_sweep": 200, "first_key_listing": 200}


@pytest.mark.parametrize("category", ["Administrative", "Action"])
@pytest.mark.parametrize("result", ["Success", "Failure", "Failed"])
def test_a_caller_who_lists_the_keys_of_many_accounts_is_found(category: str, result: str) -> None:
    """Older exports have another category, and failures are attempts."""
    records = written("azure_activity", 60, resource="aoai-{n}", caller="a thief")
    seen = Seen(message(*({**record, "category": category, "resultType": result} for record in records)))
    assert seen.findings == {"key_sweep": 60}
    assert len(seen.rows[0]["Members"]) == 50


def test_a_service_principal_without_an_object_id_is_one_caller_by_its_application() -> None:
    """It has no name either."""
    (first, *others) = written("azure_activity", 6, resource="aoai-{n}")
    claims = {"appid": "04b07795-8ddb-461a-bbee-02f9e1bf7b46"}
    records = [{**record, "identity": {"claims": claims}} for record in (first, *others)]
    seen = Seen(message(*records))
    assert seen.findings == {"key_sweep": 6}
    assert seen.rows[0]["Group"] == {"Caller": claims["appid"]}


def test_the_first_listing_on_a_quiet_account_is_found() -> None:
    """Twenty days of calls by people who sign in, then a listing; of an unknown account it says nothing."""
    before = list(written("azure_openai", caller="dana", resource=canonical_id()))
    assert Seen(message(list_key()), before=before).findings == {"first_key_listing": 1}
    assert Seen(message(list_key("aoai-dev")), before=before).findings == {}


def test_a_key_that_is_suddenly_used_is_found() -> None:
    """Where everybody signed in for twenty days."""
    before = list(written("azure_openai", caller="dana", resource=canonical_id()))
    with_key = written("azure_openai", 3, caller="203.0.113.**", resource=canonical_id())
    assert Seen(message(*with_key), before=before).findings == {"first_key_use": 3}


def test_a_second_row_of_each_call_is_no_call() -> None:
    """It names no model and no caller; six calls are not twelve, and none of them is empty."""
    twin = {**chat(requestLength=6_000, responseLength=0), "time": TIME}
    twin["properties"] = json.dumps({"objectId": "", "requestLength": 6_000, "responseLength": 0})
    assert Seen(message(*flood(6), *[twin] * 6)).findings == {}
    assert Seen(message(*flood(12), *[twin] * 12)).findings == FLOOD


def test_newer_records_name_their_caller_in_another_field() -> None:
    """`callerObjectId`, with or without the older one."""
    who = "30a6c29d-de7c-4830-815f-9b3bb366e975"
    record = with_properties(chat(), responseLength=1_500_000, objectId=None, callerObjectId=who)
    seen = Seen(message(record))
    assert seen.findings == {"large_transfer": 1_500_000}
    assert seen.rows[0]["Callers"][0]["ObjectId"] == who


@pytest.mark.parametrize(
    "operation",
    [
        "ChatCompletions_Create",
        "Responses_Create",
        "Completions_Create",
        "Creates a completion for the chat message",
        "getChatCompletions",
    ],
)
def test_operations_that_write_an_answer_have_had_many_names(operation: str) -> None:
    """All of them count."""
    assert Seen(message(*flood(operationName=operation))).findings == FLOOD


@pytest.mark.parametrize("category", ["AzureOpenAIRequestUsage", "Trace", "Audit"])
def test_records_about_usage_are_no_calls(category: str) -> None:
    """Though they carry the operation's name."""
    assert Seen(message(*flood(5), *flood(12, category=category))).findings == {}


def _single_quoted(record: RawRecord) -> RawRecord:
    return {**record, "properties": record["properties"].replace('"', "'")}


@pytest.mark.parametrize(
    "record",
    [
        flood()[0],
        with_properties(flood()[0]),
        with_properties(flood()[0], requestLength="6000"),
        with_properties(flood()[0], requestLength=6000.0),
        _single_quoted(flood()[0]),
    ],
    ids=["text", "object", "number in a text", "float", "single quotes"],
)
def test_properties_come_in_several_forms(record: RawRecord) -> None:
    """None of them costs a record."""
    assert Seen(message(*[record] * 12)).findings == FLOOD


def test_a_status_may_be_a_number_and_may_be_missing() -> None:
    """A number is the same status; records that tell a `resultType` alone have none."""
    empty = {**chat(responseLength=0), "time": TIME}
    assert Seen(message(*[{**empty, "resultSignature": 200}] * 12)).findings == {"insecure_output": 12}
    del empty["resultSignature"]
    assert Seen(message(*[{**empty, "resultType": "Success"}] * 12)).findings == {}


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-23T09:00:30+01:00",
        "2026-11-23T08:00:30",
        "2026-11-23 08:00:30",
        "11/23/2026 08:00:30",
        "11/23/2026 8:00:30 AM",
    ],
)
def test_times_are_read_in_the_forms_that_shippers_make_of_them(time: str) -> None:
    """Without a zone they are UTC, and of US dates the month comes first."""
    seen = Seen(message(*flood(time=time)))
    assert seen.findings == FLOOD
    assert seen.rows[0]["Group"]["Minute"] == "2026-11-23T08:00Z"


@pytest.mark.parametrize("time", ["23/11/2026 08:00:30", "1795420830", "11/23/2026 13:00:30 AM"])
def test_a_time_that_is_not_certain_is_quarantined(time: str) -> None:
    """Rather than counted for a minute that it may not be."""
    seen = Seen(message(*flood(time=time)))
    assert (seen.findings, seen.quarantined) == ({}, {"no_time": 12})


def _exported(record: RawRecord) -> RawRecord:
    """Make a record into a row of AzureDiagnostics, as data export writes it."""
    properties = record["properties"]
    return {
        "TenantId": "d2af6ef7-a00c-438f-903b-65592cfddc48",
        "TimeGenerated": TIME,
        "Category": record["category"],
        "OperationName": record["operationName"],
        "ResultSignature": record.get("resultSignature", ""),
        "CallerIPAddress": record.get("callerIpAddress", ""),
        "_ResourceId": record["resourceId"].lower(),
        "properties_s": properties if isinstance(properties, str) else json.dumps(properties),
    }


def test_rows_that_log_analytics_exports_are_read() -> None:
    """With the names of their columns."""
    assert Seen(message(*map(_exported, flood()))).findings == FLOOD
    assert Seen(message(*[_exported(list_key())] * 120)).findings == KEYS


def test_records_of_other_services_in_the_hub_are_let_go() -> None:
    """API Management, machine-learning workspaces: read, not selected or as a resource, and never quarantined."""
    gateway = {
        **of_another_service(),
        "category": "GatewayLogs",
        "operationName": "Microsoft.ApiManagement/GatewayLogs",
    }
    seen = Seen(message(*[gateway] * 12))
    assert (seen.findings, seen.quarantined, seen.unknown, seen.beat["Records"]) == ({}, {}, [], 12)
    workspace = canonical_id("ws1").replace("cognitiveservices/accounts", "machinelearningservices/workspaces")
    seen = Seen(message(*flood(resourceId=workspace)))
    assert (seen.findings, seen.quarantined) == (FLOOD, {})


@pytest.mark.parametrize(
    ("status", "times", "findings"),
    [
        ("400", 50, {"refused_requests": 50}),
        ("401", 200, {"refused_access": 200}),
        ("403", 60, {"refused_access": 60}),
        ("429", 500, {}),
        ("500", 500, {}),
    ],
)
def test_refusals_of_one_caller_are_found_and_throttling_is_not(
    status: str, times: int, findings: dict[str, int]
) -> None:
    """The content filter answers 400; a busy application meets 429."""
    assert Seen(message(*written("azure_openai", times, status=status, caller="203.0.113.**"))).findings == findings


def test_a_model_is_one_however_calls_spell_it() -> None:
    """Its id, a profile for several regions, the profile's ARN and the model's ARN."""
    spelt = [
        MODEL,
        f"us.{MODEL}",
        f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}",
        f"arn:aws:bedrock:us-east-1:{AWS_ACCOUNT}:inference-profile/eu.{MODEL}",
    ]
    seen = Seen(message(*(refused("AccessDeniedException", modelId=model) for model in spelt * 2)))
    assert seen.findings == {"bedrock_denied_models": 8}


def test_models_that_are_tried_once_each_are_an_enumeration() -> None:
    """Denied or not there."""
    codes = ["AccessDeniedException", "ResourceNotFoundException"] * 3
    seen = Seen(message(*(refused(code, modelId=f"vendor.model-{place}") for place, code in enumerate(codes))))
    assert seen.findings == {"bedrock_model_enumeration": 6}


def test_a_role_is_one_user_however_its_sessions_are_called() -> None:
    """Whoever takes it on chooses the name."""
    seen = Seen(message(*(refused("AccessDeniedException", f"{ROLE_ARN}/s-{number}") for number in range(20))))
    assert seen.findings == {"bedrock_denied_models": 20}
    assert seen.rows[0]["Group"]["UserArn"] == ROLE_ARN
    assert len(seen.rows[0]["Callers"]) == 20


def test_probing_for_models_is_found_and_throttling_is_not() -> None:
    """Both end in an error."""
    missing, throttled = refused("ResourceNotFoundException"), refused("ThrottlingException")
    assert Seen(message(*[missing, throttled] * 20)).findings == {"bedrock_missing_models": 20}
    assert Seen(message(*[throttled] * 200)).findings == {}


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_every_partition_of_aws_is_read_and_a_blank_in_a_time(partition: str) -> None:
    """As an archive stores it."""
    user = f"arn:{partition}:sts::{AWS_ACCOUNT}:assumed-role/app/dana"
    record = refused("ValidationException", user, timestamp="2026-11-23 08:00:30.000000000")
    assert Seen(message(*[record] * 6)).findings == {"bedrock_validation_exceptions": 6}


@pytest.mark.parametrize("identity", [{}, {"arn": "<redacted>"}, None])
def test_calls_of_nobody_are_quarantined(identity: object) -> None:
    """Redacted, or by an API key that the log does not name."""
    seen = Seen(message(*[{**refused("AccessDeniedException"), "identity": identity}] * 6))
    assert (seen.findings, seen.quarantined) == ({}, {"no_caller": 6})


def _traced(*policies: str, **actions: str) -> RawRecord:
    return bedrock(answer={"trace": {"guardrail": {"outputAssessments": {"g": [assessment(*policies, **actions)]}}}})


REASONED: dict[str, Any] = {"automatedReasoningPolicy": {"findings": [{"invalid": {"translation": {}}}]}}


@pytest.mark.parametrize(
    ("record", "findings"),
    [
        (_traced("topicPolicy", "contentPolicy", "wordPolicy"), {"bedrock_guardrail_violations": 1}),
        (_traced("topicPolicy", sensitiveInformationPolicy="ANONYMIZED"), {}),
        (_traced(topicPolicy="NONE", contentPolicy="NONE"), {}),
        (_traced("contextualGroundingPolicy"), {}),
        (
            bedrock(answer={"trace": {"guardrail": {"inputAssessment": {"g": assessment("topicPolicy") | REASONED}}}}),
            {"bedrock_guardrail_violations": 1},
        ),
    ],
    ids=["three policies", "one masks", "all only watch", "grounding", "automated reasoning"],
)
def test_a_request_that_several_policies_block_is_found(record: RawRecord, findings: dict[str, int]) -> None:
    """A policy counts if it blocked, or rejected; what masks or watches does not."""
    assert Seen(message(record)).findings == findings


@pytest.mark.parametrize(
    "answer",
    [
        {"stopReason": "guardrail_intervened"},
        {"amazon-bedrock-guardrailAction": "INTERVENED"},
        [{"messageStop": {"stopReason": "guardrail_intervened"}}],
        {"trace": {"guardrail": {"inputAssessment": {"g": assessment("topicPolicy")}}}},
    ],
)
def test_a_user_who_is_blocked_again_and_again_is_found(answer: object) -> None:
    """By one policy, or by nobody knows which."""
    assert Seen(message(*[bedrock(answer=answer)] * 12)).findings == {"bedrock_blocked_requests": 12}


DENIED = [refused("AccessDeniedException")] * 6
AS_TEXT = [json.dumps(record) for record in DENIED]


@pytest.mark.parametrize(
    "bodies",
    [
        [json.dumps(record).encode() for record in DENIED],
        [json.dumps({"messageType": "DATA_MESSAGE", "logEvents": [{"id": "1", "message": text} for text in AS_TEXT]})],
        [json.dumps({"message": text, "host": "ip-10-0-0-1", "source_type": "aws_s3"}) for text in AS_TEXT],
        [json.dumps({"log": text, "stream": "stdout"}) for text in AS_TEXT],
        [json.dumps({"schema": {"type": "string"}, "payload": text}) for text in AS_TEXT],
        [json.dumps({"schema": None, "payload": record}) for record in DENIED],
        [json.dumps(AS_TEXT)],
        [json.dumps({"records": AS_TEXT})],
        [json.dumps(text) for text in AS_TEXT],
        ["\n".join(json.dumps(record, indent=2) for record in DENIED)],
        [json.dumps({"log": json.dumps({"message": text})}) for text in AS_TEXT],
    ],
    ids=[
        "bare",
        "CloudWatch",
        "Vector",
        "Fluent Bit",
        "Kafka Connect, text",
        "Kafka Connect, object",
        "texts in an array",
        "texts among records",
        "a text",
        "printed over lines",
        "a shipper behind a shipper",
    ],
)
def test_what_shippers_wrap_around_records_is_taken_off(bodies: Sequence[str | bytes]) -> None:
    """In their default forms; a wrapper is no record."""
    seen = Seen(*(body.encode() if isinstance(body, str) else body for body in bodies))
    assert seen.findings == {"bedrock_denied_models": 6}
    assert (seen.beat["Records"], seen.unknown, seen.quarantined) == (6, [], {})


def test_what_nothing_reads_is_told_by_its_fields() -> None:
    """A wrapper of an unknown form, and one too many."""
    deep = json.dumps({"log": json.dumps({"message": json.dumps({"payload": AS_TEXT[0]})})})
    seen = Seen(json.dumps({"data": AS_TEXT[0], "id": 7}).encode(), deep.encode())
    assert (seen.findings, seen.unknown) == ({}, ["data, id", "payload"])
    assert AWS_ACCOUNT not in str(seen.beat["UnknownRecords"])


def test_what_is_quarantined_is_not_unknown_as_well() -> None:
    """Each record has one fate."""
    seen = Seen(message(7, {"operationName": 5}), b"{cut")
    assert seen.unknown == []
    assert sum(seen.quarantined.values()) == 3


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("event", "rule_id"),
    [
        ("DeleteModelInvocationLoggingConfiguration", "bedrock_logging_disabled"),
        ("DeleteGuardrail", "bedrock_guardrail_weakened"),
        ("UpdateGuardrail", "bedrock_guardrail_weakened"),
    ],
)
def test_controls_of_aws_that_are_switched_off_are_found(event: str, rule_id: str, *, wrapped: bool) -> None:
    """From CloudTrail, plain and through EventBridge."""
    (record,) = written("aws_cloudtrail", event=event)
    if wrapped:
        record = {"version": "0", "detail-type": "AWS API Call via CloudTrail", "time": TIME, "detail": record}
    assert Seen(json.dumps(record).encode()).findings == {rule_id: 1}


def test_a_diagnostic_setting_that_is_deleted_is_found() -> None:
    """Its own id begins with that of the account."""
    (record,) = written("azure_activity", operation="Microsoft.Insights/diagnosticSettings/delete")
    record["resourceId"] += "/PROVIDERS/MICROSOFT.INSIGHTS/DIAGNOSTICSETTINGS/TO-HUB"
    assert Seen(message(record)).findings == {"diagnostics_removed": 1}


def _single_quotes_between() -> bytes:
    return b"{'records': [%s]}" % b", ".join(json.dumps(list_key()).encode() for _ in range(120))


def _unescaped_body() -> bytes:
    broken = json.dumps({**of_another_service(), "body": "@@"}).replace("@@", '{"id": "7"}').encode()
    return message(*[list_key()] * 120)[:-2] + b", " + broken + b"]}"


@pytest.mark.parametrize(
    "body",
    [
        _single_quotes_between(),
        _unescaped_body(),
        message(*[list_key()] * 120) + b"\n[Page 1 of 1]",
        b"\xef\xbb\xbf" + message(*[list_key()] * 120) + b"\x00",
    ],
    ids=["single quotes", "a neighbour with an unescaped body", "a page marker at the end", "a mark and a NUL"],
)
def test_malformed_messages_cost_no_good_record(body: bytes) -> None:
    """What is broken in them is quarantined."""
    assert Seen(body).findings == KEYS


def test_an_application_that_streams_is_quiet_for_ever() -> None:
    """Every streamed answer is logged with length 0, which is no length: neither empty nor a byte to anybody."""
    streamed = list(written("azure_openai", 600, streamed="empty", caller="203.0.113.**"))
    assert {json.loads(record["properties"])["responseLength"] for record in streamed} == {0}
    seen = Seen(message(*streamed))
    assert seen.findings == {}
    assert seen.beat["SelectedWithLength"] == 0


def test_a_masked_address_is_one_network_however_many_digits_are_masked() -> None:
    """A gigabyte to one caller."""
    masked = ["20.236.11.*", "20.236.11.**", "20.236.11.***"]
    records = [
        record for caller in masked for record in written("azure_openai", 420, caller=caller, response_length=900_000)
    ]
    seen = Seen(message(*records))
    assert seen.findings == {"large_transfer": 1_134_000_000}
    assert [one["IpAddress"] for one in seen.rows[0]["Callers"]] == ["20.236.11.***"]
