"""Stored buckets as values to show. Reads only: neither a table nor a row is made."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple

from detectors.configuration.settings import storage_from_env
from detectors.detector import BUCKETS_TABLE
from detectors.errors import StorageError
from detectors.events import Source
from detectors.rules.rule import Number, measure
from detectors.rules.tally import ACCOUNT_SEEN, Key, Tally
from detectors.storage.azure_tables import open_existing_table
from detectors.storage.buckets import BucketStore
from detectors.storage.slices import SLICES
from detectors.windows import bucket_start

_MOMENT = timedelta(microseconds=1)


class Stored(NamedTuple):
    """What one Event Hub partition brought to one bucket for one group of a rule."""

    bucket: datetime
    source: Source
    key: Key
    tally: Tally

    @property
    def longest_response(self) -> Number | None:
        """In bytes; None if no record carried a length."""
        return measure(self.tally, "max_response_length")

    @property
    def average_request(self) -> Number | None:
        """In bytes; None if no record carried a length."""
        return measure(self.tally, "avg_request_length")

    @property
    def callers(self) -> list[tuple[str, int]]:
        """Records by caller, most first."""
        return sorted(self.tally.callers.items(), key=lambda caller: (-caller[1], caller[0]))


class Where(NamedTuple):
    """Which stored tallies are wanted.

    Attributes:
        first: buckets that end after this time, aware UTC.
        last: and start before this one.
        rule_id: of one rule; None for all.
        resource: part of the group's name in any case, with `*` and `?` for any text; None for all.
    """

    first: datetime
    last: datetime
    rule_id: str | None = None
    resource: str | None = None

    def holds(self, key: Key) -> bool:
        """Whether a tally is wanted."""
        if key.rule_id == ACCOUNT_SEEN or self.rule_id not in {None, key.rule_id}:
            return False
        name = " ".join(key.group).casefold()
        return self.resource is None or fnmatchcase(name, f"*{self.resource.casefold()}*")


def stored(env: Mapping[str, str], where: Where) -> list[Stored]:
    """Return what the storage that the settings name holds, in order of bucket, partition, rule and group.

    Raises:
        SettingsError: the storage's settings have problems; the others are not looked at.
        StorageError: the storage cannot be reached; the message names the setting.
    """
    setting, storage = storage_from_env(env)
    try:
        return list(read(BucketStore(open_existing_table(storage, BUCKETS_TABLE)), where))
    except (StorageError, ValueError) as error:  # ValueError: a connection string that the client cannot read
        reason = str(error).partition("\n")[0].removeprefix("Table Storage: ")
        raise StorageError(f"{setting}: buckets cannot be read from the storage that it names: {reason}") from error


def read(store: BucketStore, where: Where) -> Iterator[Stored]:
    """Yield what a store holds, in order of bucket, partition, rule and group."""
    for bucket in sorted(store.overview(bucket_start(where.first), bucket_start(where.last - _MOMENT)).versions):
        yield from _merged(bucket, store.read(bucket, range(SLICES)), where)


def _merged(bucket: datetime, tallies: Iterator[tuple[Source, Key, Tally]], where: Where) -> Iterator[Stored]:
    """One tally for each partition and group, of however many segments."""
    merged: dict[tuple[Source, Key], Tally] = {}
    for source, key, tally in tallies:
        if where.holds(key):
            known = merged.get((source, key))
            merged[source, key] = tally if known is None else known.merged(tally)
    for source, key in sorted(merged):
        yield Stored(bucket, source, key, merged[source, key])
