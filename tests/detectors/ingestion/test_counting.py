"""What a batch adds: counted records, their times, and the flaws."""

import json
from collections import Counter
from datetime import timedelta
from functools import partial

import msgspec
import pytest

from detectors.events import Event
from detectors.ingestion import counting
from detectors.ingestion.counting import BatchCounter
from detectors.ingestion.delta import Delta
from detectors.ingestion.flaws import MAX_FLAWS_OF_BATCH
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.counters import MAX_ACCOUNTS, Counters, Selected
from detectors.rules.tally import Key, Tally
from detectors.sources.decoding import MAX_FLAWS, decode
from detectors.windows import from_microseconds
from tests.builders import START, canonical_id, chat, event, list_key, message, of_another_service, of_rules
from tests.work import calls

KEY = Key("model_theft", (canonical_id(),))


def _tally(*records: object) -> Tally:
    return BatchCounter(CATALOGUE).count([event(1, *records)], START).tallies[KEY]


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59.9999999-01:00",
        "2026-11-23T08:00:00",
        "yesterday",
        "",
        None,
        "2026-13-01T00:00:00Z",
    ],
)
def test_a_time_that_cannot_be_stored_is_left_out_and_the_record_counts(time: str | None) -> None:
    """A default date of a sender, or none at all, must not stop what comes after it."""
    tally = _tally({**list_key(), "time": time}, list_key())
    assert tally.count == 2
    assert tally.first_time is not None
    assert from_microseconds(tally.first_time).isoformat() == "2026-11-23T07:59:58.123456+00:00"


def test_times_with_an_offset_are_compared_as_instants() -> None:
    """Half past nine in Paris is before nine in London."""
    tally = _tally({**list_key(), "time": "2026-11-23T09:30:00+01:00"}, {**list_key(), "time": "2026-11-23T09:00:00Z"})
    assert tally.first_time is not None
    assert from_microseconds(tally.first_time).hour == 8


def test_a_flawed_record_has_one_flaw_however_much_is_wrong_with_it() -> None:
    """So that counts by reason add up to records."""
    delta = BatchCounter(CATALOGUE).count(
        [event(9, list_key(), {**list_key(responseLength=-1), "resourceId": 7, "time": []})], START
    )
    assert [(flawed.sequence, flawed.flaw.index, flawed.flaw.reason) for flawed in delta.flaws] == [
        (9, 1, "no_resource")
    ]
    assert delta.counters.quarantined == {"no_resource": 1}


def test_every_account_that_logs_anything_is_listed_and_no_other_resource() -> None:
    """So that an account that falls silent can be noticed; other services share the hub."""
    vault = {**chat(), "resourceId": canonical_id().replace("microsoft.cognitiveservices/accounts", "microsoft.x/y")}
    delta = BatchCounter(CATALOGUE).count(
        [event(1, chat("b"), chat("b"), list_key("a")), event(2, vault, {"resourceId": None}, {"resourceId": "x"})],
        START,
    )
    assert delta.counters.accounts == [canonical_id("a"), canonical_id("b")]


def test_the_accounts_listed_are_bounded_and_do_not_depend_on_the_order() -> None:
    """The first hundred by name, however they are merged."""
    names = [f"account-{number:03d}" for number in range(150)]
    whole = Counters().merged(Counters(accounts=names))
    parts = Counters(accounts=names[100:]).merged(Counters(accounts=names[:100]))
    assert whole.accounts == parts.accounts == names[:MAX_ACCOUNTS]


def test_a_record_counts_for_each_rule_that_selects_it_and_once_in_the_sum() -> None:
    """With and without a length; a key listing by nobody is of no rule by caller."""
    records = [
        list_key(),
        list_key(caller="", responseLength=0),
        chat(),
        chat(responseLength=None),
        of_another_service(),
    ]
    counters = BatchCounter(CATALOGUE).count([event(1, *records)], START).counters
    assert {rule_id: (one.records, one.with_length) for rule_id, one in counters.selected.items()} == {
        "model_theft": (2, 1),
        "new_key_lister": (1, 0),
        "key_sweep": (1, 0),
        "first_key_listing": (2, 1),
        "first_key_use": (2, 1),
        "denial_of_service": (2, 1),
        "large_transfer": (1, 1),
    }
    assert (counters.by_any_rule, counters.records) == (Selected(4, 2), 5)


@pytest.mark.parametrize(
    "unreadable",
    [{"responseLength": -1}, {"responseLength": "many"}, {"responseLength": []}, {"responseLength": 2**63}],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_a_record_that_no_rule_selects_for_want_of_a_length_is_quarantined(
    unreadable: dict[str, object], *, as_text: bool
) -> None:
    """It might have been the large one; without any length at all there is nothing to find."""
    properties = json.dumps(unreadable) if as_text else unreadable
    record = {**chat(), "operationName": "Embeddings_Create", "properties": properties}
    silent = {**record, "properties": {"requestLength": 5}}
    delta = BatchCounter(CATALOGUE).count([event(1, record, silent)], START)
    assert [(flawed.flaw.index, flawed.flaw.reason) for flawed in delta.flaws] == [(0, "unreadable_field")]
    assert of_rules(delta.tallies) == {}


@pytest.mark.parametrize("known", ["by_any_rule", "unknown"])
def test_counters_stored_before_a_field_was_there_can_still_be_read(known: str) -> None:
    """Their arrays are shorter."""
    counters = BatchCounter(CATALOGUE).count([event(1, list_key())], START).counters
    fields = list(msgspec.structs.astuple(counters))[: Counters.__struct_fields__.index(known)]
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=Counters)
    assert read.selected == counters.selected
    assert getattr(read, known) == getattr(Counters(), known)


def test_all_flaws_are_counted_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each reason some of a message and some of a batch, so that none crowds out the others."""
    made: list[object] = []
    monkeypatch.setattr(counting, "_excerpt", lambda _, index: made.append(index) or "")  # type: ignore[func-returns-value]
    nowhere = {**list_key(), "resourceId": None}
    events = [event(number, *[7] * 300, *[nowhere] * 300, {**list_key(), "time": 5}) for number in range(30)]
    delta = BatchCounter(CATALOGUE).count(events, START)
    assert delta.counters.quarantined == {"not_a_record": 9_000, "no_resource": 9_000, "unreadable_field": 30}
    kept = Counter((placed.sequence, placed.flaw.reason) for placed in delta.flaws)
    assert kept[29, "unreadable_field"] == 1
    assert max(kept.values()) == MAX_FLAWS
    assert Counter(placed.flaw.reason for placed in delta.flaws) == {
        "not_a_record": MAX_FLAWS_OF_BATCH,
        "no_resource": MAX_FLAWS_OF_BATCH,
        "unreadable_field": 30,
    }
    assert len(made) == MAX_FLAWS_OF_BATCH


@pytest.mark.parametrize(("seconds", "lag_ms"), [(90, 90_000), (0, 0), (-5, 0)])
def test_the_lag_is_that_of_the_oldest_event_and_never_below_0(seconds: int, lag_ms: int) -> None:
    """The clock of the hub may be ahead."""
    events = [event(2, list_key(), after=timedelta(seconds=40)), event(1, list_key())]
    delta = BatchCounter(CATALOGUE).count(events, START + timedelta(seconds=seconds))
    assert delta.counters.lag_ms == lag_ms


BROKEN = {"properties": "{ broken"}


@pytest.mark.parametrize(("status", "reasons"), [("400", ["unreadable_field"]), ("200", [])])
def test_properties_that_cannot_be_read_are_a_flaw_where_a_rule_would_have_read_them(
    status: str, reasons: list[str]
) -> None:
    """A rule of refused requests has nothing to do with an answered one."""
    record = {**chat(), **BROKEN, "resultSignature": status}
    delta = BatchCounter([BY_ID["refused_requests"]]).count([event(1, record)], START)
    assert [flawed.flaw.reason for flawed in delta.flaws if flawed.flaw.reason != "no_caller"] == reasons


@pytest.mark.parametrize("properties", ["{ broken", '{"objectId": "dana", "responseLength": "none"}'])
def test_properties_that_cannot_be_read_are_a_flaw_where_a_rule_wants_a_length(properties: str) -> None:
    """The answer might have been the empty one."""
    record = {**chat(), "properties": properties}
    delta = BatchCounter([BY_ID["insecure_output"]]).count([event(1, record)], START)
    assert [flawed.flaw.reason for flawed in delta.flaws] == ["unreadable_field"]
    assert of_rules(delta.tallies) == {}


def test_where_a_record_would_count_matters_only_if_it_counts() -> None:
    """Of two answers only the empty one is one of insecure output."""
    counter, message = BatchCounter([BY_ID["insecure_output"]]), Delta()
    for length in (5, 0):
        body = event(1, chat(responseLength=length, streamType="Non-Streaming")).body
        counter.count_message(message, 1, decode(body), lambda times: [("no_time", "when was it?")] * len(times))
    assert message.counters.quarantined == {"no_time": 1}


def test_a_record_of_no_known_source_is_none_with_a_flaw_and_its_names_are_cut() -> None:
    """Whoever logs to the hub must not fill the counters."""
    delta = BatchCounter(CATALOGUE).count([event(1, {"n" * 500: 1, "time": 5})], START)
    assert delta.flaws == []
    assert list(delta.counters.unknown.values()) == [1]
    assert max(map(len, delta.counters.unknown)) <= counting.MAX_SHAPE_CHARACTERS


def test_what_is_counted_of_a_batch_does_not_depend_on_the_batches_before() -> None:
    """After batches in which no rule reads anything, messages are skimmed at first."""
    counter = BatchCounter([BY_ID["model_theft"]])
    dull = [event(number, chat(), of_another_service()) for number in range(4)]
    wrapped = event(5, {"message": json.dumps(list_key("b"))})
    odd = event(6, {"unknown": 1}, {**list_key(), "resourceId": None, "errorCode": "E"})
    unreadable = event(7, {**chat(), "category": []})
    batch = [*dull, event(4, chat(), list_key()), wrapped, odd, unreadable, *dull]
    fresh = BatchCounter([BY_ID["model_theft"]]).count(batch, START)
    for _ in range(3):
        counter.count(dull, START)
        assert counter.count(batch, START) == fresh
    assert {key.group: tally.count for key, tally in of_rules(fresh.tallies).items()} == {
        (canonical_id(),): 1,
        (canonical_id("b"),): 1,
    }
    assert (fresh.counters.records, fresh.counters.unknown) == (22, {"unknown": 1})
    assert [(placed.sequence, placed.flaw.reason) for placed in fresh.flaws] == [
        (6, "no_resource"),
        (7, "unreadable_field"),
    ]


def test_the_excerpt_of_a_flawed_record_shows_what_the_record_says() -> None:
    """Also fields that its rule does not read: whoever looks at it may not know why it is there. And no others."""
    record = {
        "time": "2026-11-23T08:00:00Z",
        "category": "Audit",
        "operationName": "ListKey",
        "errorCode": "AccessDenied",
        "properties": {"objectId": "dana"},
    }
    (placed,) = BatchCounter([BY_ID["model_theft"]]).count([event(1, {**record, "durationMs": 7})], START).flaws
    assert json.loads(placed.flaw.excerpt) == record


HOSTILE = [
    *(
        '{"time":1}',
        'x,{"time":1}',
        '{\'x,{"time":1}',
        "{'time':1},",
        '{"time":"\n"},',
        '{"time":"\\ud800"},',
        '[{"time":',
    ),
    *("{}", "{},", "1,", '"{",', '"{}",', '{"properties":1},', '{"Category":1},', '{"Category":"a","_ResourceId":5},'),
    *('\n{"log":"{"}', '{"log":{}},', '{"message":"{}"},', 'x,{"message":"{}"}', '{"message":"{\\"message\\":5}"},'),
    *('{"detail":{"time":5}},', '{"logEvents":[{"message":"{}"}]},', '{"logEvents":[{"message":"{"}]},'),
    '{"operationName":"ListKey","category":"Audit","properties":"{"},',
    '{"schemaType":"ModelInvocationLog","output":"BLOCKED"},',
]
MOST_CALLS = 8
"""Calls of functions for each byte of a message that is made to cost time. The shortest record has two bytes."""


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("begin", ["", '{"records":['])
def test_work_is_in_proportion_to_bytes(begin: str, unit: str) -> None:
    """Counted, not timed; and no more of it for each byte of a message that is four times as long."""
    nothing, some, more = (
        calls(partial(BatchCounter(CATALOGUE).count, [Event(1, START, f"{begin}{unit * many}".encode())], START))
        for many in (0, 400, 1_600)
    )
    assert more - nothing <= MOST_CALLS * 1_600 * len(unit)
    assert more - nothing <= 4.4 * (some - nothing) + 1_000


def test_a_late_record_that_no_rule_takes_is_still_told_when_it_cannot_be_read() -> None:
    """Without its length no rule takes it, so that it is not too late for any; with it one might have."""
    delta = Delta()
    records = decode(message(chat(responseLength="many"), chat(responseLength=2_000_000)))
    BatchCounter([BY_ID["large_transfer"]]).count_message(
        delta, 1, records, lambda times: [("too_late", "counted elsewhere")] * len(times)
    )
    assert [one.flaw.reason for one in delta.flaws] == ["unreadable_field", "too_late"]
