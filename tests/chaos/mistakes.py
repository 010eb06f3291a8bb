"""Mistakes to plant: each takes one guard out of the real code, so that it shows whether stories miss it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from unittest.mock import patch

from detectors import evaluator
from detectors.errors import PostingError, StorageError
from detectors.evaluation import episodes
from detectors.evaluator import Conclusion, Evaluator
from detectors.events import Event, Source
from detectors.ingest import Ingest
from detectors.reporting.heartbeat import RunProgress
from detectors.reporting.sinks import JsonRow, Sink
from detectors.storage import buckets
from detectors.storage.buckets import BucketStore, Segment, Watermark
from detectors.storage.handover import Parcel
from detectors.storage.journal import EvaluatedWindow, Plan, next_window
from detectors.storage.tables import Row, Table, Value
from detectors.windows import key_of, time_of
from tests.chaos.cluster import RETENTION

# ruff: noqa: SLF001 - guards are taken out of the inside of the real code


def _overwritten(table: Table, row: Row) -> str:
    """Write a row whatever its version is."""
    known = next(iter(table.query(row.partition, row.partition, key_prefix=row.key)), None)
    return table.merge(replace(row, etag=known.etag)) if known else table.insert(row)


def _counts_overwritten(store: BucketStore, segment: Segment, values: Mapping[str, Value]) -> Segment:
    row = Row(key_of(segment.bucket), segment.row_key, values, segment.etag)
    return store._remember(replace(segment, etag=_overwritten(store._table, row)))


_call = Ingest.__call__


def _failure_ignored(ingest: Ingest, source: Source, events: Sequence[Event]) -> None:
    with suppress(StorageError):
        _call(ingest, source, events)


def _never_due_again(versions: Mapping[datetime, str], *args: Any, **more: Any) -> Plan | None:  # noqa: ANN401 - as they come
    return next_window(dict.fromkeys(versions, ""), *args, **more)


def _state_ignored(
    versions: Mapping[datetime, str],
    evaluated: Mapping[datetime, EvaluatedWindow],
    *args: Any,  # noqa: ANN401 - as they come
    **more: Any,  # noqa: ANN401 - as they come
) -> Plan | None:
    state, blind = "", dict[datetime, EvaluatedWindow]()
    for end in sorted(evaluated):
        blind[end] = replace(evaluated[end], base=state)
        state = evaluated[end].state
    return next_window(versions, blind, *args, **more)


class _Deaf:
    """A sink whose failures nobody hears."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """See `Sink.post`."""
        with suppress(PostingError):
            self._sink.post(stream, rows)


_conclude = Evaluator.conclude


def _unheard(one: Evaluator, plan: Plan, parcels: Sequence[Parcel], progress: RunProgress, now: datetime) -> Conclusion:
    with patch.object(one, "_sink", _Deaf(one._sink)):
        return _conclude(one, plan, parcels, progress, now)


def _however_late(
    one: Evaluator, plan: Plan, parcels: Sequence[Parcel], progress: RunProgress, now: datetime
) -> Conclusion:
    with patch.object(one, "_retention", max(RETENTION, now - time_of(plan.window_end))):
        return _conclude(one, plan, parcels, progress, now)


class Mistake(NamedTuple):
    """What stands in the place of a guard, and a story that misses it."""

    owner: object
    attribute: str
    planted: object
    seed: int


MISTAKES: Mapping[str, Mistake] = {
    "counts are written whatever was written before": Mistake(BucketStore, "_write", _counts_overwritten, 0),
    "the watermark is not read": Mistake(buckets, "_watermark", lambda _: Watermark(-1, -1), 0),
    "a further row begins without a watermark": Mistake(
        Segment, "next", lambda segment: Segment(segment.source, segment.bucket, segment.number + 1), 1
    ),
    "a failed batch is taken for counted": Mistake(Ingest, "__call__", _failure_ignored, 0),
    "late counts make no window due": Mistake(evaluator, "next_window", _never_due_again, 9),
    "another state makes no window due": Mistake(evaluator, "next_window", _state_ignored, 218),
    "a failed post is taken for posted": Mistake(Evaluator, "conclude", _unheard, 0),
    "buckets are purged too early": Mistake(evaluator, "PURGE_MARGIN", timedelta(hours=-5), 0),
    "a run speaks of what is purged": Mistake(Evaluator, "conclude", _however_late, 249),
    "a value escalates too late": Mistake(episodes, "ESCALATION_FACTOR", 3, 1),
}


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant a mistake, if one is named."""
    with ExitStack() as until:
        if name is not None:
            mistake = MISTAKES[name]
            until.enter_context(patch.object(mistake.owner, mistake.attribute, mistake.planted))
        yield
