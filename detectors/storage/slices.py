"""Spreads tallies over the properties of a row, and these over the shards of an evaluation."""

import zlib
from collections.abc import Sequence
from functools import lru_cache

from detectors.rules.tally import Group

SLICES = 16
"""Properties over which a segment's tallies are spread. Stored data depends on it: never change it."""


@lru_cache(maxsize=8192)
def slice_of(group: Group) -> int:
    """Find the slice that holds a group's tallies: the same for all groups of an entity, in every process."""
    return zlib.crc32(group[0].encode()) % SLICES


def shares(slices: int, shards: int) -> Sequence[range]:
    """Assign slices to `shards` parallel evaluations: every slice once."""
    return [range(shard, slices, shards) for shard in range(min(shards, slices))]
