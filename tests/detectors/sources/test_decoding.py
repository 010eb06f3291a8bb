"""Decoding: every shape that occurs, every breakage that is known, and any bytes at all."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.sources import decoding, repair
from detectors.sources.azure_openai import Properties, properties_of
from detectors.sources.decoding import MAX_FLAWS, Message, Record, decode
from detectors.sources.source import NOTHING
from tests.builders import AWS_ACCOUNT, MODEL, bedrock, chat, list_key, message, resource_id
from tests.examples import examples

GOOD = list_key(responseLength=12)


def _operations(decoded: Message) -> list[str | None]:
    return [record.operation_name for record in decoded.records]


def _reasons(decoded: Message) -> list[tuple[int, str]]:
    return [(flaw.index, flaw.reason) for flaw in decoded.flaws]


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (message(GOOD, chat()), 2),
        (json.dumps(GOOD).encode(), 1),
        (json.dumps([GOOD, GOOD, chat()]).encode(), 3),
        (b'{"records": []}', 0),
        (b'{"records": null}', 0),
        (b"[]", 0),
        (b'{"unknown": 1}', 1),
        (b' \n{"records": [{}]}\r\n', 1),
    ],
)
def test_an_envelope_a_bare_record_and_a_bare_array_are_read(body: bytes, count: int) -> None:
    """The three shapes of a message, with nothing wrong in any."""
    decoded = decode(body)
    assert (len(decoded.records), list(decoded.flaws)) == (count, [])


def test_the_fields_that_rules_read_are_read() -> None:
    """Every field arrives under its name."""
    record = {**GOOD, "callerIpAddress": "81.2.69.***"}
    assert decode(message(record)).records[0] == Record(
        time="2026-11-23T07:59:58.1234567Z",
        category="Audit",
        operation_name="ListKey",
        resource_id=resource_id(),
        caller_ip_address="81.2.69.***",
        properties=Properties(object_id="0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6", response_length=12),
    )


def test_the_fields_of_bedrock_that_rules_read_are_read() -> None:
    """Texts as they are, objects as the JSON that they are written in."""
    sent = bedrock(answer={"stopReason": "end_turn"}, errorCode="ThrottlingException")
    (record,) = decode(message(sent)).records
    for name in ("identity", "input", "output"):
        assert json.loads(bytes(getattr(record, name))) == sent[name]
    assert msgspec.structs.replace(record, identity=NOTHING, input=NOTHING, output=NOTHING) == Record(
        schema_type="ModelInvocationLog",
        timestamp="2026-11-23T07:59:58Z",
        account_id=AWS_ACCOUNT,
        model_id=MODEL,
        error_code="ThrottlingException",
    )


@pytest.mark.parametrize("name", ["schemaType", "timestamp", "accountId", "modelId", "errorCode", "identity", "output"])
@pytest.mark.parametrize("value", [5, 1.5, True, None, [], {}, {"a": [1]}, "text", 10**30, 1e999])
def test_a_name_that_bedrock_shares_with_others_costs_nothing(name: str, value: object) -> None:
    """Other services write what they like there; none of it is something to look at."""
    decoded = decode(message({**GOOD, name: value}, GOOD))
    assert (_operations(decoded), list(decoded.flaws), decoded.unreadable) == (["ListKey", "ListKey"], [], {})
    assert [properties_of(record)[0].response_length for record in decoded.records] == [12, 12]


@pytest.mark.parametrize("name", ["schemaType", "timestamp", "accountId", "modelId", "errorCode"])
@pytest.mark.parametrize("value", [5, 1.5, True, "text"])
def test_a_name_that_bedrock_shares_with_others_costs_no_time(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """A message of usual values is read at once, and not record by record."""
    monkeypatch.delattr(decoding, "_decode_one_by_one")
    body = message({**GOOD, name: value, "identity": {"claims": []}, "output": [value]})
    assert _operations(decode(body)) == ["ListKey"]


def test_properties_are_read_from_an_object_and_from_a_json_string() -> None:
    """RequestResponse records have had them both ways."""
    as_object = {**chat(), "properties": json.loads(chat()["properties"])}
    read = [properties_of(record) for record in decode(message(chat(), as_object)).records]
    assert read == [(Properties(object_id="", response_length=1523, model_name="gpt-4o"), frozenset())] * 2


@pytest.mark.parametrize("properties", [None, "", "{}"])
def test_missing_properties_are_empty_not_flawed(properties: str | None) -> None:
    """No properties means no length, which is not a length of 0."""
    record = decode(message({**GOOD, "properties": properties})).records[0]
    assert properties_of(record) == (Properties(), frozenset())


BROKEN_BUT_CERTAIN = {
    "byte order mark": b"\xef\xbb\xbf" + message(GOOD),
    "trailing NUL": message(GOOD) + b"\x00\x00",
    "trailing newline": message(GOOD) + b"\n",
    "raw newline in a string": message({**GOOD, "AssetIdentity": "@@"}).replace(b"@@", b"a\nb\tc"),
    "single quotes": message({**GOOD, "x": 1}).replace(b'"', b"'"),
    "single quotes around a quote": b"{'records': [" + json.dumps(GOOD)[:-1].encode() + b", 'x': 'say \"it\\'s\"'}]}",
    "blob data": message({**GOOD, "x": 0}).replace(b'"x": 0', b'"x": [ 218 B blob data ]'),
    "half a surrogate pair": message({**GOOD, "AssetIdentity": "@@"}).replace(b"@@", b"\\ud83d"),
    "bad UTF-8 in a field that is read": message({**GOOD, "callerIpAddress": "@@"}).replace(b"@@", b"\xff"),
    "two envelopes in a row": message() + b"\n" + message(GOOD),
    "records that are one object": json.dumps({"records": GOOD}).encode(),
}


@pytest.mark.parametrize("body", BROKEN_BUT_CERTAIN.values(), ids=BROKEN_BUT_CERTAIN.keys())
def test_known_broken_json_is_repaired_where_that_is_certain(body: bytes) -> None:
    """The record in it counts as if nothing had happened."""
    decoded = decode(body)
    assert _operations(decoded) == ["ListKey"]
    assert list(decoded.flaws) == []
    assert not decoded.unreadable
    assert properties_of(decoded.records[0])[0].response_length == 12


def test_half_a_surrogate_pair_in_properties_is_marked_and_nothing_raises() -> None:
    """Such a text cannot be encoded, so it must not get as far as storage."""
    body = message({**GOOD, "properties": "@@"}).replace(b"@@", b"\\ud83d{}")
    record = decode(body).records[0]
    assert record.properties == "?{}"
    assert properties_of(record) == (Properties(), frozenset({"properties"}))


def test_a_truncated_message_gives_its_whole_records() -> None:
    """Only the record that was cut is quarantined, under its place."""
    decoded = decode(message(GOOD, chat(), GOOD)[:-40])
    assert _operations(decoded) == ["ListKey", "ChatCompletions_Create", None]
    assert _reasons(decoded) == [(2, "not_json")]


def test_a_broken_record_costs_only_itself() -> None:
    """The neighbours on both sides are read, and places stay true."""
    body = message(GOOD, {**GOOD, "time": "@@"}, GOOD, chat()).replace(b'"@@"', b"@@ what")
    decoded = decode(body)
    assert _operations(decoded) == ["ListKey", None, "ListKey", "ChatCompletions_Create"]
    assert _reasons(decoded) == [(1, "not_json")]
    assert "@@ what" in decoded.flaws[0].excerpt


def test_a_record_that_lost_its_end_costs_only_itself() -> None:
    """Cut before its closing brace in the middle of a message, as by a sender's buffer."""
    cut = json.dumps(GOOD)[:-20]
    decoded = decode(b'{"records": [' + b", ".join([cut.encode(), *[json.dumps(GOOD).encode()] * 2]) + b"]}")
    assert _operations(decoded) == [None, "ListKey", "ListKey"]


def test_a_broken_record_of_many_parts_costs_only_itself() -> None:
    """However many objects are nested in it."""
    broken = {**GOOD, "parts": [{"n": number} for number in range(400)], "x": "@@"}
    decoded = decode(message(GOOD, broken, *[GOOD] * 20).replace(b'"@@"', b"@@"))
    assert _operations(decoded) == ["ListKey", None, *["ListKey"] * 20]


def test_many_broken_records_cost_only_themselves() -> None:
    """Half of the message may be broken."""
    decoded = decode(message(*[GOOD, {**GOOD, "x": "@@"}] * 300).replace(b'"@@"', b"@@"))
    assert _operations(decoded) == ["ListKey", None] * 300


def _cut_inside(text: str) -> bytes:
    """Return a message that ends in the middle of a long text of its second record's properties."""
    return message(GOOD, {**chat(), "properties": json.dumps({"x": text})})[:-500]


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (_cut_inside('a"b' * 40_000), 1),
        (_cut_inside("it's " * 40_000), 1),
        (message(GOOD)[:-2] + b'"' + b'\\"' * 500_000, 1),
        (b'{"records":[x}' + b" " * 500_000 + b"y", 0),
        (b"{" * 500_000, 0),
        (b"'" * 500_000, 0),
        (b'{"records":[' + b"},{" * 200_000, 0),
        (b'{"records":[' + b'[{"a":' * 300 + b"[1]," * 200_000, 0),
        (message(*[{"category": "Audit", "operationName": "ListKey"}] * 10_000), 10_000),
    ],
)
def test_a_large_message_costs_time_in_proportion(body: bytes, keys: int) -> None:
    """Each of these took minutes, or for ever, in a reader that goes back over what it has read."""
    assert _operations(decode(body)).count("ListKey") == keys


def test_blob_data_in_a_field_that_selects_is_told_from_a_missing_field() -> None:
    """It could have been a ListKey, so somebody should look."""
    body = message({**GOOD, "operationName": 0}).replace(b'"operationName": 0', b'"operationName": [ 7 B blob data ]')
    assert decode(body).unreadable[0].fields == ("operationName",)


def test_properties_in_a_string_keep_what_is_readable() -> None:
    """One bad length costs neither the caller nor the other length."""
    text = json.dumps({"objectId": "eve", "requestLength": 7, "responseLength": -1})
    (record,) = decode(message({**GOOD, "properties": text})).records
    assert properties_of(record) == (Properties(object_id="eve", request_length=7), frozenset({"responseLength"}))


def test_a_single_quoted_record_beside_a_broken_one_is_repaired() -> None:
    """Repairs work on a stretch of a message as on a whole one."""
    quoted = json.dumps(GOOD).replace('"', "'").encode()
    decoded = decode(b'{"records": [' + quoted + b", " + json.dumps(GOOD).encode() + b", {what}]}")
    assert _operations(decoded)[:2] == ["ListKey", "ListKey"]
    assert [reason for _, reason in _reasons(decoded)] == ["not_json"]


@pytest.mark.parametrize("body", [b"", b"\x00\x00", b"hello", b"\xff\xfe\x00", b'"text', b"{", b"NaN[", b"[" * 50_000])
def test_a_message_that_is_no_json_is_one_flaw(body: bytes) -> None:
    """It is counted as one record that says nothing."""
    decoded = decode(body)
    assert (len(decoded.records), _reasons(decoded)) == (1, [(0, "not_json")])


@pytest.mark.parametrize("element", [7, "text", None, [], 1.5, True])
def test_an_element_that_is_no_object_is_a_flaw_and_its_neighbours_are_not(element: object) -> None:
    """A number among records is quarantined with its place."""
    decoded = decode(message(GOOD, element, GOOD))
    assert _operations(decoded) == ["ListKey", None, "ListKey"]
    assert _reasons(decoded) == [(1, "not_a_record")]


@pytest.mark.parametrize(("written", "length"), [(3.0, 3), ("3", 3), (0, 0), (2**63 - 1, 2**63 - 1), (None, None)])
def test_a_length_is_read_however_it_is_written(written: object, length: int | None) -> None:
    """`3.0` and `"3"` are 3; null is no length. The neighbour is not touched."""
    decoded = decode(message(list_key(responseLength=written), GOOD))
    assert [properties_of(record)[0].response_length for record in decoded.records] == [length, 12]
    assert not decoded.unreadable


@pytest.mark.parametrize("written", [-1, 2.5, "many", "", True, [], {}, 2**63, 1e300, "9" * 30])
def test_a_length_that_cannot_be_one_is_unreadable_and_the_record_stays(written: object) -> None:
    """The record still says that a key was listed."""
    decoded = decode(message(list_key(responseLength=written), GOOD))
    assert _operations(decoded) == ["ListKey", "ListKey"]
    assert {place: left_out.fields for place, left_out in decoded.unreadable.items()} == {0: ("responseLength",)}


@pytest.mark.parametrize(
    ("field", "value"),
    [("operationName", 5), ("category", []), ("resourceId", {}), ("time", 1), ("properties", []), ("properties", 3)],
)
def test_a_field_of_another_kind_costs_only_the_field(field: str, value: object) -> None:
    """One type surprise must not lose the message, nor the rest of its record."""
    decoded = decode(message({**GOOD, field: value}, GOOD))
    assert {place: left_out.fields for place, left_out in decoded.unreadable.items()} == {0: (field,)}
    assert json.loads(decoded.unreadable[0].excerpt)[field] == value
    assert decoded.records[1] == decode(message(GOOD)).records[0]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@examples(400)
@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    """Whatever a message holds, it has records or flaws, and each place stands for one record."""
    decoded = decode(body)
    assert {flaw.index for flaw in decoded.flaws} <= set(range(len(decoded.records)))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a real message with bytes cut, changed, repeated or put in."""
    body = bytearray(message(GOOD, chat(), {**GOOD, "resourceId": None}))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(start + draw(st.integers(0, 40)), len(body))
        body[start:end] = draw(
            st.one_of(
                st.binary(max_size=6),
                st.just(bytes(body[start:end]) * 2),
                st.sampled_from(
                    [b'"', b"'", b"{", b"}", b"[", b"]", b",", b"\\", b"\\ud800", b"\x00", b"1e999", b"NaN"]
                ),
            )
        )
    return bytes(body)


@examples(600)
@given(mutated())
def test_no_damage_to_a_real_message_makes_it_raise(body: bytes) -> None:
    """Nothing about a damaged message is an exception, and what it gives can be stored."""
    decoded = decode(body)
    for record in decoded.records:
        properties_of(record)
        json.dumps([record.operation_name, record.resource_id]).encode()
    for flaw in decoded.flaws:
        flaw.excerpt.encode()


@examples(150)
@given(values=st.lists(json_values, max_size=4), place=st.integers(0, 4))
def test_a_good_record_survives_any_neighbours(values: list[Any], place: int) -> None:
    """Whatever JSON stands around it, the ListKey is read where it stands."""
    place = min(place, len(values))
    decoded = decode(message(*values[:place], GOOD, *values[place:]))
    assert len(decoded.records) == len(values) + 1
    assert decoded.records[place] == decode(message(GOOD)).records[0]


@examples(200)
@given(
    fields=st.dictionaries(st.sampled_from(["schemaType", "timestamp", "modelId", "identity", "output"]), json_values)
)
def test_the_slow_way_reads_of_bedrock_what_the_fast_way_reads(fields: dict[str, Any]) -> None:
    """The neighbour forces it; what is no text is as good as missing, either way."""
    record = {**bedrock(), **fields}
    (fast,), (slow, _) = decode(message(record)).records, decode(message({**record, "time": 5}, GOOD)).records
    for name in ("schema_type", "timestamp", "account_id", "model_id", "error_code"):
        text = getattr(fast, name)
        assert getattr(slow, name) == (text if isinstance(text, str) else None)
    for name in ("identity", "output"):
        assert repr(json.loads(bytes(getattr(slow, name)))) == repr(json.loads(bytes(getattr(fast, name))))


@examples(20)
@given(fields=st.dictionaries(st.sampled_from(["time", "category", "operationName", "resourceId"]), st.text()))
def test_the_slow_way_reads_what_the_fast_way_reads(fields: dict[str, str]) -> None:
    """A message of many small objects gives the same records as the same message read at once."""
    records = [{**GOOD, **fields}, {"properties": json.dumps({"responseLength": 7})}, {}]
    body, dense = message(*records), message(*records, *[{}] * 100_000)
    assert list(decode(dense).records[:3]) == list(decode(body).records)


@pytest.mark.parametrize("small", [b"{}", b"{ }", b'{"":1}'])
@pytest.mark.parametrize(
    "around", [(b'{"records":[', b",", b"]}"), (b"[", b",", b"]"), (b"", b"", b""), (b"", b"\n", b"x")]
)
def test_a_message_of_the_smallest_objects_takes_the_memory_of_few(small: bytes, around: tuple[bytes, ...]) -> None:
    """Each that is kept is one object in memory: a record takes a hundred times its bytes."""
    first, between, last = around
    decoded = decode(first + between.join([small] * 100_000) + last)
    is_json = b"]" in last
    assert len(decoded.records) - len(decoded.flaws) == (0 if not is_json and b":" not in small else 100_000)
    assert len({id(record) for record in decoded.records}) <= 1 + len(decoded.flaws)


@pytest.mark.parametrize("between", ["", "\n", ", ", "]["])
def test_empty_objects_between_records_are_nothing(between: str) -> None:
    """In a message that is no JSON as a whole; in one that is, each is a record that says nothing."""
    good = json.dumps(GOOD)
    broken = decode(between.join(["{}", good, "{ }", good, "{}", "{"]).encode())
    assert _operations(broken) == ["ListKey", "ListKey", None]
    assert _reasons(broken) == [(2, "not_json")]
    assert _operations(decode(f"[{{}}, {good}]".encode())) == [None, "ListKey"]


DEEP = "[" * 20_000 + "]" * 20_000


def _with(record: dict[str, Any], field: str, value: str) -> str:
    """Return a record as JSON with one more field, as it is written."""
    return f'{json.dumps(record)[:-1]}, "{field}": {value}}}'


@pytest.mark.parametrize("field", ["x", "properties", "identity", "output", "modelId"])
def test_a_value_of_any_depth_costs_at_most_its_field(field: str) -> None:
    """Neither the other fields of its record nor the neighbours."""
    record = {name: value for name, value in GOOD.items() if name != field}
    decoded = decode(f'{{"records": [{json.dumps(GOOD)}, {_with(record, field, DEEP)}, {json.dumps(GOOD)}]}}'.encode())
    assert (_operations(decoded), _reasons(decoded)) == (["ListKey"] * 3, [])
    assert [record.resource_id for record in decoded.records] == [resource_id()] * 3
    assert {name for found in decoded.unreadable.values() for name in found.fields} == {field} & {"properties"}


def test_deep_values_among_properties_leave_the_others_readable() -> None:
    """As an object, and as JSON in a string."""
    nested = _with({"objectId": "eve", "responseLength": 7}, "x", DEEP)
    for properties in (nested, json.dumps(nested)):
        record = {name: value for name, value in GOOD.items() if name != "properties"}
        (decoded,) = decode(_with(record, "properties", properties).encode()).records
        assert properties_of(decoded) == (Properties(object_id="eve", response_length=7), frozenset())


def test_deep_answers_and_prompts_that_look_like_records_hide_no_neighbour() -> None:
    """Also if the message breaks behind them."""
    told = _with(bedrock(), "input", json.dumps("[{" * 5_000) + ', "x": ' + DEEP)
    for end in ("]}", ', {"time": "2026-11'):
        body = '{"records": [' + ", ".join([told] * 5 + [json.dumps(GOOD)] * 20) + end
        assert _operations(decode(body.encode())).count("ListKey") == 20


PROMPT = "how do I pick a lock"


@pytest.mark.parametrize(
    "body",
    [
        message({**bedrock(input={"text": PROMPT}), "time": 5}, GOOD),
        message({**bedrock(input={"text": PROMPT}), "time": 5}, GOOD)[:-100],
        message(bedrock(input={"text": f"{PROMPT}@@"}), GOOD).replace(b"@@", b"\\ud83d"),
        message(bedrock(input={"text": f"{PROMPT}@@"}), GOOD).replace(b"@@", b"\n"),
        message(bedrock(input=[PROMPT, 1])).replace(b" 1]", DEEP.encode() + b"]"),
    ],
)
def test_what_nobody_reads_is_not_decoded(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """Prompts stay as they are written, however the message has to be read."""
    decoded: list[str] = []

    def watched(read: Callable[[str], object]) -> Callable[[str], object]:
        def reading(text: str) -> object:
            decoded.append(text)
            return read(text)

        return reading

    monkeypatch.setattr(repair, "parse", watched(repair.parse))
    for name in ("_decode_any", "_decode_raw"):
        monkeypatch.setattr(decoding, name, watched(getattr(decoding, name)))
    records = decode(body).records
    assert records[0].schema_type == "ModelInvocationLog"
    assert decoded
    assert PROMPT not in str(decoded)


def test_what_is_shown_of_an_unreadable_record_holds_no_prompt() -> None:
    """Neither its excerpt nor how it is printed."""
    record = {"schemaType": "ModelInvocationLog", "category": [1], "input": PROMPT}
    unreadable = decode(message(record)).unreadable
    assert list(unreadable) == [0]
    assert PROMPT not in f"{unreadable} {unreadable[0].excerpt}"


def test_of_many_flaws_the_first_of_each_reason_are_kept() -> None:
    """The others are counted."""
    decoded = decode(message(*[7] * 1_000, {**GOOD, "time": 5}, GOOD))
    assert _reasons(decoded) == [(place, "not_a_record") for place in range(MAX_FLAWS)]
    assert (decoded.more_flaws, len(decoded.records)) == ({"not_a_record": 1_000 - MAX_FLAWS}, 1_002)
