"""Plays stories and judges them."""

from collections import Counter
from contextlib import closing
from typing import NamedTuple
from unittest.mock import patch

from detectors.storage import buckets
from tests.chaos.cluster import Cluster
from tests.chaos.mistakes import planted
from tests.chaos.story import Mishap, Story, story
from tests.chaos.truth import complaints


class Ending(NamedTuple):
    """How a story ended: what is wrong, nothing if it ended well; and what had befallen requests."""

    wrong: list[str]
    met: Counter[Mishap]


def play(told: Story, parts: type[Cluster] = Cluster) -> Ending:
    """Play a story to its end. An exception that nobody expects is a bad end too.

    In rows as small as some are here, what one account adds would soon be counted together with what others add.
    """
    small = patch.multiple(buckets, MAX_SLICE_BYTES=told.slice_bytes, CROWDED_SHARE=0)
    with small, closing(parts(told)) as cluster:
        try:
            for number, act in enumerate(told.acts):
                cluster.play(number, act.steps)
            cluster.finish()
            return Ending(list(complaints(told, cluster)), cluster.weather.met)
        except Exception as error:  # noqa: BLE001 - told with the story
            return Ending([repr(error)], cluster.weather.met)


def ends_badly(told: Story) -> bool:
    """Tell whether a story ends badly."""
    return bool(play(told).wrong)


def play_chunk(mistake: str | None, parts: type[Cluster], seeds: range) -> tuple[int, list[int], Counter[Mishap]]:
    """Play some stories; return how many, the seeds of those that end badly, and what befell requests."""
    with planted(mistake):
        endings = {seed: play(story(seed), parts) for seed in seeds}
    met = sum((ending.met for ending in endings.values()), Counter[Mishap]())
    return len(seeds), [seed for seed, ending in endings.items() if ending.wrong], met
