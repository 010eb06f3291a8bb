"""The flaws of one message: every one is counted, and the first of each reason are kept for a person to look at."""

from collections.abc import Callable

from detectors.ingestion.delta import Delta, QuarantinedRecord
from detectors.sources.decoding import MAX_FLAWS, Message, RecordFlaw

MAX_FLAWS_OF_BATCH = 100
"""Flaws of one reason that are kept of a batch; storage has room for as many."""


class Flaws:
    """Puts the flaws of a message into a delta."""

    def __init__(self, delta: Delta, message: Message, place: Callable[[int], int]) -> None:
        self._delta = delta
        self._place = place
        self._of_message: dict[str, int] = {}
        self.flawed: set[int] = set()
        """Places in the message of records that a flaw was added for."""
        for flaw in message.flaws:
            self._keep(flaw)
            self._count(flaw.reason)
        for reason, count in message.more_flaws.items():
            self._count(reason, count)

    def add(self, index: int, reason: str, detail: str, excerpt: Callable[[], str]) -> None:
        """Count a flaw of the record at a place in the message; its excerpt is made only if it is kept."""
        self.flawed.add(index)
        self._count(reason)
        if self._of_message.get(reason, 0) < MAX_FLAWS and self._delta.kept[reason] < MAX_FLAWS_OF_BATCH:
            self._keep(RecordFlaw(index, reason, detail, excerpt()))

    def _count(self, reason: str, count: int = 1) -> None:
        quarantined = self._delta.counters.quarantined
        quarantined[reason] = quarantined.get(reason, 0) + count

    def _keep(self, flaw: RecordFlaw) -> None:
        if self._delta.kept[flaw.reason] < MAX_FLAWS_OF_BATCH:
            self._of_message[flaw.reason] = self._of_message.get(flaw.reason, 0) + 1
            self._delta.kept[flaw.reason] += 1
            self._delta.flaws.append(QuarantinedRecord(self._place(flaw.index), flaw))
