"""Replays of captures: every event counts once, in each life of each partition, however files overlap."""

from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.backtest.exports import find
from detectors.events import Event
from detectors.rules.tally import MAX_CALLERS
from tests.builders import SOURCE, START, event, list_key
from tests.detectors.backtest.captures import write_capture
from tests.detectors.backtest.replays import (
    COUNT,
    minutes,
    run,
)


def _at(number: float) -> datetime:
    return START + minutes(number)


def _events(first: int, last: int, *, after: timedelta) -> list[Event]:
    """Return a key reading a second; the first so long after `START`."""
    return [event(number, list_key(), after=after + timedelta(seconds=number - first)) for number in range(first, last)]


def test_a_hub_that_was_made_again_is_counted_in_both_its_lives(tmp_path: Path) -> None:
    """Its sequence numbers begin at 0 again; a copy of either life's file adds nothing."""
    lives = [_events(0, 30, after=minutes(0)), _events(0, 20, after=minutes(30)), _events(20, 40, after=minutes(40))]
    for folder in ("archive", "copy"):
        for events in lives:
            write_capture(tmp_path / folder, SOURCE, events)
    once, twice = (run(find([str(tmp_path / "archive"), *more])) for more in ([], [str(tmp_path / "copy")]))
    assert once.outcome.quality.selected["model_theft"].records == 70
    assert (once.outcome.quality.duplicates, twice.outcome.quality.duplicates) == (0, 70)
    assert twice.findings == once.findings
    assert max(row.event_count for row in twice.findings) == 70


def test_one_number_in_two_partitions_is_two_events(tmp_path: Path) -> None:
    """Partitions number their events apart from each other, and so do hubs and namespaces."""
    sources = [
        SOURCE,
        SOURCE._replace(partition="1"),
        SOURCE._replace(hub="other"),
        SOURCE._replace(namespace="b.servicebus.windows.net"),
    ]
    for source in sources:
        write_capture(tmp_path, source, _events(0, 3, after=minutes(0)))
    replayed = run(find([str(tmp_path)]))
    assert replayed.outcome.quality.duplicates == 0
    assert replayed.findings[0].event_count == 12
    assert {(place["Namespace"], place["Hub"], place["Partition"]) for place in replayed.findings[0].evidence} == set(
        sources
    )


spans = st.tuples(st.integers(0, 59), st.integers(1, 30)).map(lambda span: (span[0], min(span[0] + span[1], 60)))


@settings(max_examples=50, deadline=None)
@given(
    captured=st.lists(st.tuples(spans, st.booleans()), min_size=1, max_size=6), random=st.randoms(use_true_random=False)
)
def test_overlapping_captures_count_once_however_they_overlap(
    captured: list[tuple[tuple[int, int], bool]], random: Random
) -> None:
    """Against a plain set of sequence numbers: files with gaps, in any order, some with an event twice."""
    events = [event(number, list_key(), after=minutes(number)) for number in range(60)]
    seen: set[int] = set()
    brought = 0
    with TemporaryDirectory() as name:
        for copy, ((first, last), is_gappy) in enumerate(captured):
            chosen = events[first : last : 2 if is_gappy else 1]
            chosen += chosen[:1]
            write_capture(Path(name) / str(copy), SOURCE, chosen)
            seen.update(each.sequence for each in chosen)
            brought += len(chosen)
        chunks = find([name])
        replayed = run(random.sample(chunks, len(chunks)))
    assert replayed.outcome.quality.selected["model_theft"].records == len(seen)
    assert replayed.outcome.quality.duplicates == brought - len(seen)
    assert {(row.window_end, row.event_count) for row in replayed.findings if row.status != "Closed"} == {
        (end, count)
        for end in (_at(10 * number) for number in range(1, 12))
        if (count := sum(_at(number) < end <= _at(number) + minutes(60) for number in seen)) >= COUNT
    }


def test_callers_are_bounded_in_each_bucket_as_they_are_in_storage(tmp_path: Path) -> None:
    """The first ones keep their names, the others are counted together, and the finding says so."""
    events = [
        event(number, list_key(caller=f"caller-{number}"), after=timedelta(seconds=number))
        for number in range(MAX_CALLERS + 1)
    ]
    for part in (events[:30], events[30:]):
        write_capture(tmp_path, SOURCE, part)
    first = run(find([str(tmp_path)])).findings[0]
    assert (first.event_count, len(first.callers), first.callers_truncated) == (51, 50, True)
    assert "caller-50" not in {caller["ObjectId"] for caller in first.callers}
