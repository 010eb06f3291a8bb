"""`python -m tests.chaos`: plays stories, says how far it is, and shortens those that end badly.

The exit code is 0 if all end well, 1 if one ends badly, 2 if the usage is wrong, and 130 if it was interrupted. With
planted mistakes it is 0 if each is found.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial

from tests.chaos.cluster import Cluster
from tests.chaos.mistakes import MISTAKES
from tests.chaos.play import ends_badly, play, play_chunk
from tests.chaos.real import RealCluster
from tests.chaos.story import Mishap, shortened, story

CHUNK = 50
SHOWN = 3
SECONDS = 10.0
"""How often it says how far it is."""


def _play_all(
    pool: ProcessPoolExecutor, seeds: range, mistake: str | None, parts: type[Cluster] = Cluster
) -> list[int]:
    """Play all stories, and say now and then how far it is; return the seeds of those that end badly."""
    size = CHUNK if parts is Cluster else 1
    chunks = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    played, bad, met, said = 0, list[int](), Counter[Mishap](), time.monotonic()
    for done in as_completed([pool.submit(partial(play_chunk, mistake, parts), chunk) for chunk in chunks]):
        number, its_bad, its_met = done.result()
        played, met = played + number, met + its_met
        bad += its_bad
        if time.monotonic() - said > SECONDS and played < len(seeds):
            said = time.monotonic()
            _say(f"{played:,} of {len(seeds):,} stories, {met.total():,} mishaps, {len(bad)} ended badly")
    told = ", ".join(f"{number:,} {what}" for what, number in met.most_common())
    _say(f"{played:,} stories, {len(bad)} ended badly; what befell requests: {told or 'nothing'}")
    return sorted(bad)


def _say(text: str) -> None:
    print(text, flush=True)


def _show(seed: int) -> None:
    """Show a story that ends badly, shortened."""
    told = shortened(story(seed), ends_badly)
    _say(f"\nmake chaos SEED={seed}\n" + "\n".join(f"  {wrong}" for wrong in play(told).wrong))
    for number, act in enumerate(told.acts):
        for partition, events in enumerate(act.arrivals):
            for event in events:
                records = " ".join(f"{record.kind}:{record.account}" for record in event.records)
                _say(f"  act {number}, partition {partition}: minute {event.minute}, back {event.back} s, {records}")
        for step in act.steps:
            _say(f"  act {number}: {step}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play stories; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--stories", type=int, metavar="N", help="how many; 10,000 by default, 20 on real parts")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first one")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--real", action="store_true", help="on real parts, of which hosts are killed; 10 s a story")
    parser.add_argument("--mistakes", action="store_true", help="plant each mistake, and tell in how many it is found")
    options = parser.parse_args(arguments)
    stories = options.stories or (20 if options.real else 10_000)
    seeds = range(options.seed, options.seed + stories)
    with ProcessPoolExecutor(options.processes) as pool:
        if options.mistakes:
            missed = [mistake for mistake in MISTAKES if not _is_found(pool, seeds, mistake)]
            return int(bool(missed))
        bad = _play_all(pool, seeds, None, RealCluster if options.real else Cluster)
    if options.real and bad:
        _say(f"seeds: {', '.join(map(str, bad))}")
    for seed in () if options.real else bad[:SHOWN]:
        _show(seed)
    return int(bool(bad))


def _is_found(pool: ProcessPoolExecutor, seeds: range, mistake: str) -> bool:
    _say(f"planted: {mistake}")
    return bool(_play_all(pool, seeds, mistake))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
