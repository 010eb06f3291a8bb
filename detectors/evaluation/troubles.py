"""Confines an exception to the rule whose evaluation raised it, so that other rules go on.

A mistake in a rule, or a group that nobody thought of, must not stop the findings of all rules and the heartbeat.
What went wrong is logged and kept, for the heartbeat to tell. Failed infrastructure is no rule's trouble: it is raised.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from detectors.errors import DetectorError

Contain = Callable[[str], AbstractContextManager[None]]
"""Makes a context for the work on one rule, by its id."""

MAX_CHARACTERS = 300
"""Of an exception's text; keeps a column small."""

_LOG = logging.getLogger(__name__)


def raising(_: str) -> AbstractContextManager[None]:
    """Contain nothing: for a backtest, where somebody looks at the exception."""
    return nullcontext()


class Troubles:
    """The rules that failed in a window.

    Attributes:
        failed: by rule id, the exception that came first.
    """

    def __init__(self, before: Iterable[tuple[str, str]] = ()) -> None:
        self.failed = dict(before)

    @contextmanager
    def contain(self, rule_id: str) -> Iterator[None]:
        """Keep an exception of the work on a rule, unless it is the infrastructure's."""
        try:
            yield
        except DetectorError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a rule's mistake raises; it is logged and posted
            _LOG.exception("the rule %s could not be evaluated", rule_id)
            self.failed.setdefault(rule_id, f"{type(error).__name__}: {error}"[:MAX_CHARACTERS])
