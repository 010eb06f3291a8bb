"""The journal: a row for each evaluated window, with the episodes that were open after it.

Each row records its inputs: the versions of the window's six buckets, and the state after the window before it. So the
due windows are known without any clock: those never evaluated, those whose buckets have changed since, and those whose
predecessor now has another state.

Episodes that outgrow a row go on in further rows, in the partition of their window and named by their digest. They are
written before the window's own row names them, so that a crash leaves the old row valid; the purge deletes them.
"""

import hashlib
import zlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from detectors import __version__
from detectors.errors import ConflictError, StorageError
from detectors.evaluation.episodes import Episode
from detectors.storage.handover import Parcel
from detectors.storage.tables import Row, Table, Value, bytes_of, delete_all
from detectors.windows import BUCKET, WINDOW, key_of, time_of, window_buckets, window_ends

_WINDOWS, _PURGED = "windows", "purged"
_WINDOW_COLUMNS = ("Inputs", "Base", "State")
_BEFORE, _BEGAN = "Before", "Began"
_NEVER = "never"
_CHUNK_BYTES = 60_000
_MAX_CHUNKS = 16

_SPILL_PREFIX = "episodes-"

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Episode]).decode


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class EvaluatedWindow:
    """One evaluated window.

    Attributes:
        inputs: the digest of the versions of its buckets.
        base: the state digest of the window before it.
        state: the digest of the episodes open after it.
        etag: the row's version.
    """

    inputs: str
    base: str
    state: str
    etag: str | None = None


class Overview(NamedTuple):
    """What was evaluated.

    Attributes:
        windows: every evaluated window that is kept.
        purged: the start before which buckets have been purged; None if none have.
        began: the first window that was ever evaluated; None if none was.
    """

    windows: dict[datetime, EvaluatedWindow]
    purged: datetime | None
    began: datetime | None = None


class Plan(msgspec.Struct):
    """The plan to evaluate one window.

    Attributes:
        window_end: key of the window.
        inputs: digest of the versions of its buckets.
        base_window: key of the evaluated window before it, None if no episode was open after that.
        base: that window's state digest.
        etag: version of the window's own row, None if it has not been evaluated yet.
        around: digest of the versions of its row and of those that share buckets with it.
        windows_skipped: windows before it that were lost, because their buckets are no longer kept.
        began: key of the first window that was ever evaluated; empty if an earlier release made the plan.
        shards: parallel parts of its evaluation.
        marks: how far each Event Hub partition is counted.
        is_last: whether its run has nothing left to plan after it.
    """

    window_end: str
    inputs: str
    base_window: str | None
    base: str
    etag: str | None
    around: str = ""
    windows_skipped: int = 0
    began: str = ""
    shards: int = 1
    marks: Parcel = msgspec.field(default_factory=Parcel)
    is_last: bool = False


NO_STATE = ""
NO_EPISODES = _digest(_pack([]))
"""The state after a window with no open episode: nothing needs to be read."""


def next_window(
    versions: Mapping[datetime, str],
    evaluated: Mapping[datetime, EvaluatedWindow],
    until: datetime,
    reach: timedelta,
    *,
    after: datetime | None = None,
    purged: datetime | None = None,
) -> Plan | None:
    """Find the first due window, None if none is due.

    A detector starts with the oldest data kept; if data for earlier windows arrives later, those are caught up too.

    Args:
        versions: the versions of the stored buckets, as `BucketStore.versions` returns them.
        evaluated: the windows of the journal, at least the newest before the reach and all within it.
        until: the newest window that may be evaluated.
        reach: how far back windows can be evaluated, because their buckets are kept.
        purged: buckets before this start are gone, so no window that holds one can be evaluated.
        after: only later windows are planned: one run evaluates each window once, in order, and so terminates.
    """
    ends = sorted(window for window in evaluated if window <= until)
    first = min([bucket + BUCKET for bucket in versions] + ends[:1] + [until])
    bounds = [until - reach, after and after + BUCKET, purged and purged + WINDOW]
    first = max([first, *(bound for bound in bounds if bound)])
    for window in window_ends(first, until):
        place = bisect_left(ends, window)
        before = ends[place - 1] if place else None
        base = evaluated[before].state if before else NO_STATE
        inputs = _digest(" ".join(versions.get(bucket, "") for bucket in window_buckets(window)).encode())
        entry = evaluated.get(window)
        if entry is None or entry.inputs not in {inputs, failing(inputs)} or entry.base != base:
            return Plan(
                window_end=key_of(window),
                inputs=inputs,
                base_window=key_of(before) if before and base != NO_EPISODES else None,
                base=base,
                etag=entry.etag if entry else None,
                around=versions_around(evaluated, window),
                windows_skipped=(window - before) // BUCKET - 1 if before and entry is None else 0,
            )
    return None


def windows_around(evaluated: Mapping[datetime, EvaluatedWindow], window: datetime) -> list[datetime]:
    """Find the evaluated windows that may hold the same groups and minutes as one, itself among them; in order."""
    return sorted(known for known in evaluated if window - WINDOW <= known <= window + WINDOW)


def versions_around(evaluated: Mapping[datetime, EvaluatedWindow], window: datetime) -> str:
    """Return a digest of the versions of these windows: it changes when any of them is recorded."""
    versions = (f"{key_of(known)} {evaluated[known].etag}" for known in windows_around(evaluated, window))
    return _digest(" ".join(versions).encode())


class Journal:
    """The journal in a table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def overview(self) -> Overview:
        """Read what was evaluated."""
        rows = list(self._table.query(_PURGED, _WINDOWS, columns=(*_WINDOW_COLUMNS, _BEGAN, _BEFORE)))
        windows = {time_of(row.key): _evaluated_window(row) for row in rows if row.partition == _WINDOWS}
        purged = (time_of(str(row.values[_BEFORE])) for row in rows if row.partition == _PURGED)
        began = [time_of(str(row.values[_BEGAN])) for row in rows if row.values.get(_BEGAN)]
        return Overview(windows, next(purged, None), min([*began, *windows], default=None))

    def window(self, window_key: str) -> EvaluatedWindow | None:
        """Read one evaluated window; None if it has not been evaluated."""
        rows = self._table.query(_WINDOWS, _WINDOWS, key_prefix=window_key, columns=_WINDOW_COLUMNS)
        return next((_evaluated_window(row) for row in rows), None)

    def episodes(self, window_key: str | None) -> list[Episode]:
        """Read the episodes that were open after a window; none if it has not been evaluated.

        Raises:
            StorageError: rows are missing, which happens only if somebody else deleted them.
        """
        if window_key is None:
            return []
        for row in self._table.query(_WINDOWS, _WINDOWS, key_prefix=window_key):
            return self._unpacked(row)
        return []

    def _unpacked(self, row: Row) -> list[Episode]:
        chunks = [bytes_of(row.values.get(f"Episodes{number:02d}", b"")) for number in range(_MAX_CHUNKS)]
        if spilled := row.values.get("Spilled"):
            prefix = f"{_SPILL_PREFIX}{_evaluated_window(row).state}-"
            rows = self._table.query(row.key, row.key, key_prefix=prefix)
            chunks = [bytes_of(value) for one in rows for _, value in sorted(one.values.items())]
            if len(chunks) != spilled:
                raise StorageError(f"{len(chunks)} of {spilled!s} parts of the episodes of window {row.key} are there.")
        return _unpack(zlib.decompress(b"".join(chunks)))

    def row(self, plan: Plan, episodes: Sequence[Episode], *, failed: bool = False) -> Row:
        """Build the row that records the evaluation of a planned window, with the episodes open after it.

        Many episodes are written at once, into rows that nothing names before this one is recorded.

        Args:
            plan: the window.
            episodes: those open after it.
            failed: whether a rule could not be evaluated. The same code would fail again, so the window is due again
                for the next release, and when its buckets change.
        """
        packed, state = zlib.compress(_pack(episodes)), _digest(_pack(episodes))
        chunks = [packed[start : start + _CHUNK_BYTES] for start in range(0, len(packed), _CHUNK_BYTES)]
        spilled = len(chunks) if len(chunks) > _MAX_CHUNKS else 0
        for start in range(0, spilled, _MAX_CHUNKS):
            parts = {f"Part{place:02d}": chunk for place, chunk in enumerate(chunks[start : start + _MAX_CHUNKS])}
            self._table.upsert([Row(plan.window_end, f"{_SPILL_PREFIX}{state}-{start // _MAX_CHUNKS:06d}", parts)])
        inline = [] if spilled else chunks
        inline += [b""] * (_MAX_CHUNKS - len(inline))  # a merge must overwrite what a longer list left behind
        inputs = failing(plan.inputs) if failed else plan.inputs
        values: dict[str, Value] = {
            "Inputs": inputs,
            "Base": plan.base,
            "State": state,
            "Spilled": spilled,
            _BEGAN: plan.began,
        }
        values |= {f"Episodes{number:02d}": chunk for number, chunk in enumerate(inline)}
        return Row(_WINDOWS, plan.window_end, values, plan.etag)

    def record(self, row: Row) -> None:
        """Write a row made by `row`. Raises `ConflictError` if another run wrote the window first."""
        if row.etag is None:
            self._table.insert(row)
        else:
            self._table.merge(row)

    def reopen(self, plan: Plan) -> None:
        """Make a window due again if another run recorded it from other inputs than this plan's."""
        entry = self.window(plan.window_end)
        if entry and not is_recorded(plan, entry):
            self._make_due(time_of(plan.window_end), entry)

    def reopen_around(self, window: datetime, seen: Mapping[datetime, EvaluatedWindow]) -> None:
        """Make the windows due again that share buckets with one, and that other runs recorded since they were seen."""
        current = self.overview().windows
        for end in windows_around(current, window):
            if end != window and current[end] != seen.get(end):
                self._make_due(end, current[end])

    def _make_due(self, window: datetime, entry: EvaluatedWindow) -> None:
        with suppress(ConflictError):  # yet another run has it now
            self._table.merge(Row(_WINDOWS, key_of(window), {"Inputs": _NEVER}, entry.etag))

    def note_purge(self, before: datetime) -> None:
        """Record, before purging, that buckets that start before a time are purged."""
        self._table.upsert([Row(_PURGED, _PURGED, {_BEFORE: key_of(before)})])

    def purge(self, before: datetime) -> int:
        """Delete the windows that ended before a time, and the partitions with the results handed over for them.

        The newest of these windows stays: the next one is based on it.
        """
        rows = list(self._table.query("0", _WINDOWS, columns=["State"]))
        old = [row.key for row in rows if row.partition == _WINDOWS and row.key < key_of(before)]
        kept = old.pop() if old else ""
        delete_all(self._table, _WINDOWS, old)
        further: dict[str, list[str]] = {}
        for row in rows:
            if row.partition < key_of(before) and not (row.partition == kept and row.key.startswith(_SPILL_PREFIX)):
                further.setdefault(row.partition, []).append(row.key)
        for partition, keys in further.items():
            delete_all(self._table, partition, keys)
        return len(old) + sum(map(len, further.values()))


def is_recorded(plan: Plan, entry: EvaluatedWindow | None) -> bool:
    """Tell whether a window is recorded from what was planned, by whatever run."""
    return entry is not None and entry.base == plan.base and entry.inputs in {plan.inputs, failing(plan.inputs)}


def failing(inputs: str) -> str:
    """Mark the inputs of a window in which a rule failed in this release: to another one, they are others."""
    return f"{inputs} {__version__}"


def _evaluated_window(row: Row) -> EvaluatedWindow:
    inputs, base, state = (str(row.values[name]) for name in _WINDOW_COLUMNS)
    return EvaluatedWindow(inputs, base, state, row.etag)
