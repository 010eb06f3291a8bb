"""How the detector grows with the rate of records: what each rate needs, and how late findings come in a burst.

Nothing here is measured but the time of an event, which the caller brings. The rest is arithmetic, and a simulation of
what Microsoft documents of target-based scaling: as many instances as there are unprocessed events over
`targetUnprocessedEventThreshold`, at most four more at a time, a decision each half minute, never more than partitions.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from benchmarks.corpus import RECORDS_PER_MESSAGE
from benchmarks.report import Cell, Column, Section
from detectors.windows import BUCKET
from local.host import ROOT

RATES = (100, 1_000, 10_000, 100_000, 1_000_000)
"""Records a second, on average."""

RECORD_BYTES = 800
BURST, BURST_SECONDS = 5, 600
"""So many times the average rate, for so long."""

_HOURS = 3
_BUCKET_SECONDS = int(BUCKET.total_seconds())
_EVENT_HUBS = json.loads((ROOT / "host.json").read_text())["extensions"]["eventHubs"]
_BATCH: int = _EVENT_HUBS["maxEventBatchSize"]
_TARGET: int = _EVENT_HUBS["targetUnprocessedEventThreshold"]
_LONGEST_WAIT = 10
"""Seconds for which a batch that is not full waits: `maxWaitTime`."""

_DECISION_SECONDS, _AT_A_TIME, _START_SECONDS = 30, 4, 20
"""Scaling: how often, by how many instances, and how long one takes to start (an assumption)."""

_EVALUATION_SECONDS = 60
"""From the end of a bucket to its findings."""

_UNIT_EVENTS, _UNIT_BYTES, _UNITS = 1_000, 1_000_000, 40
"""What a throughput unit of Event Hubs Standard takes in a second, and how many there are at most."""

_FEWEST_PARTITIONS, _STANDARD_PARTITIONS = 4, 32
_TABLE_WRITES = 2_000
"""Operations a second that one partition of Table Storage takes; a bucket is one."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from arrival to being counted, and to the finding, for each second's arrivals; most instances at once."""

    arrivals: Sequence[float]
    counted: Sequence[int]
    found: Sequence[int]
    instances: int

    def quantile(self, delays: Sequence[int], share: float) -> int:
        """Return the delay within which a share of the events stays."""
        events, total = 0.0, sum(self.arrivals)
        for delay, count in sorted(zip(delays, self.arrivals, strict=False)):
            events += count
            if events >= share * total:
                return delay
        return max(delays)


def measure(event_seconds: float) -> list[Section]:
    """Show what each rate needs, and how a burst of it goes, when an event takes so long on one core."""
    return [
        Section(
            "needs",
            f"What a rate needs that comes {BURST} times as fast in bursts: {RECORD_BYTES} bytes a record,"
            f" {RECORDS_PER_MESSAGE} records an event",
            (
                Column("records_per_second", "records/s"),
                Column("megabytes_per_second", "MB/s in a burst", ",.1f"),
                Column("units", "throughput units"),
                Column("partitions"),
                Column("writes_per_second", "table writes/s", ",.1f"),
                Column("limit", "what ends first"),
            ),
            [_needs(rate, event_seconds) for rate in RATES],
            f"a unit takes 1 MB/s or {_UNIT_EVENTS:,} events/s; Standard wants a partition for each of them;"
            " a partition is read by one instance at a time, on one core",
        ),
        Section(
            "bursts",
            f"Latency with a burst of {BURST} times the rate for {BURST_SECONDS // 60} minutes (simulated)",
            (
                Column("records_per_second", "records/s"),
                Column("partitions"),
                Column("instances", "instances at most"),
                Column("counted_p50", "counted, p50 s"),
                Column("counted_p99", "p99 s"),
                Column("counted_longest", "longest s"),
                Column("found_p50", "finding, p50 s"),
                Column("found_p99", "p99 s"),
            ),
            [_burst(rate, event_seconds) for rate in RATES],
            "one instance at the beginning; decisions each 30 s, four instances at a time, 20 s to start one",
        ),
    ]


def partitions_for(rate: float, event_seconds: float) -> int:
    """Return how many partitions carry a burst of a rate with a third to spare; at least four."""
    return max(_FEWEST_PARTITIONS, math.ceil(rate * BURST / RECORDS_PER_MESSAGE * event_seconds * 4 / 3))


def simulate(rate: float, partitions: int, event_seconds: float) -> Delays:
    """Play some hours with a burst in the middle, second by second; events are spread evenly over partitions."""
    arrivals = [_arrivals(second, rate) for second in range(_HOURS * 3600)]
    arrived, served, instances, starting, most = list(accumulate(arrivals)), [0.0], 1, list[tuple[int, int]](), 1
    for second, total in enumerate(arrived):
        instances += sum(count for at, count in starting if at == second)
        unprocessed = total - served[-1]
        if second % _DECISION_SECONDS == 0:
            coming = instances + sum(count for at, count in starting if at > second)
            more = min(math.ceil(unprocessed / _TARGET), partitions, coming + _AT_A_TIME) - coming
            starting += [(second + _START_SECONDS, more)] if more > 0 else []
        most = max(most, instances)
        served.append(served[-1] + min(unprocessed, _at_once(instances, partitions) / event_seconds))
    counted = list(_delays(arrived, served[1:], _wait(rate, partitions)))
    return Delays(arrivals, counted, [_found(second, delay) for second, delay in enumerate(counted)], most)


def _at_once(instances: int, partitions: int) -> float:
    """Return how many partitions are read at once: the instance that has the most of them is the last to be done."""
    return partitions / math.ceil(partitions / instances)


def _arrivals(second: int, rate: float) -> float:
    burst = _HOURS * 1800 <= second < _HOURS * 1800 + BURST_SECONDS
    return rate / RECORDS_PER_MESSAGE * (BURST if burst else 1)


def _wait(rate: float, partitions: int) -> int:
    """Return the seconds for which an event waits for its batch to fill."""
    return min(_LONGEST_WAIT, math.ceil(_BATCH / (rate / RECORDS_PER_MESSAGE / partitions)))


def _delays(arrived: Sequence[float], served: Sequence[float], wait: int) -> Iterator[int]:
    """Yield for each second how long its last event waits until it is counted, but for those of the very end."""
    done = 0
    for second, total in enumerate(arrived):
        while done < len(served) and served[done] < total - 1e-6:
            done += 1
        if done == len(served):
            return
        yield max(done - second, 0) + wait


def _found(second: int, delay: int) -> int:
    """Return the seconds to the finding: in the first evaluation after the bucket that finds the event counted."""
    due = max((second // _BUCKET_SECONDS + 1) * _BUCKET_SECONDS, second + delay - _EVALUATION_SECONDS)
    return math.ceil(due / _BUCKET_SECONDS) * _BUCKET_SECONDS + _EVALUATION_SECONDS - second


def _needs(rate: int, event_seconds: float) -> dict[str, Cell]:
    events, bytes_in = rate * BURST / RECORDS_PER_MESSAGE, rate * BURST * RECORD_BYTES
    units, partitions = (
        math.ceil(max(events / _UNIT_EVENTS, bytes_in / _UNIT_BYTES)),
        partitions_for(rate, event_seconds),
    )
    writes = max(events / _BATCH, partitions / _LONGEST_WAIT)
    limits = {
        f"units of Standard ({_UNITS})": units > _UNITS,
        f"partitions of Standard ({_STANDARD_PARTITIONS})": max(units, partitions) > _STANDARD_PARTITIONS,
        f"writes to one table partition ({_TABLE_WRITES:,}/s)": writes > _TABLE_WRITES,
    }
    return {
        "records_per_second": rate,
        "megabytes_per_second": bytes_in / 1_000_000,
        "units": units,
        "partitions": partitions,
        "writes_per_second": writes,
        "limit": ", ".join(name for name, reached in limits.items() if reached) or "none",
    }


def _burst(rate: int, event_seconds: float) -> dict[str, Cell]:
    partitions = partitions_for(rate, event_seconds)
    delays = simulate(rate, partitions, event_seconds)
    return {
        "records_per_second": rate,
        "partitions": partitions,
        "instances": delays.instances,
        "counted_p50": delays.quantile(delays.counted, 0.5),
        "counted_p99": delays.quantile(delays.counted, 0.99),
        "counted_longest": max(delays.counted),
        "found_p50": delays.quantile(delays.found, 0.5),
        "found_p99": delays.quantile(delays.found, 0.99),
    }
