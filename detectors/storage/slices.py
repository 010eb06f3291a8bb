"""Spreads tallies over the properties of a row, and these over the shards of an evaluation."""

import math
import zlib
from functools import lru_cache

from detectors.rules.tally import Group

SLICES = 16
"""Properties over which a segment's tallies are spread. Stored data depends on it: never change it."""


@lru_cache(maxsize=8192)
def slice_of(group: Group) -> int:
    """Find the slice that holds a group's tallies: the same for all groups of an entity, in every process."""
    return zlib.crc32(group[0].encode()) % SLICES


SHARD_BYTES = 2_000_000
"""Packed tallies of a window that one shard evaluates, some forty thousand: below it, a second one costs more in
requests than it saves in time."""


def shards_for(size: int) -> int:
    """Choose the number of parallel shards for a window of that many bytes of packed tallies."""
    return min(max(math.ceil(size / SHARD_BYTES), 1), SLICES)


def share(shard: int, shards: int) -> range:
    """Return the slices of one of several shards: side by side, so that a request names them by its ends."""
    return range(shard * SLICES // shards, (shard + 1) * SLICES // shards)
