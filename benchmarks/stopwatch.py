"""Time spent inside methods, measured from outside: the product carries no code for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import ismethod
from time import perf_counter, thread_time
from typing import Any
from unittest.mock import patch

type Method = tuple[type, str]


@dataclass(slots=True)
class Spent:
    """Seconds on the wall clock, and of them on a processor in this process."""

    wall: float = 0.0
    cpu: float = 0.0

    def __sub__(self, part: "Spent") -> "Spent":
        """Return what is left without a part of it."""
        return Spent(self.wall - part.wall, self.cpu - part.cpu)


@contextmanager
def measured(methods: Mapping[str, Method]) -> Iterator[dict[str, Spent]]:
    """Give, by the name of each method, what its calls take while this is open; callees are included."""
    spent = {name: Spent() for name in methods}
    with ExitStack() as patches:
        for name, (owner, attribute) in methods.items():
            original = getattr(owner, attribute)
            timed = _timed(original, spent[name])
            # A class method is bound already, so its stand-in must not be bound again.
            stand_in = staticmethod(timed) if ismethod(original) else timed
            patches.enter_context(patch.object(owner, attribute, stand_in))
        yield spent


def _timed(function: Callable[..., Any], spent: Spent) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        wall, cpu = perf_counter(), thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent.wall += perf_counter() - wall
            spent.cpu += thread_time() - cpu

    return call
