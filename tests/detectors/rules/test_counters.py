"""Counters: however they are cut and merged, they say the same."""

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from detectors.rules.counters import Counters, Selected
from tests.examples import examples

numbers = st.integers(0, 1_000)
selected = st.builds(Selected, numbers, numbers)
counters = st.builds(
    Counters,
    messages=numbers,
    records=numbers,
    selected=st.dictionaries(st.sampled_from(["model_theft", "large_transfer"]), selected),
    quarantined=st.dictionaries(st.sampled_from(["not_json", "no_resource"]), numbers),
    lag_ms=numbers,
    accounts=st.lists(st.sampled_from("abcd"), unique=True).map(sorted),
    by_any_rule=selected,
)


@examples(60)
@given(parts=st.lists(counters, min_size=1, max_size=5), random=st.randoms(use_true_random=False))
def test_parts_merge_to_the_same_in_any_order(parts: list[Counters], random: object) -> None:
    """Batches reach the bucket as they come."""
    assert hasattr(random, "sample")
    shuffled = random.sample(parts, len(parts))
    assert reduce(Counters.merged, parts) == reduce(Counters.merged, shuffled)


@examples(60)
@given(one=counters, other=counters)
def test_a_sum_has_all_of_both(one: Counters, other: Counters) -> None:
    """Records are added, the lag is the longest, an account is named once."""
    both = one.merged(other)
    assert (both.messages, both.records) == (one.messages + other.messages, one.records + other.records)
    assert both.lag_ms == max(one.lag_ms, other.lag_ms)
    assert both.accounts == sorted({*one.accounts, *other.accounts})
    assert both.selected.keys() == one.selected.keys() | other.selected.keys()
    for rule_id, total in both.selected.items():
        its = [part.selected[rule_id] for part in (one, other) if rule_id in part.selected]
        assert (total.records, total.with_length) == (sum(p.records for p in its), sum(p.with_length for p in its))
    for reason, count in both.quarantined.items():
        assert count == one.quarantined.get(reason, 0) + other.quarantined.get(reason, 0)


def test_nothing_added_changes_nothing() -> None:
    """Neither side is changed by a merge."""
    one = Counters(messages=2, selected={"model_theft": Selected(1, 0)}, quarantined={"not_json": 1}, accounts=["a"])
    assert one.merged(Counters()) == Counters().merged(one) == one
    one.merged(one)
    assert (one.messages, one.selected, one.quarantined) == (2, {"model_theft": Selected(1, 0)}, {"not_json": 1})
