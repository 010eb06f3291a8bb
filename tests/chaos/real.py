"""The same stories on real parts: hosts are processes that get SIGKILL, storage is Azurite behind proxies.

A run of the evaluation goes to its end on the host whose timer fired, or ends with the host. Between its requests the
other host may go on with the story.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

from detectors.detector import BASELINE_TABLE, BUCKETS_TABLE, JOURNAL_TABLE, QUARANTINE_TABLE
from detectors.errors import StorageError
from detectors.events import Event, Source
from detectors.reporting.finding import Finding, columns
from detectors.reporting.heartbeat import Heartbeat
from detectors.storage.azure_tables import open_table
from detectors.storage.connection import StorageConnection
from detectors.storage.tables import Table
from local.azurite import Azurite
from local.faults import FaultyStorage
from local.host import ROOT, sample_settings
from local.loopback import Answer, Incoming
from local.monitor import Monitor
from tests.chaos.cluster import AT_LEAST, CHATS, LISTINGS, Cluster
from tests.chaos.runs import Run
from tests.chaos.story import Step, Story
from tests.chaos.weather import KilledError, Weather

_SETTINGS = {
    f"{LISTINGS.upper()}__COUNT": str(AT_LEAST),
    f"{LISTINGS.upper()}__RESPONSE_LENGTH": str(10**9),
    f"{CHATS.upper()}__COUNT": str(AT_LEAST),
    f"{CHATS.upper()}__REQUEST_LENGTH": "1",
}


TRIES = timedelta(minutes=6)
"""The tries of a step take less."""


REFUSALS = (503, 500, 429)


class StormyStorage(FaultyStorage):
    """A proxy in the weather, between one host and Azurite."""

    def __init__(self, azurite: Azurite, weather: Weather, host: "RealHost") -> None:
        super().__init__(azurite)
        self._weather, self._host = weather, host

    def _answer(self, request: Incoming) -> Answer | None:
        try:
            return self._weather.carry_out(lambda: super(StormyStorage, self)._answer(request), StorageError)
        except KilledError:
            self._host.kill()
            return None
        except StorageError as error:
            status = REFUSALS[self._weather.requests % len(REFUSALS)]
            return None if "lost" in str(error) else Answer(status, {"Content-Type": "application/json"}, b"{}")


class AbsentMonitor(Monitor):
    """An ingestion endpoint that may be away."""

    is_away = False

    def _ingest(self, request: Incoming) -> Answer | None:
        return Answer(503) if self.is_away else super()._ingest(request)


class RealHost:
    """A host in a process of its own. It starts when it is needed."""

    def __init__(self, settings: Mapping[str, str], told: Story) -> None:
        self.settings = dict(settings)
        self._told = told
        self._process: subprocess.Popen[str] | None = None
        self._is_asked = False

    def ask(self, order: dict[str, Any], now: datetime) -> tuple[str | None, datetime]:
        """Have an order carried out; return what went wrong, and when it was done.

        Raises:
            KilledError: the host was killed in it.
        """
        process = self._process or self._start(now)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({**order, "now": now.isoformat()}) + "\n")
        process.stdin.flush()
        self._is_asked = True  # whoever kills it meanwhile must not close what is read here
        answer = process.stdout.readline()
        self._is_asked = False
        if answer:
            wrong, done = json.loads(answer)
            return wrong, datetime.fromisoformat(done)
        process.stdout.close()
        if self._process is not None:
            raise RuntimeError(f"the host ended by itself, with {process.wait()}")
        raise KilledError

    def kill(self) -> None:
        """End it at once: no code of it runs any more."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
            if process.stdout and not self._is_asked:
                process.stdout.close()

    def _start(self, now: datetime) -> "subprocess.Popen[str]":
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.host"],
            cwd=ROOT,
            env=os.environ | self.settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"slice_bytes": self._told.slice_bytes, "now": now.isoformat()}) + "\n")
        return process


class RealCluster(Cluster):
    """Two hosts, Azurite, the endpoint and the hub."""

    def __init__(self, told: Story) -> None:
        self._parts = ExitStack()
        self._azurite = self._parts.enter_context(Azurite())
        sample = sample_settings()
        self._streams = (sample["LOGS_INGESTION_STREAM"], sample["LOGS_INGESTION_HEALTH_STREAM"])
        schemas = dict(zip(self._streams, (columns(Finding), columns(Heartbeat)), strict=True))
        self._monitor = self._parts.enter_context(AbsentMonitor(schemas))
        self._hosts: list[RealHost] = []
        super().__init__(told)
        for _ in range(2):
            host = RealHost({**_SETTINGS, **self._monitor.environment()}, told)
            storage = self._parts.enter_context(StormyStorage(self._azurite, self.weather, host))
            host.settings["AzureWebJobsStorage"] = storage.connection_string
            self._parts.callback(host.kill)
            self._hosts.append(host)

    def close(self) -> None:
        """End hosts, storage and endpoint."""
        self._parts.close()

    def settle(self) -> None:
        """See `Cluster.settle`. What was posted is put together as posts in memory are."""
        super().settle()
        findings, beats = (self._monitor.rows[stream] for stream in self._streams)
        self.rows = [*(("findings", row) for row in findings), *(("health", row) for row in beats)]

    def _open_tables(self) -> dict[str, Table]:
        connection = StorageConnection(connection_string=self._azurite.connection_string)
        names = {"buckets": BUCKETS_TABLE, "journal": JOURNAL_TABLE}
        names |= {"baseline": BASELINE_TABLE, "quarantine": QUARANTINE_TABLE}
        return {name: open_table(connection, table) for name, table in names.items()}

    def _count(self, host: int, source: Source, events: Sequence[Event]) -> None:
        told = [(one.sequence, one.enqueued.isoformat(), base64.b64encode(one.body).decode()) for one in events]
        if wrong := self._ask(host, {"partition": int(source.partition), "events": told}, self.now):
            raise StorageError(wrong)

    def _leave(self, *, is_away: bool) -> None:
        self._monitor.is_away = is_away

    def _ask(self, host: int, order: dict[str, Any], now: datetime) -> str | None:
        """Give an order. Steps that are tried again take their time, also in a host that was killed meanwhile."""
        try:
            wrong, done = self._hosts[host].ask(order, now)
        except KilledError:
            self.now += TRIES
            raise
        self.now = max(self.now, done)
        return wrong

    def _tick(self, clock: datetime) -> None:
        assert self._host is not None
        self._ask(self._host, {}, clock)

    def _go(self, _: Step) -> None:
        self._tick(self.now)

    def _finish(self, _: Run) -> None:
        self._ask(0, {}, self.now)

    def _restart(self, host: int) -> None:
        if self._hosts:
            self._hosts[host].kill()
        super()._restart(host)
