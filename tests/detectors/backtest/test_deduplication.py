"""Which events were seen: against a plain set, however chunks of captures overlap and whatever lives a hub had."""

from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.backtest.deduplication import SeenEvents, SequenceRange
from tests.builders import SOURCE

OTHER = SOURCE._replace(partition="1")
SECOND = 1_000_000


@dataclass(frozen=True)
class Pieces:
    """Events of one partition as (sequence, arrival), and what of them each chunk holds, in order of time."""

    events: list[tuple[int, int]]
    held: list[list[tuple[int, int]]]


@st.composite
def chunks(draw: st.DrawFn, *, lives: int = 1) -> Pieces:
    """Rising numbers with gaps; times that rise but for small steps back; chunks that overlap at random."""
    events: list[tuple[int, int]] = []
    clock = 0
    for _ in range(draw(st.integers(1, lives))):
        sequence = draw(st.integers(0, 5))
        for _ in range(draw(st.integers(1, 25))):
            events.append((sequence, clock))
            sequence += draw(st.sampled_from([1, 1, 1, 3]))
            clock += draw(st.sampled_from([0, 1, 1, 5, -1])) * SECOND
        clock += 1000 * SECOND
    places = st.integers(0, len(events))
    spans = draw(st.lists(st.tuples(places, places).map(sorted), max_size=6))
    held = [events[first:last] for first, last in sorted(spans)]
    return Pieces(events, [chunk for chunk in held if chunk])


def _take(seen: SeenEvents, chunk: list[tuple[int, int]]) -> int:
    """Take in a chunk as a replay does; how many of its events are new."""
    alone = SeenEvents()
    fresh = sum(alone.add(SOURCE, *each) for each in chunk)
    if seen.overlaps(alone):
        alone = SeenEvents()
        fresh = sum(not seen.holds(SOURCE, *each) and alone.add(SOURCE, *each) for each in chunk)
    seen.absorb(alone)
    return fresh


@settings(max_examples=200, deadline=None)
@given(captured=chunks(lives=3))
def test_overlapping_pieces_of_every_life_count_each_event_once(captured: Pieces) -> None:
    """In the order of time, as files are read."""
    seen, plain = SeenEvents(), set[tuple[int, int]]()
    for chunk in captured.held:
        assert _take(seen, chunk) == len(set(chunk) - plain)
        plain |= set(chunk)
        assert all(seen.holds(SOURCE, *each) for each in plain)


@settings(max_examples=200, deadline=None)
@given(captured=chunks(), random=st.randoms(use_true_random=False))
def test_pieces_of_one_life_may_come_in_any_order(captured: Pieces, random: Random) -> None:
    """Copies of a capture need not be named by their time."""
    seen, plain = SeenEvents(), set[tuple[int, int]]()
    for chunk in random.sample(captured.held, len(captured.held)):
        assert _take(seen, chunk) == len(set(chunk) - plain)
        plain |= set(chunk)
    assert [seen.holds(SOURCE, *each) for each in captured.events] == [each in plain for each in captured.events]


@settings(max_examples=50, deadline=None)
@given(captured=chunks(lives=2))
def test_pieces_meet_if_and_only_if_they_share_an_event(captured: Pieces) -> None:
    """Within one life exactly; a chunk that meets nothing is never read again."""
    for one in captured.held:
        for other in captured.held:
            shared = bool(set(one) & set(other))
            assert not shared or _seen(one).overlaps(_seen(other))
    lonely, far = _seen([(1, 0), (2, SECOND)]), _seen([(1, 9 * SECOND), (2, 10 * SECOND)])
    assert not lonely.overlaps(far)


def test_pieces_that_interleave_do_not_meet() -> None:
    """Even and odd numbers of one hour have no event in common."""
    even, odd = _seen([(0, 0), (2, 2), (4, 4)]), _seen([(1, 1), (3, 3)])
    assert not even.overlaps(odd)
    assert not odd.overlaps(even)
    even.absorb(odd)
    assert even.ranges == {SOURCE: [SequenceRange(0, 4, [0], [4])]}


def test_a_month_without_gaps_is_one_run() -> None:
    """Whatever is taken in first, so that memory does not grow with the number of files."""
    seen = SeenEvents()
    for first in (200, 0, 300, 100):
        seen.absorb(_seen([(number, number) for number in range(first, first + 100)]))
    assert seen.ranges == {SOURCE: [SequenceRange(0, 399, [0], [399])]}


def test_a_life_that_begins_again_is_a_stretch_of_its_own() -> None:
    """Its lower numbers come later; whichever is taken in first."""
    old, new = [(5, 10), (6, 11)], [(0, 100), (1, 101)]
    for first, second in ((old, new), (new, old)):
        seen = _seen(first)
        seen.absorb(_seen(second))
        assert [seen.holds(SOURCE, *each) for each in (*old, *new)] == [True] * 4
        assert not seen.holds(SOURCE, 5, 100)
        assert not seen.holds(SOURCE, 0, 10)
        assert len(seen.ranges[SOURCE]) == 2


def test_partitions_are_told_apart() -> None:
    """Each numbers its own events."""
    seen = _seen([(1, 1)])
    assert not seen.holds(OTHER, 1, 1)
    assert seen.add(OTHER, 1, 1)
    assert not seen.add(OTHER, 1, 1)
    assert not _seen([(2, 2)]).overlaps(SeenEvents({OTHER: [SequenceRange(2, 2, [2], [2])]}))


def _seen(events: list[tuple[int, int]]) -> SeenEvents:
    seen = SeenEvents()
    for each in events:
        seen.add(SOURCE, *each)
    return seen
