"""Slices: stored data depends on where a group lies, and every slice is read once."""

import pytest

from detectors.storage.slices import SHARD_BYTES, SLICES, shards_for, share, slice_of
from tests.builders import canonical_id


@pytest.mark.parametrize(
    ("first", "place"),
    [("", 0), ("a", 3), (canonical_id("aoai-prod"), 15), ("arn:aws:sts::111122223333:assumed-role/app-prod/dana", 1)],
)
def test_a_group_stays_in_its_slice_for_ever(first: str, place: int) -> None:
    """A release that put it elsewhere would not find what the one before has stored."""
    assert slice_of((first,)) == place


def test_all_groups_of_a_resource_are_in_one_slice() -> None:
    """A minute or a caller does not move it: its episode is one shard's."""
    first = canonical_id()
    assert len({slice_of((first, *rest)) for rest in ([], ["2026-11-23T08:00Z"], ["dana"], ["eli"])}) == 1


def test_many_resources_are_spread_over_all_slices() -> None:
    """Else one shard had the work of all."""
    assert {slice_of((canonical_id(f"aoai-{number}"),)) for number in range(200)} == set(range(SLICES))


@pytest.mark.parametrize("shards", range(1, SLICES + 1))
def test_every_slice_is_read_by_one_shard(shards: int) -> None:
    """About as many by each, side by side."""
    taken = [share(shard, shards) for shard in range(shards)]
    assert [place for its in taken for place in its] == list(range(SLICES))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1
    assert {its.step for its in taken} == {1}


@pytest.mark.parametrize(
    ("size", "shards"), [(0, 1), (SHARD_BYTES, 1), (SHARD_BYTES + 1, 2), (10 * SHARD_BYTES, 10), (10**12, SLICES)]
)
def test_shards_grow_with_what_there_is_to_read(size: int, shards: int) -> None:
    """One while there is little."""
    assert shards_for(size) == shards
