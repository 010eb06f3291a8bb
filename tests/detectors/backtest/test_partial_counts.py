"""Parts: what blocks add to buckets, at which time, from which line, and what is told of the rest."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.backtest import partial_counts
from detectors.backtest.deduplication import SeenEvents
from detectors.backtest.exports import Block, Captured, Document, Lines, ReadError
from detectors.backtest.partial_counts import MAX_EXAMPLES, BucketRange, PartialCounts, count
from detectors.events import Source
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.counters import Selected
from detectors.rules.rule import Rule
from detectors.rules.tally import ACCOUNT_SEEN, Key, Tally
from detectors.windows import BUCKET, microseconds
from tests.builders import (
    AWS_ACCOUNT,
    MODEL,
    PIPELINE,
    ROLE_ARN,
    SOURCE,
    START,
    canonical_id,
    chat,
    event,
    list_key,
    message,
    of_another_service,
    refused,
)
from tests.detectors.backtest.logs import Entry, entries
from tests.detectors.backtest.replays import listed, minutes, stamped
from tests.examples import examples

MODEL_THEFT = BY_ID["model_theft"]

REFUSALS = ("AccessDeniedException", "ValidationException")
ALWAYS = BucketRange(-(2**63), 2**63)
FILE = Source("", "log", "")
KEY = Key("model_theft", (canonical_id(),))
AT = microseconds(START)
TEN = BUCKET // timedelta(microseconds=1)


def _count(
    *blocks: Block, span: BucketRange = ALWAYS, known: SeenEvents | None = None, rules: Sequence[Rule] = (MODEL_THEFT,)
) -> PartialCounts:
    return count(blocks, "log", rules, span, known)


def _lines(*lines: bytes) -> Lines:
    return Lines(b"".join(line + b"\n" for line in lines))


def _dump(record: dict[str, Any], at: float = 0) -> bytes:
    return json.dumps({**record, "time": stamped(minutes(at))}).encode()


def _places(counts: PartialCounts, source: Source = FILE) -> list[tuple[int, int, int | None, int | None]]:
    """Bucket (from that of `START`), count, first and last place of the account's tallies."""
    return [
        ((bucket - AT) // TEN, tally.count, tally.first_sequence, tally.last_sequence)
        for bucket, tallies in sorted(counts.tallies.items())
        if (tally := tallies.get((source, KEY))) is not None
    ]


def _bad(counts: PartialCounts) -> list[tuple[int, str]]:
    return [(flawed.sequence, flawed.flaw.reason) for flawed in counts.examples]


def test_lines_count_by_their_own_time_and_are_placed_by_their_number() -> None:
    """From 1; other lines count too, and blocks go on where the one before ended."""
    counts = _count(
        _lines(_dump(chat()), *listed(minutes(0), times=2)),
        _lines(*listed(minutes(9.9)), _dump(chat(), 30), *listed(minutes(10))),
    )
    assert _places(counts) == [(0, 3, 2, 4), (1, 1, 6, 6)]
    assert (counts.counters.records, counts.counters.selected) == (6, {"model_theft": Selected(4, 0)})
    assert (counts.lines, counts.first_time, counts.last_time) == (6, AT, AT + 3 * TEN)
    assert counts.counters.quarantined == {}


def test_a_line_counts_for_each_rule_that_selects_it() -> None:
    """In the bucket of its time, under the groups of that rule, all with the number of the line."""
    empty = chat(responseLength=0, objectId="a")
    counts = _count(_lines(_dump(of_another_service()), _dump(empty, 12.5), *listed(minutes(0))), rules=CATALOGUE)
    assert {(bucket, key, tally.first_sequence) for bucket, key, tally in _tallies(counts)} == {
        (1, Key("denial_of_service", (canonical_id(), "2026-11-23T08:12Z")), 2),
        (1, Key("insecure_output", (canonical_id(),)), 2),
        (1, Key("large_transfer", (canonical_id(),)), 2),
        (0, KEY, 3),
        (0, Key("new_key_lister", (canonical_id(), PIPELINE)), 3),
        (0, Key("key_sweep", (PIPELINE,)), 3),
        (0, Key("first_key_listing", (canonical_id(),)), 3),
    }
    assert (counts.counters.records, counts.counters.by_any_rule) == (3, Selected(2, 1))
    assert {rule_id: one.records for rule_id, one in counts.counters.selected.items()} == {
        "denial_of_service": 1, "insecure_output": 1, "large_transfer": 1, "model_theft": 1, "new_key_lister": 1,
        "key_sweep": 1, "first_key_listing": 1,
    }  # fmt: skip


def test_a_line_of_bedrock_counts_by_its_timestamp() -> None:
    """Which is what AWS calls the time."""
    lines = [json.dumps(refused(code, timestamp=stamped(minutes(23)))).encode() for code in REFUSALS]
    rules = [BY_ID["bedrock_denied_models"], BY_ID["bedrock_validation_exceptions"]]
    counts = _count(_lines(*lines), rules=rules)
    assert {(bucket, key, tally.first_sequence) for bucket, key, tally in _tallies(counts)} == {
        (2, Key("bedrock_denied_models", (ROLE_ARN, MODEL, AWS_ACCOUNT)), 1),
        (2, Key("bedrock_validation_exceptions", (ROLE_ARN, AWS_ACCOUNT, "2026-11-23T08:23Z")), 2),
    }
    assert (counts.first_time, counts.last_time) == (microseconds(START + minutes(23)),) * 2


def _tallies(counts: PartialCounts) -> list[tuple[int, Key, Tally]]:
    """Those of rules, with their bucket (from that of `START`)."""
    return [
        ((bucket - AT) // TEN, key, tally)
        for bucket, tallies in counts.tallies.items()
        for (_, key), tally in tallies.items()
        if key.rule_id != ACCOUNT_SEEN
    ]


@pytest.mark.parametrize(
    "record",
    [chat(responseLength=0), list_key(), refused(REFUSALS[0]), refused(REFUSALS[1])],
    ids=["chat", "list_key", *REFUSALS],
)
def test_a_record_that_some_rules_select_is_bad_once_without_a_time(record: dict[str, Any]) -> None:
    """Whichever rules these are, however many."""
    timeless = {**record, "time": None, "timestamp": 7}
    counts = _count(_lines(json.dumps(timeless).encode(), *listed(minutes(0))), rules=CATALOGUE)
    assert (counts.counters.quarantined, _bad(counts)) == ({"no_time": 1}, [(1, "no_time")])
    assert _places(counts) == [(0, 1, 2, 2)]


@pytest.mark.parametrize("spoiler", [b"", b"{'cut'}", b"[]", b" ", b"null"])
def test_a_blank_or_broken_line_moves_no_other_line(spoiler: bytes) -> None:
    """Numbers are those that an editor shows."""
    counts = _count(_lines(spoiler, *listed(minutes(0)), spoiler, spoiler, *listed(minutes(20))))
    assert _places(counts) == [(0, 1, 2, 2), (2, 1, 5, 5)]
    assert counts.lines == 5
    assert _bad(counts) == ([(1, "not_json"), (3, "not_json"), (4, "not_json")] if b"cut" in spoiler else [])


def test_a_line_without_newline_at_the_end_is_a_line() -> None:
    """With one broken before it or not."""
    last = listed(minutes(0))[0]
    for first in (_dump(chat()), b"{'cut'}"):
        counts = _count(Lines(first + b"\n" + last))
        assert (_places(counts), counts.lines) == ([(0, 1, 2, 2)], 2)


def test_a_line_may_be_a_message_or_an_array() -> None:
    """Each of its records counts by its own time, all with the number of the line."""
    records = [json.loads(line) for at in (0, 5, 10) for line in listed(minutes(at))]
    counts = _count(_lines(b"{}", message(*records, chat()), json.dumps(records).encode()))
    assert _places(counts) == [(0, 4, 2, 3), (1, 2, 2, 3)]
    assert counts.counters.records == 8


@pytest.mark.parametrize("odd", ["text", []])
def test_a_line_may_wrap_a_record_whatever_the_others_hold_in_fields_that_nobody_reads(odd: object) -> None:
    """Only then is it read in full, and a neighbour is no obstacle."""
    (inner,) = listed(minutes(0))
    wrapper = json.dumps({"message": json.loads(inner)})
    neighbour = _dump({**chat(), "TimeGenerated": odd})
    counts = _count(_lines(neighbour, wrapper.encode()))
    assert _places(counts) == [(0, 1, 2, 2)]
    assert counts.counters.unknown == {}


def test_a_document_is_one_message_at_line_1() -> None:
    """Whatever the lines are on which its records stand."""
    records = [json.loads(line) for line in listed(minutes(0), times=3)]
    counts = _count(Document(json.dumps({"records": [*records, 42]}, indent=2).encode()))
    assert _places(counts) == [(0, 3, 1, 1)]
    assert _bad(counts) == [(1, "not_a_record")]


def test_a_captured_event_counts_when_the_hub_took_it() -> None:
    """Not at the time of its records, which may be unreadable; placed by its sequence number in its partition."""
    records = [{**list_key(), "time": time} for time in (stamped(minutes(-100)), None, "soon", "9999-12-31T23:59:59Z")]
    counts = _count(Captured(SOURCE, [event(7, *records, after=minutes(4)), event(8, list_key(), after=minutes(10))]))
    assert _places(counts, SOURCE) == [(0, 4, 7, 7), (1, 1, 8, 8)]
    assert counts.counters.quarantined == {}
    assert (counts.first_time, counts.last_time) == (AT + microseconds(START + minutes(4)) - AT, AT + TEN)
    assert counts.lines == 0


def test_an_event_counts_once_whether_it_came_before_or_in_another_piece() -> None:
    """Both are told as duplicates; the same number at another time is another event, of a hub that was made again."""
    known = SeenEvents()
    assert known.add(SOURCE, 2, AT)
    events = [event(1, list_key()), event(2, list_key()), event(1, list_key())]
    counts = _count(Captured(SOURCE, events), known=known)
    assert (_places(counts, SOURCE), counts.duplicates) == ([(0, 1, 1, 1)], 2)
    again = _count(Captured(SOURCE, [event(2, list_key(), after=minutes(60))]), known=known)
    assert (list(again.tallies), again.duplicates) == ([AT + 6 * TEN], 0)
    assert not known.holds(SOURCE, 1, AT)


def test_only_what_arrived_in_the_span_counts() -> None:
    """From the first bucket to before the end; the rest is read, and is no problem."""
    span = BucketRange(AT + TEN, AT + 2 * TEN)
    ats = (0, 9.99, 10, 19.99, 20)
    lines = [line for at in ats for line in listed(minutes(at))]
    events = [event(number, list_key(), after=minutes(at)) for number, at in enumerate(ats)]
    from_lines, captured = _count(_lines(*lines), span=span), _count(Captured(SOURCE, events), span=span)
    assert _places(from_lines) == [(1, 2, 3, 4)]
    assert _places(captured, SOURCE) == [(1, 2, 2, 3)]
    for counts in (from_lines, captured):
        assert (counts.counters.records, counts.counters.selected["model_theft"].records) == (5, 2)
        assert (counts.counters.quarantined, list(counts.tallies)) == ({}, [AT + TEN])


@pytest.mark.parametrize("time", [None, "", "soon", "23/11/2026 08:00:00", "9999-12-31T23:00:00Z", "0001-01-01T00:00Z"])
def test_a_selected_record_of_a_file_without_a_time_is_bad(time: str | None) -> None:
    """Nothing tells when it arrived. One that no rule selects is no concern."""
    spoilt = json.dumps({**list_key(), "time": time}).encode()
    ignored = json.dumps({**chat(), "time": time}).encode()
    both = message(*[{**list_key(), "time": time}] * 2)
    counts = _count(_lines(ignored, spoilt, *listed(minutes(0)), both))
    assert counts.counters.quarantined == {"no_time": 3}
    assert _bad(counts) == [(2, "no_time"), (4, "no_time"), (4, "no_time")]
    assert _places(counts) == [(0, 1, 3, 3)]
    assert counts.counters.selected == {"model_theft": Selected(1, 0)}
    assert (counts.first_time, counts.last_time) == (AT, AT)


def test_the_first_flaws_of_each_reason_are_remembered() -> None:
    """A file may be nothing but flaws: all are counted, few are kept, over all its blocks."""
    odd = json.dumps({**list_key(), "resourceId": "x"}).encode()
    counts = _count(*[_lines(b"{'cut'}", odd)] * 2 * MAX_EXAMPLES)
    assert counts.counters.quarantined == {"not_json": 10, "no_resource": 10}
    assert _bad(counts) == [
        (line, reason)
        for line in range(1, 2 * MAX_EXAMPLES + 1)
        for reason in (["not_json"] if line % 2 else ["no_resource"])
    ]


def test_trouble_is_kept_with_what_came_before_it() -> None:
    """A file that breaks off has told something."""
    read_error = ReadError("truncated", "The file ends in the middle.")
    counts = _count(_lines(*listed(minutes(0))), read_error)
    assert (counts.read_error, _places(counts)) == (read_error, [(0, 1, 1, 1)])


def test_delays_are_from_the_newest_record_to_the_arrival_in_whole_seconds() -> None:
    """Of events; a clock that is ahead has none, and one without times takes no part."""
    events = [
        event(1, *[{**list_key(), "time": stamped(minutes(at))} for at in (1, 3)], after=minutes(5.03)),
        event(2, {**chat(), "time": stamped(minutes(7))}, after=minutes(5)),
        event(3, {**list_key(), "time": None}, after=minutes(5)),
        event(4, after=minutes(5)),
    ]
    counts = _count(Captured(SOURCE, events), _lines(*listed(minutes(0))))
    assert counts.delays == {121: 1, 0: 1}


def test_a_part_can_be_moved_behind_the_lines_before_it() -> None:
    """So that chunks of one file number its lines as one."""
    counts = _count(_lines(*listed(minutes(0)), b"{'cut'}", *listed(minutes(10), times=2)))
    counts.move(100)
    assert _places(counts) == [(0, 1, 101, 101), (1, 2, 103, 104)]
    assert _bad(counts) == [(102, "not_json")]


def test_sequence_numbers_are_not_moved() -> None:
    """A capture has no lines before it."""
    counts = _count(Captured(SOURCE, [event(5, list_key())]))
    counts.move(0)
    assert _places(counts, SOURCE) == [(0, 1, 5, 5)]


TIMES: Sequence[tuple[Sequence[str], float, float]] = [
    (["2026-11-23T08:00:00.5Z", "2026-11-23T08:00:00Z"], 0, 0),
    (["2026-11-23T08:20:00Z", "2026-11-23 08:40:00Z", "2026-11-23T08:30:00Z"], 20, 40),
    (["2026-11-23T08:20:00Z", "2026-11-23T12:00:00+05:00", "2026-11-23T08:30:00Z"], -60, 30),
    (["2026-11-23T08:20:00Z", "20261123T085000Z", "20261123T081000Z"], 10, 50),
    (["2026-11-23T08:20:00Z", "0000", "zzz", "999Z", "9999-01-01T00:00:00Z", "1969-12-31T23:59:59Z"], 20, 20),
    (["2026-11-23T08:21:59.9999999Z"], 21, 21),
    (["2026-11-23T08:21:59Z", "2026-11-23T08:40:00Z", "2026-11-23T08:59:00Z", "2026-11-23T08:!!Z"], 21, 59),
    (["2026-11-23T08:20:00Z", "2026-11-23T0800Z", "2026-11-23T08Z", "2026-11-23T08:50Z"], 0, 50),
    (["2026-11-23T08:20:00Z", "2026-11-23T08:30:00+00:00", "2026-11-23T08:25:00Z"], 20, 30),
]


@pytest.mark.parametrize(("times", "first", "last"), TIMES)
def test_the_times_seen_are_the_earliest_and_the_latest_in_any_form(
    times: Sequence[str], first: float, last: float
) -> None:
    """As text, forms of time do not sort; those in UTC are told to the minute."""
    counts = _count(_lines(*(json.dumps({**chat(), "time": time}).encode() for time in times)))
    assert counts.first_time is not None
    assert counts.last_time is not None
    assert ((counts.first_time - AT) / TEN, (counts.last_time - AT) / TEN) == (first / 10, last / 10)


@examples(60)
@given(log=entries.filter(bool), rule=st.sampled_from([MODEL_THEFT, BY_ID["bedrock_denied_models"]]))
def test_lines_of_operations_that_no_rule_reads_are_read_in_part_and_say_the_same(log: list[Entry], rule: Rule) -> None:
    """A block of a single line is read so once the one before it was let go; one block of all lines never is."""
    together = _count(_lines(*(entry.line for entry in log)), rules=[rule])
    singly = _count(*(_lines(entry.line) for entry in log), rules=[rule])
    assert sorted(_bad(singly)) == sorted(_bad(together))  # in a block of one, each record is the first
    assert replace(singly, examples=[]) == replace(together, examples=[])


def test_a_block_that_no_rule_reads_is_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as fast as in full: the block behind one that was let go, up to the first that a rule reads."""
    read: list[tuple[int, int]] = []
    decoder_of = partial_counts.line_decoder

    def counting(attributes: frozenset[str]) -> Callable[[bytes], list[Any]]:
        decode_lines = decoder_of(attributes)

        def decode(data: bytes) -> list[Any]:
            read.append((len(attributes), data.count(b"\n")))
            return decode_lines(data)

        return decode

    monkeypatch.setattr(partial_counts, "line_decoder", counting)
    requests, listing = _lines(_dump(chat()), _dump(chat())), _lines(*listed(minutes(0)))
    counts = _count(requests, requests, requests, listing, requests)
    full, part = max(read)[0], min(read)[0]
    assert read == [(full, 2), (part, 2), (part, 2), (part, 1), (full, 1), (full, 2)]
    assert (counts.counters.records, counts.lines) == (9, 9)
    assert _places(counts) == [(0, 1, 7, 7)]


def test_a_message_that_names_an_operation_itself_is_read_for_its_records() -> None:
    """Although no rule reads that operation."""
    requests = _lines(_dump(chat()))
    envelope = {"operationName": chat()["operationName"], "records": [json.loads(*listed(minutes(0)))]}
    counts = _count(requests, requests, _lines(json.dumps(envelope).encode()))
    assert _places(counts) == [(0, 1, 3, 3)]


WRAPPED = b'{"message": ' + json.dumps(listed(minutes(0))[0].decode()).encode() + b"}"


@pytest.mark.parametrize(
    ("block", "places"),
    [
        (b'{"a":\n[]\n,"b":1}{"message":"x"}{"message":"x"}\n', []),
        (b'{"a":\n1}\n' + WRAPPED + WRAPPED + b"\n", [(0, 2, 2, 3)]),
        (b'{"a":\n1}\n' + WRAPPED + b'{"records": [{}]}\n', [(0, 1, 2, 2)]),
    ],
)
def test_values_that_are_no_lines_are_read_as_they_stand(
    block: bytes, places: list[tuple[int, int, int | None, int | None]]
) -> None:
    """One on several lines, several on one: as many as there are lines, so that nothing tells."""
    counts = _count(Lines(block))
    assert _places(counts) == places
    assert counts.counters.records == 3
