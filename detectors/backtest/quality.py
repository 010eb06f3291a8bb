"""The quality of the data read, summed up chunk by chunk."""

from collections import Counter
from collections.abc import Sequence

from detectors.backtest.exports import InputChunk
from detectors.backtest.inputs import STREAM
from detectors.backtest.outcome import Delays, Place, Quality
from detectors.backtest.partial_counts import MAX_EXAMPLES, PartialCounts
from detectors.rules.counters import Counters
from detectors.windows import from_microseconds


class QualityMeter:
    """Sums up what was read, and its problems.

    Attributes:
        last_time: the latest arrival so far, microseconds since 1970.
    """

    def __init__(self, chunks: Sequence[InputChunk]) -> None:
        self._left = Counter(chunk.path for chunk in chunks)
        self._counters = Counters()
        self._read_errors: Counter[str] = Counter()
        self._examples: list[Place] = []
        self._delays: Counter[int] = Counter()
        self._bytes = 0
        self._duplicates = 0
        self._broken: set[str] = set()
        self.first_time: int | None = None
        self.last_time: int | None = None

    def add(self, chunk: InputChunk, size: int, counts: PartialCounts) -> None:
        """Add the counts of a chunk, or of a block of it."""
        self._left[chunk.path] -= 1
        self._bytes += size
        self._counters = self._counters.merged(counts.counters)
        self._delays.update(counts.delays)
        self._duplicates += counts.duplicates
        self._examples += [
            Place(chunk.path, flawed.sequence, flawed.flaw.reason, flawed.flaw.detail) for flawed in counts.examples
        ]
        if counts.read_error:
            self._broken.add(chunk.path)
            self._read_errors[counts.read_error.reason] += 1
            self._examples.append(Place(chunk.path, 0, *counts.read_error))
        times = [time for time in (self.first_time, counts.first_time) if time is not None]
        self.first_time = min(times, default=None)
        self.last_time = max((time for time in (self.last_time, counts.last_time) if time is not None), default=None)

    def quality(self, *, interrupted: bool) -> Quality:
        """Return the quality so far. Only `interrupted` says whether a stream was read to its end."""
        problems = Counter(self._counters.quarantined) + self._read_errors
        return Quality(
            files=len(self._left),
            files_read=sum(
                not interrupted if path == STREAM else left == 0
                for path, left in self._left.items()
                if path not in self._broken
            ),
            bytes=self._bytes,
            records=self._counters.records,
            selected=self._counters.selected,
            selected_by_any=self._counters.by_any_rule.records,
            unknown=dict(Counter(self._counters.unknown).most_common()),
            problems=dict(problems.most_common()),
            examples=_first_of_each(self._examples),
            duplicates=self._duplicates,
            first_time=None if self.first_time is None else from_microseconds(self.first_time),
            last_time=None if self.last_time is None else from_microseconds(self.last_time),
            delays=_delays(self._delays),
        )


def _first_of_each(places: Sequence[Place]) -> list[Place]:
    """Select the first places of each reason."""
    seen = Counter[str]()
    first = []
    for place in places:
        seen[place.reason] += 1
        if seen[place.reason] <= MAX_EXAMPLES:
            first.append(place)
    return first


def _delays(messages: Counter[int]) -> Delays | None:
    """Compute nearest-rank quantiles of delays in whole seconds; None without any."""
    total = messages.total()
    if not total:
        return None
    order = sorted(messages)

    def quantile(share: float) -> int:
        rank, below = -(-share * total // 1), 0
        for seconds in order:
            below += messages[seconds]
            if below >= rank:
                return seconds
        return order[-1]

    return Delays(total, quantile(0.5), quantile(0.95), order[-1])
