"""A queue in virtual time: what is due next comes out next, and the clock jumps to it."""

import heapq
import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime

_TOGETHER = 0.5
"""How likely it is that an item is taken together with another."""


class VirtualQueue[Item]:
    """Items by the time they are due, and the clock that follows them.

    Items due at the same time come out in the order they went in or, with `shuffle`, in random order,
    which is repeatable for a seed.

    Attributes:
        now: The clock. Taking an item only moves it forward; the owner may set it.
    """

    def __init__(self, shuffle: random.Random | None, on_advance: Callable[[datetime], None] | None) -> None:
        self.now = datetime.now(UTC)
        self._shuffle = shuffle
        self._on_advance = on_advance
        self._heap: list[tuple[datetime, float, int, Item]] = []
        self._pushed = itertools.count()

    def advance(self, moment: datetime) -> None:
        """Move the clock, and tell the owner if that changes it."""
        if moment != self.now:
            self.now = moment
            if self._on_advance:
                self._on_advance(moment)

    def push(self, item: Item, due: datetime | None = None) -> None:
        """Add an item that is due then, or now if no time is given."""
        order = self._shuffle.random() if self._shuffle else 0.0
        heapq.heappush(self._heap, (due or self.now, order, next(self._pushed), item))

    def take(self, wanted: Callable[[Item], bool]) -> Item | None:
        """Take the next item and move the clock on to it; unwanted ones are dropped and move nothing."""
        while self._heap:
            due, _, _, item = heapq.heappop(self._heap)
            if wanted(item):
                self.advance(max(due, self.now))
                return item
        return None

    def take_beside(self, alike: Callable[[Item], bool]) -> list[Item]:
        """Take what is due now and alike from the front; nothing when shuffled, for one order at a time."""
        taken: list[Item] = []
        while self._heap and not self._shuffle and self._heap[0][0] <= self.now and alike(self._heap[0][-1]):
            taken.append(heapq.heappop(self._heap)[-1])
        return taken

    def take_some(self, alike: Callable[[Item], bool]) -> list[Item]:
        """Take some of what is due now and alike, chance says which; nothing unless shuffled."""
        shuffle, taken = self._shuffle, []
        for entry in sorted(self._heap):
            if shuffle and entry[0] <= self.now and alike(entry[-1]) and shuffle.random() < _TOGETHER:
                self._heap.remove(entry)
                taken.append(entry[-1])
        heapq.heapify(self._heap)
        return taken
