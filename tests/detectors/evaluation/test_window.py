"""Windows: six buckets summed, held against the thresholds, in an order that is always the same."""

from collections.abc import Iterable, Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.policy import Policy
from detectors.evaluation.window import (
    MAX_LISTED,
    GroupTotal,
    Range,
    evaluate_thresholds,
    in_order,
    sightings,
    sum_window,
)
from detectors.events import Source
from detectors.rules.tally import Key, Tally
from detectors.windows import BUCKET, window_buckets
from tests.builders import NAMESPACE, SOURCE, START, canonical_id
from tests.examples import examples

END = START + 6 * BUCKET
THEFT, LISTER = "model_theft", "new_key_lister"
PROD, DEV = canonical_id("aoai-prod"), canonical_id("aoai-dev")
LOW = Policy({THEFT: {"count": 3, "response_length": 10**6}, LISTER: {"count": 1, "learning_days": 14}})

type Part = tuple[Source, Key, Tally]


def _tally(count: int, first: int = 0, caller: str = "dana") -> Tally:
    return Tally(count=count, first_sequence=first, last_sequence=first + count - 1, callers={caller: count})


def _totals(stored: Mapping[int, Iterable[Part]]) -> dict[Key, GroupTotal]:
    """Return the totals of buckets by their place in the window; nothing else is there."""
    starts = window_buckets(END)
    return sum_window(END, ((starts[place], *part) for place, parts in stored.items() for part in parts))


def test_a_window_is_the_sum_of_its_six_buckets_over_all_partitions() -> None:
    """With the count of each bucket, and where the events of each partition lie."""
    other = SOURCE._replace(partition="1")
    key = Key(THEFT, (PROD,))
    totals = _totals({0: [(SOURCE, key, _tally(2, 10))], 5: [(SOURCE, key, _tally(3, 4)), (other, key, _tally(1, 7))]})
    assert list(totals) == [key]
    assert totals[key].tally.callers == {"dana": 6}
    assert totals[key].bucket_counts == [2, 0, 0, 0, 0, 4]
    assert totals[key].evidence == {SOURCE: (4, 11), other: (7, 7)}


@examples(60)
@given(
    counts=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(0, 99)), min_size=1), seed=st.integers()
)
def test_parts_of_a_bucket_add_up_in_any_order(counts: list[tuple[int, int, int]], seed: int) -> None:
    """Segments and partitions are read as they come."""
    shuffled = Random(seed).sample(counts, len(counts))
    one, other = GroupTotal(), GroupTotal()
    for total, parts in ((one, counts), (other, shuffled)):
        for place, count, first in parts:
            total.add(place, SOURCE, _tally(count, first))
    assert one == other
    assert sum(one.bucket_counts) == one.tally.count == sum(count for _, count, _ in counts)


def test_tallies_of_a_rule_that_is_no_more_are_left_out() -> None:
    """After a step back to a release with fewer rules."""
    assert _totals({2: [(SOURCE, Key("rule_of_tomorrow", (PROD,)), _tally(500))]}) == {}


def test_only_what_reaches_a_threshold_gets_a_result_and_the_highest_comes_first() -> None:
    """Two of equal count in the order of their groups."""
    groups = {"a": 3, "b": 2, "c": 9, "d": 3}
    totals = _totals({1: [(SOURCE, Key(THEFT, (name,)), _tally(count)) for name, count in groups.items()]})
    results = evaluate_thresholds(END, totals, LOW, newcomers={})
    assert [(one.group[0], one.tally.count) for one in results] == [("c", 9), ("a", 3), ("d", 3)]
    assert {one.severity for one in results} == {"Medium"}
    assert in_order(reversed(results)) == results


@pytest.mark.parametrize(
    ("quiet", "gone"),
    [(Key(THEFT, (PROD,)), Key(THEFT, (DEV,))), (Key(LISTER, (PROD, "dana")), Key(LISTER, (PROD, "eve")))],
)
def test_a_watched_group_gets_a_result_though_nothing_fires(quiet: Key, gone: Key) -> None:
    """Its episode has to end, also when nothing is left of it, or all of it is known."""
    results = evaluate_thresholds(
        END, _totals({0: [(SOURCE, quiet, _tally(1))]}), LOW, newcomers={}, watched=[quiet, gone]
    )
    assert [(one.key, one.tally.count, one.triggers, one.suppression) for one in results] == [
        (quiet, 1, [], None),
        (gone, 0, [], None),
    ]


def test_a_rule_that_is_off_fires_for_nobody() -> None:
    """Whatever is stored of it."""
    totals = _totals({0: [(SOURCE, Key(THEFT, (PROD,)), _tally(500))]})
    assert evaluate_thresholds(END, totals, Policy({"insecure_output": {"count": 1}}), newcomers={}) == []


def test_who_is_known_does_not_fire_a_rule_that_looks_at_newcomers() -> None:
    """And a newcomer does if the others were watched for long enough."""
    new, early, known = (Key(LISTER, (PROD, name)) for name in ("eve", "kim", "dana"))
    totals = _totals({4: [(SOURCE, key, _tally(1)) for key in (new, early, known)]})
    results = evaluate_thresholds(END, totals, LOW, newcomers={new: 14, early: 13})
    assert [one.key for one in results] == [new]


def test_a_sighting_names_the_first_bucket_of_each_member() -> None:
    """Of the rules that look at newcomers only."""
    key = Key(LISTER, (PROD, "dana"))
    totals = _totals(
        {2: [(SOURCE, key, _tally(1)), (SOURCE, Key(THEFT, (PROD,)), _tally(1))], 5: [(SOURCE, key, _tally(1))]}
    )
    (sighting,) = sightings(totals, END)
    assert (sighting.key, sighting.bucket) == (key, START + 2 * BUCKET)


def test_a_result_lists_so_many_callers_and_ranges_and_no_more() -> None:
    """The first partitions by name, and callers by rank; what is cut is counted."""
    key = Key(THEFT, (PROD,))
    parts = [
        (Source(NAMESPACE, "llm-logs", f"{number:03}"), key, _tally(number + 1, number, f"caller-{number}"))
        for number in range(MAX_LISTED + 10)
    ]
    (result,) = evaluate_thresholds(END, _totals({0: parts}), LOW, newcomers={})
    assert len(result.tally.callers) == len(result.evidence) == MAX_LISTED
    assert result.evidence[1] == Range(NAMESPACE, "llm-logs", "001", 1, 2)
    assert sum(result.tally.callers.values()) + result.tally.other_callers == result.tally.count
