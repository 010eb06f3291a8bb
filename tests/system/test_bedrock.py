"""The Bedrock rules: from messages in any shape, over stored buckets, to what fires."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.policy import Policy
from detectors.evaluation.window import GroupResult, evaluate_thresholds, sum_window
from detectors.events import Event
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.ingestion.delta import Delta
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.tally import Key
from detectors.sources.callers import named, parse
from detectors.sources.decoding import LEFT_OUT, decode, own_time
from detectors.storage.buckets import BucketStore
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES
from detectors.storage.tables import MemoryTable
from detectors.windows import microseconds, record_time, window_buckets
from tests.builders import (
    AWS_ACCOUNT,
    MODEL,
    PIPELINE,
    ROLE_ARN,
    SOURCE,
    START,
    USER_ARN,
    assessment,
    bedrock,
    canonical_id,
    chat,
    event,
    list_key,
    message,
    refused,
)
from tests.examples import examples

DENIED, INVALID, BLOCKED = "bedrock_denied_models", "bedrock_validation_exceptions", "bedrock_guardrail_violations"
RULES = (DENIED, INVALID, BLOCKED)
HOUR_END = START + timedelta(hours=1)


def _blocked(*policies: str, user: str = USER_ARN, **fields: object) -> dict[str, Any]:
    """Return a record of a request that these policies blocked."""
    trace = {"guardrail": {"inputAssessment": {"g1": assessment(*policies)}}}
    return bedrock(user, answer={"trace": trace}, **fields)


def _verdicts(events: Iterable[Event]) -> list[GroupResult]:
    """Return what fires in the hour after `START`, by way of the stored buckets."""
    store = BucketStore(MemoryTable())
    ingest = Ingest(store, Quarantine(MemoryTable(), excerpt_characters=100), BatchCounter(CATALOGUE), lambda: HOUR_END)
    for one in events:
        ingest(SOURCE, [one])
    stored = ((bucket, *part) for bucket in window_buckets(HOUR_END) for part in store.read(bucket, range(SLICES)))
    totals = sum_window(HOUR_END, stored)
    return [one for one in evaluate_thresholds(HOUR_END, totals, Policy(), newcomers={}) if one.rule_id in RULES]


def _fired(events: Iterable[Event]) -> dict[Key, int]:
    return {result.key: result.tally.count for result in _verdicts(events)}


def _count(*records: object) -> Delta:
    """Count for the three rules alone."""
    return BatchCounter([BY_ID[rule_id] for rule_id in RULES]).count([event(1, *records)], START)


@pytest.mark.parametrize(("count", "fires"), [(3, False), (4, True)])
def test_a_denied_model_fires_from_the_fourth_attempt_on(count: int, *, fires: bool) -> None:
    """More than three within the hour, whenever in it."""
    record = refused("AccessDeniedException")
    fired = _fired(event(place, record, after=timedelta(minutes=14 * place)) for place in range(1, count + 1))
    assert fired == ({Key(DENIED, (ROLE_ARN, MODEL, AWS_ACCOUNT)): count} if fires else {})


def test_a_role_is_one_user_and_a_model_one_model_however_they_are_spelt() -> None:
    """Whoever takes a role on names its sessions, and a model has several names."""
    spelt = [MODEL, f"us.{MODEL}", f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}", MODEL]
    records = [refused("AccessDeniedException", f"{ROLE_ARN}/{n}", modelId=model) for n, model in enumerate(spelt)]
    ((key, count),) = _fired([event(1, *records)]).items()
    assert (key, count) == (Key(DENIED, (ROLE_ARN, MODEL, AWS_ACCOUNT)), 4)


@pytest.mark.parametrize("field", [{"modelId": "other"}, {"accountId": "999988887777"}, {"user": f"{ROLE_ARN}2/dana"}])
def test_attempts_of_others_on_others_and_elsewhere_do_not_add_up(field: dict[str, str]) -> None:
    """A user, a model and an account make one group."""
    records = [refused("AccessDeniedException")] * 3 + [refused("AccessDeniedException", **field)] * 3
    assert _fired([event(1, *records)]) == {}


@pytest.mark.parametrize(("count", "fires"), [(3, False), (4, True)])
def test_validation_exceptions_fire_from_the_fourth_in_a_minute_on(count: int, *, fires: bool) -> None:
    """Of whatever models, and however the logs arrived."""
    events = [
        event(
            place,
            refused("ValidationException", modelId=f"model-{place}", timestamp=f"2026-11-23T07:20:{place:02}Z"),
            after=timedelta(minutes=14 * place),
        )
        for place in range(1, count + 1)
    ]
    key = Key(INVALID, (ROLE_ARN, AWS_ACCOUNT, "2026-11-23T07:20Z"))
    assert _fired(events) == ({key: count} if fires else {})


def test_validation_exceptions_in_two_minutes_do_not_add_up() -> None:
    """A minute is one of the clock, by the record's own time."""
    times = ["07:20:58", "07:20:59", "07:20:59.999", "07:21:00", "07:21:01", "07:21:02"]
    records = [refused("ValidationException", timestamp=f"2026-11-23T{time}Z") for time in times]
    assert _fired([event(1, *records)]) == {}


@pytest.mark.parametrize(
    ("policies", "fires"),
    [
        ((), False),
        (("topicPolicy",), False),
        (("topicPolicy", "wordPolicy"), True),
        (("topicPolicy", "wordPolicy", "contentPolicy"), True),
    ],
)
def test_one_request_that_two_policies_block_fires(policies: Sequence[str], *, fires: bool) -> None:
    """One policy is an accident."""
    key = Key(BLOCKED, (ROLE_ARN, MODEL, AWS_ACCOUNT, str(len(policies))))
    assert _fired([event(1, _blocked(*policies))]) == ({key: 1} if fires else {})


def test_requests_are_told_apart_by_how_many_policies_block_them() -> None:
    """As upstream groups them."""
    two, three = ("topicPolicy", "wordPolicy"), ("topicPolicy", "wordPolicy", "contentPolicy")
    fired = _fired([event(1, _blocked(*two), _blocked(*three), _blocked(*two))])
    assert {key.group[-1]: count for key, count in fired.items()} == {"2": 2, "3": 1}


def test_the_policies_of_two_requests_do_not_add_up() -> None:
    """It takes several within a single one."""
    assert _fired([event(1, _blocked("topicPolicy"), _blocked("wordPolicy"))]) == {}


DENIALS = [refused("AccessDeniedException")] * 4


@pytest.mark.parametrize(
    "bodies",
    [
        [message(*DENIALS)],
        [json.dumps(DENIALS).encode()],
        [json.dumps(record).encode() for record in DENIALS],
        [b"\n".join(json.dumps(record).encode() for record in DENIALS)],
        [message(*DENIALS[:2], list_key(), chat(), *DENIALS[2:], {**chat(), "identity": {"claims": {}}, "output": 1})],
        [message(*DENIALS, {**list_key(), "time": 5, "timestamp": [], "accountId": {}, "errorCode": 7})],
        [message(*DENIALS[1:]) + b"\n" + message(DENIALS[0]) + b"{cut"],
        [message(DENIALS[0], {**DENIALS[0], "region": "@@"}, *DENIALS[1:]).replace(b'"@@"', b"@@")],
    ],
    ids=["records", "array", "bare", "lines", "beside Azure", "beside a surprise", "cut", "broken"],
)
def test_a_record_counts_in_every_shape_of_a_message(bodies: Sequence[bytes]) -> None:
    """Whatever its shipper makes of it, and whoever else is in it."""
    events = [Event(sequence, START, body) for sequence, body in enumerate(bodies)]
    assert _fired(events) == {Key(DENIED, (ROLE_ARN, MODEL, AWS_ACCOUNT)): 4}


def test_records_of_azure_beside_it_count_as_ever() -> None:
    """Both in one message, neither at the cost of the other; names that they share mean nothing to the other."""
    azure = {
        **list_key(),
        "identity": {"claims": {}},
        "accountId": 5,
        "timestamp": 1,
        "schemaType": "ModelInvocationLog",
    }
    records = [azure, *DENIALS, {**chat(), "errorCode": "AccessDeniedException", "modelId": {}}]
    tallies = BatchCounter(CATALOGUE).count([event(1, *records)], START).tallies
    counts = {key.rule_id: tally.count for key, tally in tallies.items()}
    assert {rule_id: counts[rule_id] for rule_id in ("model_theft", "denial_of_service", "large_transfer", DENIED)} == {
        "model_theft": 1,
        "denial_of_service": 1,
        "large_transfer": 1,
        DENIED: 4,
    }
    theft = tallies[Key("model_theft", (canonical_id(),))]
    assert theft.first_time == microseconds(datetime.fromisoformat(azure["time"]))
    assert theft.callers == {PIPELINE: 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"identity": None}, "no_caller"),
        ({"identity": {"arn": 5}}, "no_caller"),
        ({"accountId": None}, "no_account"),
        ({"accountId": 111122223333}, "no_account"),
        ({"modelId": []}, "no_model"),
    ],
)
def test_a_denial_that_names_nobody_is_quarantined(changes: dict[str, object], reason: str) -> None:
    """It is counted for nobody, and somebody should look at it."""
    delta = _count({**DENIALS[0], **changes}, DENIALS[0])
    assert [(placed.flaw.index, placed.flaw.reason) for placed in delta.flaws] == [(0, reason)]
    assert [tally.count for tally in delta.tallies.values()] == [1]


@pytest.mark.parametrize("timestamp", [None, "", "yesterday", 1795420798000, {}])
def test_a_validation_exception_without_a_time_is_quarantined(timestamp: object) -> None:
    """Its minute cannot be told; a denial needs none."""
    changes = {"timestamp": timestamp}
    delta = _count({**refused("ValidationException"), **changes}, {**DENIALS[0], **changes})
    assert delta.counters.quarantined == {"no_time": 1}
    assert [(key.rule_id, tally.count, tally.first_time) for key, tally in delta.tallies.items()] == [(DENIED, 1, None)]


def test_a_record_with_an_unreadable_field_counts_and_is_quarantined() -> None:
    """As one of Azure is: somebody should look at it."""
    delta = _count({**DENIALS[0], "time": 5}, DENIALS[0])
    assert delta.counters.quarantined == {"unreadable_field": 1}
    assert [tally.count for tally in delta.tallies.values()] == [2]


@pytest.mark.parametrize("rule_id", RULES)
@pytest.mark.parametrize("schema", ["modelinvocationlog", "ModelInvocationLogs", "", None, 5])
def test_records_of_another_schema_are_not_selected(rule_id: str, schema: object) -> None:
    """Nor if their operation is called like the schema."""
    for record in (*DENIALS[:1], refused("ValidationException"), _blocked("topicPolicy", "wordPolicy")):
        other = {**record, "schemaType": schema, "operationName": "ModelInvocationLog"}
        assert BatchCounter([BY_ID[rule_id]]).count([event(1, other)], START).tallies == {}


def test_the_time_of_a_record_is_its_own_and_not_that_of_its_shipper() -> None:
    """Azure's field goes first where both stand, as `timestamp` is what shippers add."""
    both, bedrocks = decode(message({**list_key(), "timestamp": "2026-11-23T09:00:00Z"}, bedrock())).records
    assert own_time(both) == own_time(decode(message(list_key())).records[0])
    assert record_time(own_time(bedrocks)) == datetime.fromtimestamp(1795420798, UTC)


def test_the_caller_is_the_arn() -> None:
    """As an object id, never as an address; an endless one is cut."""
    endless = "arn:" + "x" * 2_000
    for user, kept in ((USER_ARN, USER_ARN), (endless, named(endless, 256))):
        for tally in _count(refused("AccessDeniedException", user)).tallies.values():
            assert list(tally.callers) == [kept]
            assert parse(kept) == (kept, "")


def test_the_bedrock_rules_are_the_upstream_rules() -> None:
    """Their ids, severities and tags are the contract."""
    rules = [BY_ID[rule_id] for rule_id in RULES]
    assert [(rule.source_id, rule.severity, rule.risk_score, rule.techniques) for rule in rules] == [
        ("17261da3-a6d0-463c-aac8-ea1718afcd20", "High", 73, ("AML.T0015", "AML.T0034")),
        ("725a048a-88c5-4fc7-8677-a44fc0031822", "High", 73, ("AML.T0015", "AML.T0034", "AML.T0046")),
        ("f4c2515a-18bb-47ce-a768-1dc4e7b0fe6c", "Low", 21, ("AML.T0051", "AML.T0054")),
    ]


SECRET = "PIN 4711"
TOLD = bedrock(
    answer={"content": [{"text": SECRET * 9}], "trace": {"guardrail": {"input": {"g": assessment("topicPolicy")}}}},
    input={"inputBodyJson": {"messages": [{"role": "user", "content": [{"text": f"{SECRET} " * 99}]}]}},
    system=SECRET,
    messages={"content": SECRET},
)


@pytest.mark.parametrize(
    "body",
    [
        message({**TOLD, "errorCode": "AccessDeniedException", "modelId": None}),
        message({**TOLD, "errorCode": "AccessDeniedException", "accountId": 5, "identity": {"arn": f"arn:{SECRET}"}}),
        message({**TOLD, "errorCode": "AccessDeniedException", "modelId": None, "time": 5}),
        message({**TOLD, "operationName": 5}),
        message(TOLD)[:-300],
        message(TOLD).replace(b"{", b"", 1),
        message(json.dumps(TOLD)[:-300]),
        message([TOLD]),
        message({"message": json.dumps(TOLD), "category": 5}),
        message({"detail": TOLD, "operationName": [], "log": SECRET}),
        json.dumps(TOLD).encode()[:-1] + b"x}",
        message(TOLD).replace(b"ModelInvocationLog", b"")[:-300],
        b'"outputBodyJson": {"text": "' + SECRET.encode(),
    ],
)
def test_what_is_said_to_a_model_is_not_kept(body: bytes) -> None:
    """Neither prompts nor answers nor names, though something is wrong with the record and is kept."""
    delta = BatchCounter(CATALOGUE).count([Event(1, START, body)], START)
    assert delta.flaws
    assert SECRET not in str(delta.flaws)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a message with records of both clouds, cut somewhere behind its begin, or with bytes lost or changed."""
    body = bytearray(message(list_key(), TOLD, {**TOLD, "time": []}, chat(), TOLD))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        body[start : start + draw(st.integers(0, 30))] = draw(st.binary(max_size=3) | st.just(b'"') | st.just(b"}"))
    return bytes(body[: draw(st.integers(500, len(body)))])


@examples(150)
@given(damaged())
def test_no_damage_makes_it_keep_what_is_said_to_a_model(body: bytes) -> None:
    """Wherever the reader goes on from there."""
    delta = BatchCounter(CATALOGUE).count([Event(1, START, body)], START)
    assert SECRET not in str(delta.flaws)


def test_what_is_broken_in_other_messages_is_still_shown() -> None:
    """Only a message that holds prompts keeps its excerpts to itself."""
    flaws = [BatchCounter(CATALOGUE).count([Event(1, START, body)], START).flaws[0] for body in (b"{cut", b"[7]")]
    assert [placed.flaw.excerpt for placed in flaws] == ["{cut", "7"]
    hidden = BatchCounter(CATALOGUE).count([event(1, 7, bedrock())], START).flaws[0].flaw
    assert (hidden.reason, hidden.excerpt) == ("not_a_record", LEFT_OUT)


def _minute(record: dict[str, Any]) -> str | None:
    """Return the oracle's minute: fifteen characters of the text, if it is a time."""
    text = record.get("timestamp")
    try:
        datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return str(text)[:16] + "Z"


def _expected(records: Iterable[object]) -> dict[Key, int]:
    """Return the three rules in plain loops over the generator's records, of which only wholly right ones count."""
    seen: Counter[Key] = Counter()
    for record in records:
        if not isinstance(record, dict) or record.get("schemaType") != "ModelInvocationLog":
            continue
        user = (record.get("identity") or {}).get("arn")
        model, account, minute = record.get("modelId"), record.get("accountId"), _minute(record)
        user = user and re.sub(r"(:assumed-role/[^/]*)/.*", r"\1", user)  # whoever takes a role on names the session
        if user and account and model and record.get("errorCode") == "AccessDeniedException":
            seen[Key(DENIED, (user, model, account))] += 1
        if user and account and minute and record.get("errorCode") == "ValidationException":
            seen[Key(INVALID, (user, account, minute))] += 1
        if user and account and model and record.get("expected", 0) > 1:
            seen[Key(BLOCKED, (user, model, account, str(record["expected"])))] += 1
    return {key: count for key, count in seen.items() if count > (0 if key.rule_id == BLOCKED else 3)}


POLICIES = ["topicPolicy", "wordPolicy", "contentPolicy"]
users = st.sampled_from([USER_ARN, f"{ROLE_ARN}/another-session", "arn:aws:iam::111122223333:user/eve"])
fields = st.fixed_dictionaries(
    {"modelId": st.sampled_from([MODEL, MODEL, MODEL, "other", None])},
    optional={
        "accountId": st.sampled_from([AWS_ACCOUNT, AWS_ACCOUNT, None]),
        "timestamp": st.sampled_from(
            ["2026-11-23T07:59:58Z", "2026-11-23T07:58:01.5Z", "2026-11-23T07:58:59Z", "soon"]
        ),
        "identity": st.sampled_from([{}, None, {"arn": "arn:aws:iam::111122223333:user/eve"}]),
        "time": st.sampled_from([None, 5]),
    },
)
failures = st.builds(
    lambda code, user, changes: refused(code, user, **changes),
    st.sampled_from(["AccessDeniedException", "ValidationException", "ThrottlingException"]),
    users,
    fields,
)
blocks = st.builds(
    lambda policies, user, changes: _blocked(*policies, user=user, expected=len(policies), **changes),
    st.lists(st.sampled_from(POLICIES), unique=True),
    users,
    fields,
)
others = st.sampled_from([list_key(), chat(), 7, None, "text", {"schemaType": 5, "errorCode": []}, {}])
bursts = st.builds(lambda record, times: [record] * times, failures | failures | blocks | others, st.integers(1, 4))
arrivals = st.lists(
    st.tuples(
        st.lists(bursts, max_size=4).map(lambda several: [record for burst in several for record in burst]),
        st.integers(-15, 75),
        st.sampled_from(["records", "array", "lenient"]),
        st.integers(0, 3),
    ),
    max_size=6,
)


def _body(records: Sequence[object], shape: str) -> bytes:
    if shape == "array":
        return json.dumps(records).encode()
    return message(*records, {"operationName": []}) if shape == "lenient" else message(*records)


@examples(150)
@given(arrivals)
def test_what_fires_is_what_plain_loops_find(
    batches: list[tuple[list[Any], int, str, int]],
) -> None:
    """Records late, delivered again, malformed and beside others: each counts once, in the hour of its arrival."""
    delivered: list[Event] = []
    arrived: list[object] = []
    for sequence, (records, minutes, shape, again) in enumerate(sorted(batches, key=lambda batch: batch[1])):
        delivered.append(Event(sequence, START + timedelta(minutes=minutes), _body(records, shape)))
        delivered += delivered[-again:] if again else []
        arrived += records if 0 <= minutes < 60 else []
    assert _fired(delivered) == _expected(arrived)
