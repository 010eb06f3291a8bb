"""Tallies: the same records give the same tally, however they are cut and in whatever order cuts are merged."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.rules.tally import MAX_DISTINCT, Lengths, Tally
from detectors.sources.source import MAX_WHOLE
from detectors.windows import from_microseconds
from tests.builders import START
from tests.examples import examples


class Seen(NamedTuple):
    """What one record adds, in the order in which tallies take it."""

    sequence: int
    time: datetime | None
    request_length: int | None
    response_length: int | None
    caller: str


lengths = st.none() | st.integers(0, 5000) | st.integers(0, MAX_WHOLE) | st.just(MAX_WHOLE)
seen = st.builds(
    Seen,
    sequence=st.integers(0, 2**40),
    time=st.none() | st.datetimes(timezones=st.just(UTC)),
    request_length=lengths,
    response_length=lengths,
    caller=st.sampled_from(["", *"abcdefgh"]),
)
records = st.lists(seen, max_size=30)


def _tally(of: Sequence[Seen]) -> Tally:
    return Tally.of(of).weighed(of) if of else Tally()


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[Seen], list[list[Seen]]]:
    """Draw records in their order, and the same cut into batches, empty ones too."""
    of = draw(records)
    places = sorted(draw(st.lists(st.integers(0, len(of)), max_size=6)))
    return of, [of[start:end] for start, end in pairwise([0, *places, len(of)])]


def _stored(batches: Sequence[Sequence[Seen]], max_callers: int) -> Tally:
    """Batch after batch merged into what is stored, as a bucket does it."""
    tallies = (Tally.of(batch) if batch else Tally() for batch in batches)
    return reduce(lambda known, tally: known.merged(tally, max_callers=max_callers), tallies, Tally())


def test_a_record_is_counted_with_everything_it_carries() -> None:
    """Each field has its place; what is missing has none, and a length of 0 is one."""
    of = [
        Seen(7, from_microseconds(2000), 10, None, "a"),
        Seen(5, None, 30, 4, "b"),
        Seen(6, from_microseconds(1000), None, 9, "a"),
        Seen(9, from_microseconds(1500), 0, 0, ""),
    ]
    assert Tally.of(of) == Tally(
        count=4,
        requests=Lengths(records=3, total=40, largest=30),
        responses=Lengths(records=3, total=13, largest=9),
        first_time=1000,
        last_time=2000,
        first_sequence=5,
        last_sequence=9,
        callers={"a": 2, "b": 1, "": 1},
        other_callers=0,
    )


@given(records, records, records)
def test_merging_is_associative(one: list[Seen], two: list[Seen], three: list[Seen]) -> None:
    """Brackets do not matter, not even for the order in which callers stand."""
    a, b, c = _tally(one), _tally(two), _tally(three)
    left, right = a.merged(b).merged(c), a.merged(b.merged(c))
    assert left == right
    assert list(left.callers) == list(right.callers)


@given(records)
def test_an_empty_tally_changes_nothing(of: list[Seen]) -> None:
    """From either side."""
    tally = _tally(of)
    assert Tally().merged(tally) == tally == tally.merged(Tally())


@given(records, records)
def test_merging_is_commutative_but_for_the_order_of_callers(one: list[Seen], two: list[Seen]) -> None:
    """Partitions have no order among them."""
    assert _tally(one).merged(_tally(two)) == _tally(two).merged(_tally(one))


@given(cuts())
def test_adding_one_by_one_equals_merging_any_cuts(case: tuple[list[Seen], list[list[Seen]]]) -> None:
    """What a delivery brings together has no influence."""
    of, batches = case
    merged = reduce(Tally.merged, map(_tally, batches), Tally())
    assert merged == _tally(of)
    assert list(merged.callers) == list(_tally(of).callers)


@examples(200)
@given(case=cuts(), room=st.integers(0, 5))
def test_the_callers_kept_do_not_depend_on_the_cuts(case: tuple[list[Seen], list[list[Seen]]], room: int) -> None:
    """First come, first kept; the others are counted together, and none is lost."""
    of, batches = case
    stored = _stored(batches, room)
    assert stored == _stored([[record] for record in of], room)
    known = [record.caller for record in of]
    assert list(stored.callers) == list(dict.fromkeys(known))[:room]
    assert sum(stored.callers.values()) + stored.other_callers == len(known)
    assert all(stored.callers[caller] == known.count(caller) for caller in stored.callers)


def test_a_caller_that_is_kept_is_counted_on_when_the_room_is_full() -> None:
    """And `other_callers` above 0 tells that some are missing."""
    stored = _stored([[Seen(1, None, None, None, caller)] for caller in "abcaba"], 2)
    assert (stored.callers, stored.other_callers) == ({"a": 3, "b": 2}, 1)


def test_a_total_stops_at_the_largest_number() -> None:
    """It must fit into storage; the count of records goes on."""
    of = [Seen(1, None, MAX_WHOLE - 1, MAX_WHOLE, ""), Seen(2, None, 5, MAX_WHOLE, "")]
    full = _tally(of)
    assert full.requests == Lengths(2, MAX_WHOLE, MAX_WHOLE - 1)
    assert full.responses == Lengths(2, MAX_WHOLE, MAX_WHOLE)
    assert full.merged(full).requests == Lengths(4, MAX_WHOLE, MAX_WHOLE - 1)


@given(records)
def test_a_tally_survives_storage(of: list[Seen]) -> None:
    """Packed and unpacked it is the same, whatever was added to it."""
    tally = _tally(of)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(tally), type=Tally) == tally


@given(records, records)
def test_merging_leaves_both_sides_as_they_were(one: list[Seen], two: list[Seen]) -> None:
    """Nor does what is added to the result later reach back into them."""
    a, b = _tally(one), _tally(two)
    for merged in (a.merged(b), a.merged(b, max_callers=2), a.merged(Tally()), Tally().merged(a)):
        merged.callers["a"] = merged.caller_bytes["a"] = 10**6
    assert (a, b) == (_tally(one), _tally(two))


def _weighed(*answers: tuple[str, int | None]) -> list[Seen]:
    return [Seen(1, None, None, length, caller) for caller, length in answers]


def test_response_bytes_are_added_up_by_caller_where_a_rule_asks_for_it() -> None:
    """Answers of no length and of length 0 weigh nothing; without the wish nothing is kept."""
    of = _weighed(("a", 5), ("b", 7), ("a", 1), ("c", None), ("d", 0), ("", 3))
    assert Tally.of(of).weighed(of).caller_bytes == {"a": 6, "b": 7, "": 3}
    assert Tally.of(of).caller_bytes == {}
    assert Tally.of(of).callers == Tally.of(of).weighed(of).callers == {"a": 2, "b": 1, "c": 1, "d": 1, "": 1}


def test_the_heaviest_callers_keep_their_bytes_when_the_room_is_full() -> None:
    """A crowd that came first does not hide a thief; of equal weight the name decides; the others' bytes are told."""
    crowd = _tally(_weighed(*((caller, 10) for caller in "bcd")))
    thief = _tally(_weighed(("z", 1_000), ("a", 10), ("c", 1)))
    stored = crowd.merged(thief, max_callers=3)
    assert (stored.caller_bytes, stored.other_bytes) == ({"z": 1_000, "c": 11, "a": 10}, 20)
    assert (stored.callers, stored.other_callers) == ({"b": 1, "c": 2, "d": 1}, 2)
    again = stored.merged(_tally(_weighed(("b", 12))), max_callers=3)
    assert (again.caller_bytes, again.other_bytes) == ({"z": 1_000, "b": 12, "c": 11}, 30)
    whole = Tally().merged(crowd).merged(thief)
    assert (whole.caller_bytes, whole.other_bytes) == ({"a": 10, "b": 10, "c": 11, "d": 10, "z": 1_000}, 0)


light = st.lists(
    seen.map(lambda one: one._replace(response_length=one.response_length and one.response_length % 10**9)),
    max_size=30,
)


@examples(200)
@given(of=light, places=st.lists(st.integers(0, 30), max_size=6), room=st.integers(1, 5) | st.none())
def test_no_byte_is_lost_however_callers_are_cut_off(of: list[Seen], places: list[int], room: int | None) -> None:
    """What callers keep and what the others had is what all received; nobody is said to have had more than he did."""
    edges = sorted({0, *(place for place in places if place < len(of)), len(of)})
    stored = reduce(
        lambda known, batch: known.merged(_tally(batch), max_callers=room),
        (of[start:end] for start, end in pairwise(edges)),
        Tally(),
    )
    received: Counter[str] = Counter()
    for one in of:
        received[one.caller] += one.response_length or 0
    kept = stored.caller_bytes
    assert sum(kept.values()) + stored.other_bytes == received.total()
    assert all(received[caller] - stored.other_bytes <= kept[caller] <= received[caller] for caller in kept)
    assert room is None or len(stored.caller_bytes) <= room


def test_bytes_of_callers_stop_at_the_largest_number() -> None:
    """As every number that is stored."""
    full = _tally(_weighed(("a", MAX_WHOLE), ("a", 1), ("b", MAX_WHOLE)))
    assert full.caller_bytes == {"a": MAX_WHOLE, "b": MAX_WHOLE}
    assert full.merged(full).caller_bytes == {"a": MAX_WHOLE, "b": MAX_WHOLE}
    cut = full.merged(full, max_callers=1).merged(full, max_callers=1)
    assert (cut.caller_bytes, cut.other_bytes) == ({"a": MAX_WHOLE}, MAX_WHOLE)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(cut), type=Tally) == cut


@pytest.mark.parametrize("known", ["caller_bytes", "input_tokens", "members"])
def test_rows_stored_before_a_field_was_there_can_still_be_read(known: str) -> None:
    """Their arrays are shorter: nothing is known of bytes by caller, of tokens, or of members."""
    tally = Tally.of([Seen(7, START, 10, 400, "a")])
    fields = list(msgspec.structs.astuple(tally))[: Tally.__struct_fields__.index(known)]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=Tally) == tally


def test_the_records_of_a_member_are_counted_under_its_name() -> None:
    """All as one's, or each as its caller's; merged, members are added up, and those without room are counted."""
    one, other = (_tally([Seen(7, None, None, None, caller) for caller in callers]) for callers in ("aab", "ac"))
    assert one.of_member("aoai-prod").members == {"aoai-prod": 3}
    assert one.of_member(None).members == {"a": 2, "b": 1}
    both = one.of_member(None).merged(other.of_member(None))
    assert both.members == {"a": 3, "b": 1, "c": 1}
    full = _full_of_members().merged(one.of_member("new"), max_callers=1)
    assert (len(full.members), full.other_members) == (MAX_DISTINCT, 3)


def _full_of_members() -> Tally:
    return Tally(count=MAX_DISTINCT, members={f"aoai-{number}": 1 for number in range(MAX_DISTINCT)})


@given(records, st.integers(0, 9))
def test_a_shortened_tally_counts_the_same(of: list[Seen], most: int) -> None:
    """Its callers are the first by rank, and what the others have is told in one sum; every other field stays."""
    whole = _tally(of)
    short = whole.shortened(most)
    assert short.ranked_callers() == whole.ranked_callers()[:most]
    assert sum(short.callers.values()) + short.other_callers == whole.count
    assert min(sum(short.caller_bytes.values()) + short.other_bytes, MAX_WHOLE) == min(
        sum(whole.caller_bytes.values()), MAX_WHOLE
    )
    assert msgspec.structs.replace(short, callers={}, other_callers=0, caller_bytes={}, other_bytes=0) == (
        msgspec.structs.replace(whole, callers={}, other_callers=0, caller_bytes={}, other_bytes=0)
    )
