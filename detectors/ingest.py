"""A batch of Event Hub events -> exact counts in the buckets of their arrival.

An event counts once, even if it is redelivered, batched differently, or delivered to two hosts at once. Bad records
are quarantined and counted; a storage failure raises, so that the batch is redelivered.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from threading import Lock

from detectors.errors import ConflictError, StorageError
from detectors.events import Event, Source
from detectors.ingestion.counting import BatchCounter
from detectors.ingestion.delta import Delta
from detectors.rules.crowds import ROOMS, condensed
from detectors.storage.buckets import BucketStore, Segment, SegmentFullError
from detectors.storage.quarantine import Quarantine
from detectors.windows import bucket_start

MAX_CONFLICTS = 20
"""Conflicting writes to one bucket before giving up; the trigger's retry policy then redelivers the batch."""


class Ingest:
    """Counts batches into buckets."""

    def __init__(
        self, store: BucketStore, quarantine: Quarantine, counter: BatchCounter, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._quarantine = quarantine
        self._counter = counter
        self._clock = clock
        self._locks: defaultdict[Source, Lock] = defaultdict(Lock)

    def __call__(self, source: Source, events: Sequence[Event]) -> None:
        """Count the events of one partition.

        Raises:
            StorageError: nothing is lost, but part of the batch is not counted yet; it must be redelivered.
        """
        arrivals: defaultdict[datetime, list[Event]] = defaultdict(list)
        for event in events:
            arrivals[bucket_start(event.enqueued)].append(event)
        with self._locks[source]:  # two invocations for one partition would only fight over the same row
            for bucket, arrived in arrivals.items():
                self._count(source, bucket, arrived)

    def _count(self, source: Source, bucket: datetime, events: Sequence[Event]) -> None:
        """Count the unseen events: all at once, or in smaller and smaller parts if they do not fit."""
        segment = self._store.newest(source, bucket)
        size, conflicts = len(events), 0
        while unseen := segment.unseen(events):
            part = unseen[:size]
            try:
                segment = self._add(segment, part)
                size = len(unseen)
            except SegmentFullError:
                size = len(part) // 2
            except ConflictError as error:
                conflicts += 1
                if conflicts > MAX_CONFLICTS:
                    raise StorageError(f"{'/'.join(source)}: other writers keep changing {bucket:%H:%M}.") from error
                segment = self._store.reload(source, bucket)

    def _add(self, segment: Segment, events: Sequence[Event]) -> Segment:
        """Store what events add, and return the segment to continue with: a new one if a single event does not fit.

        Raises:
            ConflictError: another writer changed the segment.
            SegmentFullError: several events do not fit together.
        """
        try:
            return self._write(segment, events, self._counter.count(events, self._clock()))
        except SegmentFullError:
            if len(events) > 1:
                raise
        if not segment.is_empty:
            return self._store.seal(segment)
        return self._write_condensed(segment, events)

    def _write_condensed(self, segment: Segment, events: Sequence[Event]) -> Segment:
        """Store a single event whose groups outgrow an empty segment: in fewer groups, so that nothing is lost."""
        delta = self._counter.count(events, self._clock())
        for room in ROOMS[:-1]:
            try:
                return self._write(segment, events, replace(delta, tallies=condensed(delta.tallies, room)))
            except SegmentFullError:
                continue
        return self._write(segment, events, replace(delta, tallies=condensed(delta.tallies, ROOMS[-1])))

    def _write(self, segment: Segment, events: Sequence[Event], delta: Delta) -> Segment:
        already = sum(segment.counters.quarantined.values())
        self._quarantine.keep(segment.source, segment.bucket, delta.flaws, already=already)
        return self._store.add(segment, delta, events)
