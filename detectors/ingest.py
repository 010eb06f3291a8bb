"""A batch of Event Hub events -> exact counts in the buckets of their arrival.

Whatever is delivered again, cut differently, or brought by two hosts at once is counted once. Bad records are
quarantined and counted; storage that fails raises, so that the batch comes again.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock

from detectors.buckets import BucketStore, Segment, SegmentFullError
from detectors.counting import Counter, Counters, Delta, PlacedFlaw
from detectors.errors import ConflictError, StorageError
from detectors.events import Event, Source
from detectors.quarantine import Quarantine
from detectors.records import Flaw
from detectors.windows import bucket_start

MAX_CONFLICTS = 20
"""Lost writes in a row before giving up; the trigger's retry policy then brings the batch again."""


class Ingest:
    """Counts batches into buckets."""

    def __init__(
        self, store: BucketStore, quarantine: Quarantine, counter: Counter, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._quarantine = quarantine
        self._counter = counter
        self._clock = clock
        self._locks: defaultdict[Source, Lock] = defaultdict(Lock)

    def __call__(self, source: Source, events: Sequence[Event]) -> None:
        """Count the events of one partition, oldest bucket first.

        Raises:
            StorageError: nothing is lost, but part of the batch is not counted yet; it has to come again.
        """
        arrivals: defaultdict[datetime, list[Event]] = defaultdict(list)
        for event in events:
            arrivals[bucket_start(event.enqueued)].append(event)
        with self._locks[source]:  # two invocations for one partition would only fight over the same row
            for bucket in sorted(arrivals):
                self._count(source, bucket, arrivals[bucket])

    def _count(self, source: Source, bucket: datetime, events: Sequence[Event]) -> None:
        segment = self._store.newest(source, bucket)
        for _ in range(MAX_CONFLICTS):
            unseen = segment.unseen(events)
            if not unseen:
                return
            try:
                self._add(segment, unseen)
            except ConflictError:
                segment = self._store.reload(source, bucket)
            except SegmentFullError:
                self._make_room(segment, unseen)
                segment = self._store.newest(source, bucket)
            else:
                return
        raise StorageError(f"{source.hub}/{source.partition}: other writers kept changing bucket {bucket:%H:%M}.")

    def _add(self, segment: Segment, events: Sequence[Event], delta: Delta | None = None) -> None:
        delta = delta or self._counter.count(events, self._clock())
        already = sum(segment.counters.quarantined.values())
        self._quarantine.keep(segment.source, segment.bucket, delta.flaws, already=already)
        self._store.add(segment, delta, events)

    def _make_room(self, segment: Segment, events: Sequence[Event]) -> None:
        """Count what does not fit into a segment at once: in halves, then in the next segment."""
        if len(events) > 1:
            middle = len(events) // 2
            self._count(segment.source, segment.bucket, events[:middle])
            self._count(segment.source, segment.bucket, events[middle:])
        elif not segment.is_empty:
            try:
                self._store.seal(segment)
            except ConflictError:
                self._store.reload(segment.source, segment.bucket)
        else:
            self._add(segment, events, _refusal(events[0]))


def _refusal(event: Event) -> Delta:
    """A message whose groups alone outgrow a segment: no service sends one, and it must not block the partition."""
    flaw = Flaw(0, "too_many_groups", "not counted: more groups than a storage entity holds", "")
    return Delta(counters=Counters(messages=1, quarantined={flaw.reason: 1}), flaws=[PlacedFlaw(event.sequence, flaw)])
