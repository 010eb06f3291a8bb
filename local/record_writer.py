"""Writes records of the made-up day, each with the fact that it leaves for the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from random import Random

from local import bedrock
from local.ground_truth import BLOCKED, LIST_KEY, Fact
from local.samples import Account, Call, Shape, call_template, guid, list_key

_TICKS_A_SECOND = 10_000_000
_UNIX_EPOCH_TICKS = 621_355_968_000_000_000  # .NET counts from year 1
_LONGEST_REQUEST = 12_000
BEDROCK_CALL = ""
"""What a call of Bedrock is if there is nothing to say about it."""


@dataclass(frozen=True, slots=True)
class PlannedRecord:
    """One record that was planned: when it happens, in milliseconds since the start of the day, and what it says.

    `alone` asks for a message without neighbours.
    """

    at_ms: int
    text: str
    fact: Fact
    alone: bool = False


class Scribe:
    """Writes records for a day that starts at a time, in whole seconds since 1970."""

    def __init__(self, rng: Random, start_second: int) -> None:
        self._rng = rng
        self._start_second = start_second

    def listing(self, at_ms: int, account: Account, caller: str, length: int | None = None) -> PlannedRecord:
        """Somebody reads an account's keys; most logs tell no length of the answer."""
        second = self._start_second + at_ms // 1_000
        text = list_key(
            self._rng,
            account,
            caller=caller,
            time=f"{_second(second)}.0000000Z",
            length=None if length is None else str(length),
        )
        return PlannedRecord(at_ms, text, Fact(LIST_KEY, (account.canonical_id,), second, caller, response=length))

    def call(self, at_ms: int, call: Call, *, request: int, response: int) -> PlannedRecord:
        """Return a request to an account with lengths in bytes."""
        text, second = self._filled(call_template(self._rng, call), at_ms, request, response, 20 + request // 10)
        return PlannedRecord(at_ms, text, _fact(call, second, request, response))

    def ordinary(self, shape: Shape, at_ms: int) -> tuple[str, Fact | None]:
        """Return a request as its shape says; None for what no rule could count."""
        rng = self._rng
        duration = 5 + int(rng.expovariate(1 / shape.duration))
        request = min(1 + int(rng.expovariate(1 / shape.request)), _LONGEST_REQUEST)
        response = 40 + int(rng.expovariate(1 / shape.response))
        text, second = self._filled(shape.text, at_ms, request, response, duration)
        if shape.call is None:
            return text, None
        if shape.has_lengths:
            return text, _fact(shape.call, second, request, response)
        # The object id stands among the properties too, so only the address is left.
        return text, Fact(shape.call.operation, (shape.call.account.canonical_id,), second, shape.call.address)

    def refused(self, at_ms: int, user: str, model: str, error: str) -> PlannedRecord:
        """Bedrock refuses a call."""
        second = self._start_second + at_ms // 1_000
        text = bedrock.refused(self._rng, user, model, f"{_second(second)}Z", error)
        return PlannedRecord(at_ms, text, Fact(error, (user, model, bedrock.ACCOUNT), second, user), alone=True)

    def answered(self, at_ms: int, user: str, model: str, policies: Mapping[str, str] | None = None) -> PlannedRecord:
        """Bedrock answers, and the guardrail's policies did what is said of them."""
        second = self._start_second + at_ms // 1_000
        write = self._rng.choice((bedrock.conversed, bedrock.invoked))
        text = write(self._rng, user, model, f"{_second(second)}Z", policies or {})
        blocked = list((policies or {}).values()).count("BLOCKED")
        what = BLOCKED if blocked else BEDROCK_CALL
        fact = Fact(what, (user, model, bedrock.ACCOUNT), second, user, policies=blocked)
        return PlannedRecord(at_ms, text, fact, alone=True)

    def _filled(self, template: str, at_ms: int, request: int, response: int, duration: int) -> tuple[str, int]:
        """Return the record, and the second of its own time: at most a millisecond before `at_ms`."""
        ticks = at_ms * 10_000 - self._rng.randrange(10_000)
        second, tick = divmod(self._start_second * _TICKS_A_SECOND + ticks, _TICKS_A_SECOND)
        request_ticks = _UNIX_EPOCH_TICKS + second * _TICKS_A_SECOND + tick
        values = {
            "guid": guid(self._rng),
            "duration": duration,
            "request_ticks": request_ticks,
            "request": request,
            "response_ticks": request_ticks + duration * 10_000,
            "response": response,
            "second": _second(second),
            "tick": tick,
            "milli": tick // 10_000,
        }
        return template % values, second


def _fact(call: Call, second: int, request: int, response: int) -> Fact:
    caller = call.caller or call.address
    return Fact(call.operation, (call.account.canonical_id,), second, caller, call.status, request, response)


@lru_cache(maxsize=4096)
def _second(unix_second: int) -> str:
    return datetime.fromtimestamp(unix_second, UTC).isoformat()[:19]
