"""Writes records of the made-up day, each with the fact that it leaves for the truth."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from random import Random

from detectors.examples.events import Happening
from local.ground_truth import Fact
from local.samples import GENERATING, SOURCE, Account, Call, Shape, guid, list_key

_TICKS_A_SECOND = 10_000_000
_UNIX_EPOCH_TICKS = 621_355_968_000_000_000  # .NET counts from year 1
_LONGEST_REQUEST = 12_000


@dataclass(frozen=True, slots=True)
class PlannedRecord:
    """One record that was planned: when it happens, in milliseconds since the start of the day, and what it says.

    `alone` asks for a message without neighbours.
    """

    at_ms: int
    text: str
    fact: Fact
    alone: bool = False


def key_listing(account: Account, second: int, caller: str, length: int | None = None) -> Fact:
    """Return the fact that somebody lists an account's keys; most logs tell no length of the answer."""
    fields = {
        "category": "Audit",
        "operation": "ListKey",
        "resource": account.canonical_id,
        "streamed": "no",
        "row": "call" if caller or length else "twin",
        "authentication": "entra" if caller else "key",
        "caller": caller,
        "response_length": length,
    }
    return Fact(SOURCE, second, fields)


class RecordWriter:
    """Writes records for a day that starts at a time, in whole seconds since 1970."""

    def __init__(self, rng: Random, start_second: int) -> None:
        self._rng = rng
        self._start_second = start_second

    def happened(self, one: Happening) -> PlannedRecord:
        """Return a record of an example. Logs of other sources come one by one, as a shipper sends them."""
        fields = dict(one.fields)
        if fields.get("authentication") == "key":
            fields["caller"] = _masked(fields["caller"])
        at_ms = int((one.at.timestamp() - self._start_second) * 1_000)
        fact = Fact(one.source, int(one.at.timestamp()), fields)
        return PlannedRecord(at_ms, json.dumps(one.record), fact, alone=one.source != SOURCE)

    def listing(self, at_ms: int, account: Account, caller: str, length: int | None = None) -> PlannedRecord:
        """Somebody lists an account's keys."""
        second = self._start_second + at_ms // 1_000
        text = list_key(
            self._rng,
            account,
            caller=caller,
            time=f"{_second(second)}.0000000Z",
            length=None if length is None else str(length),
        )
        return PlannedRecord(at_ms, text, key_listing(account, second, caller, length))

    def ordinary(self, shape: Shape, at_ms: int) -> tuple[str, Fact | None]:
        """Return a request as its shape says; None for what no rule could count."""
        rng = self._rng
        duration = 5 + int(rng.expovariate(1 / shape.duration))
        request = min(1 + int(rng.expovariate(1 / shape.request)), _LONGEST_REQUEST)
        response = 40 + int(rng.expovariate(1 / shape.response))
        text, second = self._filled(shape.text, at_ms, request, response, duration)
        if shape.call is None:
            return text, None
        if not shape.has_lengths:  # the object id stands among the properties too, so only the address is left
            return text, Fact(SOURCE, second, _fields(shape.call, "") | {"streamed": "no", "row": "twin"})
        streamed = "yes" if "Streaming" in text and "Non-Streaming" not in text else "no"
        told = {"request_length": request, "response_length": response, "streamed": streamed, "row": "call"}
        return text, Fact(SOURCE, second, _fields(shape.call, shape.call.caller) | told)

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


def _fields(call: Call, object_id: str) -> dict[str, str | int | None]:
    return {
        "category": "RequestResponse",
        "operation": call.operation,
        "activity": "generation" if call.operation in GENERATING else None,
        "resource": call.account.canonical_id,
        "status": call.status,
        "authentication": "entra" if object_id else "key",
        "caller": object_id or _masked(call.address),
    }


def _masked(address: object) -> str:
    """Return a caller of whom only an address is known; a network is the same with one star or three."""
    return f"ip {str(address).rstrip('*')}***" if address else ""


@lru_cache(maxsize=4096)
def _second(unix_second: int) -> str:
    return datetime.fromtimestamp(unix_second, UTC).isoformat()[:19]
