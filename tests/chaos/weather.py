"""What befalls requests to storage and to the ingestion endpoint."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from detectors.errors import ConflictError, DetectorError, StorageError
from detectors.storage.tables import Table
from tests.chaos.story import Mishap
from tests.intercepted_table import CONDITIONAL, InterceptedTable, Operation


class KilledError(BaseException):
    """Ends a host, as a kill does: nothing of its code may catch it."""


@dataclass
class Weather:
    """What goes wrong in a step: its requests to storage and sink are numbered."""

    meanwhile: Callable[[], None]
    mishaps: Sequence[tuple[int, Mishap]] = ()
    requests: int = 0
    met: Counter[Mishap] = field(default_factory=Counter)

    def carry_out[T](
        self, request: Callable[[], T], refusal: type[DetectorError], *, is_conditional: bool = False
    ) -> T:
        """Carry a request out, unless something befalls it."""
        self.requests += 1
        mishaps = {what for number, what in self.mishaps if number == self.requests}
        self.met.update(mishaps)
        if "meanwhile" in mishaps:
            self.meanwhile()
        if "refused" in mishaps:
            raise refusal("refused")
        if "killed" in mishaps:
            raise KilledError
        answer = request()
        if "killed after" in mishaps:
            raise KilledError
        if "lost" in mishaps:
            raise refusal("the answer is lost")
        if "resent" in mishaps and is_conditional:
            raise ConflictError("the row has changed: by the first of two tries")
        return answer


class StormyTable(InterceptedTable):
    """A table in the weather."""

    def __init__(self, inner: Table, weather: Weather) -> None:
        super().__init__(inner)
        self._weather = weather

    def request[T](self, operation: Operation, carry_out: Callable[[], T]) -> T:
        """Carry a request out, unless something befalls it."""
        return self._weather.carry_out(carry_out, StorageError, is_conditional=operation in CONDITIONAL)
