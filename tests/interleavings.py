"""Runs hosts in every order that a bound allows: the real code, stopped before each request to storage or the sink.

Only one host runs at a time. Before each request somebody chooses who goes on, and whether the request fails, loses its
answer although it was carried out, or is the last of its host. A schedule is the list of these choices. `explore`
begins with the first choice everywhere and changes the last one that has alternatives, until none is left. So within
the bounds on changes of host and on faults no schedule is left out, and a failing one is told as its list of choices.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Semaphore, Thread
from typing import Literal

from detectors.errors import ConflictError, PostingError, StorageError
from detectors.reporting.sinks import JsonRow
from detectors.storage.tables import Table
from tests.intercepted_table import CONDITIONAL, InterceptedTable, Operation

Fault = Literal["", "refused", "lost", "killed"]


class _KilledError(BaseException):
    """Ends a host between two requests, as a kill does: nothing of its code may catch it."""


@dataclass
class Schedule:
    """The choices of one run: those given first, then the first alternative each time.

    Attributes:
        given: places among the alternatives.
        taken: the place taken and the number of alternatives, for each choice.
        told: what was chosen, in words.
    """

    given: Sequence[int] = ()
    taken: list[tuple[int, int]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def choose(self, alternatives: Sequence[tuple[str, Fault]]) -> tuple[str, Fault]:
        """Choose who goes on, and what befalls its request."""
        step = len(self.taken)
        place = self.given[step] if step < len(self.given) else 0
        self.taken.append((place, len(alternatives)))
        self.told.append(" ".join(filter(None, alternatives[place])))
        return alternatives[place]

    def following(self) -> "Schedule | None":
        """Return the schedule after this one; None if it was the last."""
        for step in reversed(range(len(self.taken))):
            place, alternatives = self.taken[step]
            if place + 1 < alternatives:
                return Schedule([*(taken for taken, _ in self.taken[:step]), place + 1])
        return None


class Host:
    """A thread that stops before each request."""

    def __init__(self, name: str, work: Callable[["Host"], object]) -> None:
        self.name = name
        self.is_done = False
        self.error: BaseException | None = None
        self._fault: Fault = ""
        self._go, self._stopped = Semaphore(0), Semaphore(0)
        self._work = work
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    def proceed(self, fault: Fault) -> None:
        """Let it go on to its next request, or to its end."""
        self._fault = fault
        self._go.release()
        self._stopped.acquire()
        if self.is_done:
            self._thread.join()

    def request[T](self, carry_out: Callable[[], T], refusal: Callable[[str], Exception]) -> T:
        """Wait for the turn, then carry a request out, or not."""
        self._stopped.release()
        self._go.acquire()
        fault = self._fault
        if fault == "killed":
            raise _KilledError
        if fault == "refused":
            raise refusal("storage is away")
        answer = carry_out()
        if fault == "lost":
            raise refusal("the answer is lost")
        return answer

    def _run(self) -> None:
        try:
            with suppress(_KilledError):
                self._work(self)
        except BaseException as error:  # noqa: BLE001 - told by the thread that watches
            self.error = error
        self.is_done = True
        self._stopped.release()


class TurnTable(InterceptedTable):
    """A table as one host sees it: each request waits for the host's turn.

    A lost answer of a conditional write is sent again by the client, which then finds the row: a conflict.
    """

    def __init__(self, inner: Table, host: Host) -> None:
        super().__init__(inner)
        self._host = host

    def request[T](self, operation: Operation, carry_out: Callable[[], T]) -> T:
        """Wait for the turn."""
        return self._host.request(carry_out, ConflictError if operation in CONDITIONAL else StorageError)


class TurnSink:
    """A sink as one host sees it."""

    def __init__(self, rows: list[tuple[str, JsonRow]], host: Host) -> None:
        self._rows, self._host = rows, host

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """See `Sink.post`."""
        self._host.request(lambda: self._rows.extend((stream, row) for row in rows), PostingError)


def run(schedule: Schedule, works: Sequence[Callable[[Host], object]], *, switches: int, faults: int) -> None:
    """Run hosts by a schedule until all are done; raises what a host raised.

    Args:
        schedule: the choices.
        works: what each host does.
        switches: how often a host may be left that could go on.
        faults: how many requests may go wrong.
    """
    hosts = [Host(f"host {number}", work) for number, work in enumerate(works, 1)]
    current = hosts[0].name
    while running := {host.name: host for host in hosts if not host.is_done}:
        order = sorted(running, key=lambda name: (name != current, name))
        may_switch = current not in running or switches > 0
        alternatives: list[tuple[str, Fault]] = [(name, "") for name in (order if may_switch else order[:1])]
        if faults:
            alternatives += [(order[0], fault) for fault in ("refused", "lost", "killed")]
        chosen, fault = schedule.choose(alternatives)
        switches -= current in running and chosen != current
        faults -= bool(fault)
        current = chosen
        running[chosen].proceed(fault)
    for host in hosts:
        if host.error:
            raise host.error


def explore(check: Callable[[Schedule], None]) -> int:
    """Check every schedule; return how many there are. What a check raises is told with its schedule."""
    schedule: Schedule | None = Schedule()
    explored = 0
    while schedule is not None:
        try:
            check(schedule)
        except Exception as error:
            error.add_note(f"schedule {explored}: " + ", ".join(schedule.told))
            raise
        explored += 1
        schedule = schedule.following()
    return explored
