"""KQL on this machine: checked by the Kusto language service, executed on DuckDB, fed by the real pipeline.

What DuckDB cannot know is put in its place: `ingestion_time()` is a column of its own here, and `column_ifexists`
becomes the column, since every table here has all of them.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import duckdb_kql
import msgspec
import yaml

from detectors.errors import PostingError
from detectors.evaluation.baseline import Baseline, MemoryBaseline
from detectors.evaluation.policy import Policy
from detectors.evaluator import Evaluator
from detectors.events import Event
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.finding import Finding, columns
from detectors.reporting.heartbeat import Heartbeat, RunProgress
from detectors.reporting.sinks import JsonRow
from detectors.rules.catalogue import CATALOGUE
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import Handover
from detectors.storage.journal import Journal
from detectors.storage.quarantine import Quarantine
from detectors.storage.tables import MemoryTable
from detectors.windows import bucket_start, time_of
from tests.builders import SOURCE

ROOT = Path(__file__).parents[2]
SENTINEL = ROOT / "infra" / "sentinel"
FINDINGS, HEALTH, RAW = "LlmThreatFindings_CL", "LlmDetectorHealth_CL", "AzureDiagnostics"

RAW_COLUMNS = {
    "TimeGenerated": "datetime",
    "Category": "string",
    "OperationName": "string",
    "ResultSignature": "string",
    "CallerIPAddress": "string",
    "_ResourceId": "string",
}
"""Those of AzureDiagnostics that every workspace has, as far as queries use them."""

FLATTENED_COLUMNS = {
    "properties_s": "string",
    "objectId_g": "string",
    "objectId_s": "string",
    "modelName_s": "string",
    "streamType_s": "string",
    "requestLength_d": "real",
    "responseLength_d": "real",
}
"""Those that come into being with the first record that needs them; queries must do without."""

SCHEMA = {FINDINGS: columns(Finding), HEALTH: columns(Heartbeat), RAW: RAW_COLUMNS}

_DUCKDB_TYPES = {
    "datetime": "TIMESTAMPTZ",
    "string": "VARCHAR",
    "long": "BIGINT",
    "real": "DOUBLE",
    "boolean": "BOOLEAN",
    "dynamic": "JSON",
}
_IF_EXISTS = re.compile(r'column_ifexists\("(\w+)", (?:""|real\(null\))\)')

Row = dict[str, Any]


class Analysis(msgspec.Struct):
    """What the language service says of a query: problems with their places, and the result's columns with types."""

    problems: list[str]
    columns: dict[str, str]


def analyse(queries: Mapping[str, str], tables: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, Analysis]:
    """Hold queries, by name, against the language service. One start of Node for all of them."""
    work = json.dumps({"tables": tables or SCHEMA, "queries": queries})
    checker = Path(__file__).with_name("kql-check.js")
    done = subprocess.run(["node", checker], input=work, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return msgspec.json.decode(done.stdout, type=dict[str, Analysis])


@cache
def template(name: str) -> Row:
    """Return a YAML file under infra/sentinel, by its path there."""
    loaded: Row = yaml.safe_load((SENTINEL / name).read_text())
    return loaded


def span(text: str) -> timedelta:
    """Return the duration that a template writes as `5m`, `47h` or `1d`."""
    return timedelta(**{{"m": "minutes", "h": "hours", "d": "days"}[text[-1]]: int(text[:-1])})


class Workspace:
    """A Log Analytics workspace in memory: rows with the time at which each was ingested."""

    def __init__(self) -> None:
        sys.audit("tests.real_part", "DuckDB")
        self._connection = duckdb_kql.connect()
        self._connection.execute(
            "SET TimeZone = 'UTC'; SET threads = 1; PRAGMA disable_optimizer"
        )  # little data: threads cost more than they bring
        self._connection.execute("CREATE TABLE scope (since TIMESTAMPTZ, until TIMESTAMPTZ, ingested TIMESTAMPTZ)")
        self._connection.execute("INSERT INTO scope VALUES (now(), now(), now())")
        self._waiting: dict[str, list[str]] = {table: [] for table in SCHEMA}
        self._asked: dict[str, int] = {}
        self._prepared = set[str]()
        for table, schema in SCHEMA.items():
            extra = {"IngestionTime": "datetime"} | (FLATTENED_COLUMNS if table == RAW else {})
            definition = ", ".join(f'"{name}" {_DUCKDB_TYPES[kind]}' for name, kind in (schema | extra).items())
            self._connection.execute(f"CREATE TABLE stored_{table} ({definition})")
            self._connection.execute(
                f"CREATE VIEW {table} AS SELECT stored_{table}.* FROM stored_{table}, scope "  # noqa: S608 - names of its own
                "WHERE TimeGenerated > since AND TimeGenerated <= until AND IngestionTime <= ingested"
            )

    def add(self, table: str, rows: Iterable[Mapping[str, Any]], ingested: datetime | None = None) -> None:
        """Take in rows of JSON values; their IngestionTime is that of the row, or the one given for all."""
        given = {} if ingested is None else {"IngestionTime": ingested.isoformat()}
        self._waiting[table] += [json.dumps({**row, **given}) for row in rows]

    def _store(self, table: str) -> None:
        """Hand the rows that came since the last query to DuckDB, which reads JSON fastest from a file."""
        columns_of = self._connection.execute(f"DESCRIBE stored_{table}").fetchall()
        schema = ", ".join(f"'{name}': '{kind}'" for name, kind, *_ in columns_of)
        with TemporaryDirectory() as folder:
            path = Path(folder, "rows.ndjson")
            path.write_text("\n".join(self._waiting[table]))
            self._connection.execute(
                f"INSERT INTO stored_{table} "  # noqa: S608 - names of this module's own tables
                f"SELECT * FROM read_json('{path}', format='newline_delimited', columns={{{schema}}})"
            )
        self._waiting[table].clear()

    def query(self, text: str, now: datetime, *, period: timedelta | None = None) -> list[Row]:
        """Run a query.

        Args:
            text: KQL.
            now: what `now()` says, and the end of what the query sees.
            period: only rows whose TimeGenerated lies this far back at most, as a scheduled rule has.
        """
        for table, rows in self._waiting.items():
            if rows:
                self._store(table)
        since = datetime(2000, 1, 1, tzinfo=UTC) if period is None else now - period
        self._connection.execute(
            "UPDATE scope SET since = ?, until = ?, ingested = ?", [since, now, now + SENTINEL_DELAY]
        )
        found = self._execute(*_translate(text), now.replace(tzinfo=None))
        names = [str(name) for name, *_ in found.description or ()]
        return [dict(zip(names, map(_aware, values), strict=True)) for values in found.fetchall()]

    def _execute(self, sql: str, slots: Sequence[str], now: datetime) -> duckdb.DuckDBPyConnection:
        """Execute what was translated; prepared from the second time on, which takes two thirds of the time."""
        if sql not in self._asked:
            self._asked[sql] = len(self._asked)
            return self._connection.execute(sql, dict.fromkeys(slots, now))
        name = f"asked_{self._asked[sql]}"
        if name not in self._prepared:
            self._prepared.add(name)
            self._connection.execute(f"PREPARE {name} AS {sql}")
        given = ", ".join(f"{slot} := TIMESTAMP '{now}'" for slot in slots)
        return self._connection.execute(f"EXECUTE {name}({given})" if given else f"EXECUTE {name}")


@cache
def _translate(text: str) -> tuple[str, tuple[str, ...]]:
    """Return SQL for a query, and the names under which it wants to know the time."""
    executable = _IF_EXISTS.sub(r"\1", text).replace("ingestion_time()", "IngestionTime")
    sql = duckdb_kql.to_sql(executable, schema=_STORED, query_now=datetime(2000, 1, 1, tzinfo=UTC))
    return str(sql), tuple(sql.parameters)


_STORED = {
    table: [*schema, *(FLATTENED_COLUMNS if table == RAW else ()), "IngestionTime"] for table, schema in SCHEMA.items()
}

WORDING = "// What the alert says."
"""What follows this line in a rule's query only adds columns."""

SENTINEL_DELAY = timedelta(minutes=5)
"""A scheduled rule runs this long after the end of what it looks at, which is what `now()` says in its query."""


def _aware(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


@dataclass(frozen=True)
class ScheduledRule:
    """An analytic rule as Sentinel runs it."""

    query: str
    frequency: timedelta
    period: timedelta

    @classmethod
    def load(cls, name: str) -> "ScheduledRule":
        """Return the rule of a template."""
        loaded = template(f"analytic-rules/{name}")
        return cls(loaded["query"], span(loaded["queryFrequency"]), span(loaded["queryPeriod"]))

    def runs(
        self,
        workspace: Workspace,
        first: datetime,
        last: datetime,
        *,
        worded: bool = False,
    ) -> list[tuple[datetime, Row]]:
        """Return the alerts of every run from `first` to `last`, each with the time up to which that run looked.

        Args:
            workspace: where.
            first: the end of the first run's scope.
            last: no run ends later.
            worded: with the columns that make the alert's text, which cost most of the time.
        """
        alerts = []
        query = self.query if worded else self.query.split(WORDING)[0]
        while first <= last:
            rows = workspace.query(query, first, period=self.period)
            alerts += [(first, row) for row in rows]
            first += self.frequency
        return alerts


@dataclass
class Posting:
    """A sink that posts into a workspace.

    Attributes:
        workspace: where rows go.
        delay: from TimeGenerated to ingestion.
        fails: how many of the next posts raise after their rows were taken.
        sent: what was posted, with its table, in order.
    """

    workspace: Workspace
    delay: timedelta = timedelta(seconds=90)
    fails: int = 0
    sent: list[tuple[str, JsonRow]] = field(default_factory=list)

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """See `Sink.post`."""
        self.sent += [(stream, row) for row in rows]
        if rows:
            self.workspace.add(stream, rows, datetime.fromisoformat(rows[0]["TimeGenerated"]) + self.delay)
        if rows and self.fails:
            self.fails -= 1
            raise PostingError("the answer was lost")

    def rows(self, stream: str) -> list[JsonRow]:
        """Return what was posted to a table, in order."""
        return [row for name, row in self.sent if name == stream]


class Deployment:
    """The real pipeline over tables in memory, posting into a workspace."""

    def __init__(self, workspace: Workspace, policy: Policy | None = None, baseline: Baseline | None = None) -> None:
        self.posting = Posting(workspace)
        store, quarantine = BucketStore(MemoryTable()), Quarantine(MemoryTable(), excerpt_characters=100)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.ingest = Ingest(store, quarantine, BatchCounter(CATALOGUE), lambda: self.now)
        self.evaluator = Evaluator(
            store=store,
            journal=Journal(MemoryTable()),
            handover=Handover(MemoryTable()),
            quarantine=quarantine,
            sink=self.posting,
            baseline=baseline or MemoryBaseline(),
            policy=policy or Policy(),
            streams=(FINDINGS, HEALTH),
            retention=timedelta(hours=25),
        )
        self._sequence = 0

    def receive(self, arrived: datetime, body: bytes, partition: int = 0) -> None:
        """Count a message that arrived at a time."""
        self._sequence += 1
        self.now = max(self.now, arrived)
        self.ingest(SOURCE._replace(partition=str(partition)), [Event(self._sequence, arrived, body)])

    def tick(self, now: datetime) -> int:
        """Evaluate all that is due, a second for each window; how many windows that were."""
        self.now = now
        after, caught_up, windows = None, 0, 0
        while plan := self.evaluator.plan(bucket_start(now), after):
            shards = [self.evaluator.evaluate_shard(plan, shard) for shard in range(plan.shards)]
            course = RunProgress(caught_up, plan.windows_skipped, reevaluated=plan.etag is not None)
            self.evaluator.conclude(plan, shards, course, now + windows * timedelta(seconds=1))
            after = time_of(plan.window_end)
            caught_up += plan.etag is None
            windows += 1
        return windows
