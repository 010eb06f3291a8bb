"""The quarantine of flawed records: a table row for each, with its place, the reason and the beginning of the record.

A row's key is the record's place, so a redelivery writes the same row again; further flaws of one place, such as lines
that one record wraps, are numbered. The number of rows is bounded for each Event Hub partition and bucket; flaws beyond
it are still counted.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from detectors.events import Source
from detectors.ingestion.delta import QuarantinedRecord
from detectors.storage.buckets import purge
from detectors.storage.tables import Row, Table, transactions
from detectors.windows import key_of

MAX_ROWS = 100
"""Rows kept for one Event Hub partition in one bucket (in one of its segments, should there be several)."""

RETENTION = timedelta(days=14)


class Quarantine:
    """Keeps flawed records for a person to look at."""

    def __init__(self, table: Table, *, excerpt_characters: int) -> None:
        self._table = table
        self._excerpt_characters = excerpt_characters

    def keep(self, source: Source, bucket: datetime, flaws: Sequence[QuarantinedRecord], *, already: int) -> None:
        """Store flaws, up to `MAX_ROWS` together with the `already` counted ones of this bucket."""
        rows, before = list[Row](), Counter[tuple[int, int]]()
        for flawed in flaws[: max(MAX_ROWS - already, 0)]:
            place = flawed.sequence, flawed.flaw.index
            rows.append(self._row(source, bucket, flawed, before[place]))
            before[place] += 1
        for some in transactions([row] for row in rows):
            self._table.upsert(some)

    def purge(self, before: datetime) -> int:
        """Delete what arrived before a time, and return the number of rows."""
        return purge(self._table, key_of(before))

    def _row(self, source: Source, bucket: datetime, flawed: QuarantinedRecord, before: int) -> Row:
        flaw = flawed.flaw
        further = [f"{before:06d}"] if before else []
        return Row(
            key_of(bucket),
            "|".join((*source, f"{flawed.sequence:020d}", f"{flaw.index:06d}", *further)),
            {
                "Namespace": source.namespace,
                "Hub": source.hub,
                "Partition": source.partition,
                "Sequence": flawed.sequence,
                "Index": flaw.index,
                "Reason": flaw.reason,
                "Detail": flaw.detail,
                "Excerpt": flaw.excerpt[: self._excerpt_characters],
            },
        )
