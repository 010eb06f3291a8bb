"""The functions as deployed: Microsoft's worker library, real clients, Azurite, and an endpoint over TLS."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from azure.data.tables import TableServiceClient

from detectors.detector import BASELINE_TABLE, BUCKETS_TABLE, JOURNAL_TABLE, QUARANTINE_TABLE
from detectors.evaluation.baseline import Sighting
from detectors.events import Event
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.finding import Finding, columns
from detectors.reporting.heartbeat import Heartbeat
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.storage.azure_tables import open_table
from detectors.storage.baseline_table import TableBaseline
from detectors.storage.buckets import BucketStore
from detectors.storage.connection import StorageConnection
from detectors.storage.slices import SLICES
from local.azurite import Azurite
from local.durable import Status
from local.faults import WRITES, CallBefore, FaultyStorage, LoseResponse, Refuse
from local.host import ROOT, LocalHost, OrchestrationError
from local.loopback import Answer
from local.monitor import Monitor, Scripted
from local.worker import FunctionError, WorkerStartError
from tests.builders import NAMESPACE, PIPELINE, SOURCE, START, canonical_id, chat, event, list_key, resource_id

pytestmark = pytest.mark.real

MODEL_THEFT = BY_ID["model_theft"]

FINDINGS, HEALTH = "Custom-LlmThreatFindings_CL", "Custom-LlmDetectorHealth_CL"
TICK = timedelta(seconds=45)


@dataclass
class Cloud:
    """Storage and endpoint that one test has to itself."""

    connection_string: str
    monitor: Monitor

    @contextmanager
    def host(self, settings: Mapping[str, str] | None = None, *, shuffle: Random | None = None) -> Iterator[LocalHost]:
        """One life of the functions, with settings over those of the sample."""
        environment = {"AzureWebJobsStorage": self.connection_string, **self.monitor.environment(), **(settings or {})}
        with LocalHost(environment, START, shuffle) as host:
            yield host

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The newest row of each finding, by window."""
        newest: dict[object, dict[str, Any]] = {row["FindingId"]: row for row in self.monitor.rows[FINDINGS]}
        return sorted(newest.values(), key=lambda row: row["WindowEnd"])

    @property
    def heartbeats(self) -> list[dict[str, Any]]:
        return list(self.monitor.rows[HEALTH])

    def counted(self, bucket: datetime = START) -> dict[str, int]:
        """ListKey counts by resource in a bucket, as stored."""
        table = open_table(StorageConnection(connection_string=self.connection_string), BUCKETS_TABLE)
        counts: dict[str, int] = {}
        for _, key, tally in BucketStore(table).read(bucket, range(SLICES)):
            if key.rule_id == MODEL_THEFT.id:
                counts[key.group[0]] = counts.get(key.group[0], 0) + tally.count
        return counts


@pytest.fixture(scope="module")
def monitor() -> Iterator[Monitor]:
    """Provide the ingestion endpoint, which refuses rows that do not fit the schema."""
    with Monitor({FINDINGS: columns(Finding), HEALTH: columns(Heartbeat)}) as running:
        yield running


@pytest.fixture
def cloud(azurite: Azurite, monitor: Monitor) -> Iterator[Cloud]:
    """Empty tables and an endpoint that has seen nothing."""
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        for name in (BUCKETS_TABLE, JOURNAL_TABLE, QUARANTINE_TABLE, BASELINE_TABLE):
            tables.delete_table(name)
    for rows in monitor.rows.values():
        rows.clear()
    monitor.requests.clear()
    yield Cloud(azurite.connection_string, monitor)
    assert monitor.pending == 0


def _statuses(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["Status"] for finding in findings]


def _at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def test_a_batch_goes_in_and_a_finding_comes_out(cloud: Cloud) -> None:
    """The whole path: every column of the finding, under the schema that the endpoint enforces."""
    records = [list_key(caller="eve")] * 60 + [chat()] * 200 + [list_key(caller="pipeline")] * 40
    with cloud.host() as host:
        host.now = _at(3)
        host.ingest(2, [event(7, *records[:150], after=timedelta(minutes=2)), event(8, *records[150:])])
        host.tick(_at(10) + TICK)
    (finding,) = cloud.findings
    assert finding == {
        "TimeGenerated": "2026-11-23T08:10:45Z",
        "FindingId": "540f0944-dd6c-58b5-9fd4-6fd6299339ef",
        "EpisodeId": finding["EpisodeId"],
        "Status": "New",
        "RuleId": "model_theft",
        "RuleName": "Potential Azure OpenAI Model Theft",
        "RuleVersion": 1,
        "Severity": "Medium",
        "RiskScore": 47,
        "WindowStart": "2026-11-23T07:10:00Z",
        "WindowEnd": "2026-11-23T08:10:00Z",
        "SubscriptionId": "5b0c1f2e-3a4d-4e5f-8a6b-7c8d9e0f1a2b",
        "ResourceGroup": "rg-ai",
        "ResourceName": "aoai-prod",
        "ResourceId": canonical_id(),
        "Group": {"ResourceId": canonical_id()},
        "EventCount": 100,
        "MaxResponseLength": None,
        "TotalResponseLength": None,
        "AvgRequestLength": None,
        "Triggers": [{"Name": "count", "Measure": "count", "Value": 100, "Threshold": 100}],
        "Suppression": None,
        "FirstEventTime": "2026-11-23T07:59:58.123456Z",
        "LastEventTime": "2026-11-23T07:59:58.123456Z",
        "Callers": [
            {"ObjectId": "eve", "IpAddress": "", "Count": 60},
            {"ObjectId": "pipeline", "IpAddress": "", "Count": 40},
        ],
        "CallersTruncated": False,
        "Members": [],
        "BucketCounts": [0, 0, 0, 0, 0, 100],
        "Evidence": [
            {"Namespace": NAMESPACE, "Hub": "llm-logs", "Partition": "2", "FirstSequence": 7, "LastSequence": 8}
        ],
        "Techniques": ["AML.T0044", "LLM10"],
        "DetectorVersion": "0.1.0",
    }
    (beat,) = cloud.heartbeats
    assert (beat["Messages"], beat["Records"]) == (2, 300)
    assert beat["SelectedByRule"] == [
        {"RuleId": "denial_of_service", "Records": 200, "WithLength": 200},
        {"RuleId": "first_key_listing", "Records": 100, "WithLength": 0},
        {"RuleId": "first_key_use", "Records": 200, "WithLength": 200},
        {"RuleId": "key_sweep", "Records": 100, "WithLength": 0},
        {"RuleId": "large_transfer", "Records": 200, "WithLength": 200},
        {"RuleId": "model_theft", "Records": 100, "WithLength": 0},
        {"RuleId": "new_key_lister", "Records": 100, "WithLength": 0},
    ]
    assert beat["Partitions"] == [
        {
            "Namespace": NAMESPACE,
            "Hub": "llm-logs",
            "Partition": "2",
            "LastSequence": 8,
            "LastArrival": "2026-11-23T08:02:00Z",
            "LagSeconds": 180.0,
        }
    ]


def test_every_rule_of_azure_openai_fires_once_for_what_is_delivered_twice(cloud: Cloud) -> None:
    """One hour with everything: counted by each rule that selects it, posted, closed when it has left the window."""
    watched = Sighting("new_key_lister", (canonical_id(), PIPELINE), START - timedelta(days=20))
    table = open_table(StorageConnection(connection_string=cloud.connection_string), BASELINE_TABLE)
    TableBaseline(table).find_newcomers([watched], START - timedelta(days=20))
    events = [
        event(1, *[chat(requestLength=9_000)] * 12, *[list_key()] * 100),
        event(2, *[chat(responseLength=0)] * 10, list_key(caller="eve")),
        event(3, {**chat(responseLength=2_000_000), "operationName": "Embeddings_Create"}, after=timedelta(minutes=5)),
    ]
    with cloud.host() as host:
        host.ingest(0, events[:2])
        host.ingest(0, events)
        host.tick(_at(10) + TICK)
        found = {finding["RuleId"]: finding for finding in cloud.findings}
        host.tick(_at(70) + TICK)
    assert {
        rule_id: (row["Status"], row["EventCount"], [trigger["Name"] for trigger in row["Triggers"]])
        for rule_id, row in found.items()
    } == {
        "model_theft": ("New", 101, ["count"]),
        "denial_of_service": ("New", 22, ["count", "request_length"]),
        "insecure_output": ("New", 10, ["count"]),
        "large_transfer": ("New", 23, ["response_length"]),
        "new_key_lister": ("New", 1, ["count", "learning_days"]),
    }
    assert found["denial_of_service"]["Group"]["Minute"] == "2026-11-23T07:59Z"
    assert found["new_key_lister"]["Group"]["Caller"] == "eve"
    assert sorted(row["RuleId"] for row in cloud.findings if row["Status"] == "Closed") == sorted(found)
    assert len({row["EpisodeId"] for row in cloud.findings}) == 5


@pytest.mark.parametrize(
    ("count", "length", "fires"),
    [(99, 999_999, False), (100, 0, True), (1, 1_000_000, True)],
)
def test_thresholds_hold_to_the_last_one(cloud: Cloud, count: int, length: int, *, fires: bool) -> None:
    """99 and 999,999 are silent, 100 and 1,000,000 are not."""
    with cloud.host() as host:
        host.ingest(0, [event(1, *[list_key(responseLength=length)] * count)])
        host.tick(_at(10) + TICK)
    assert bool(cloud.findings) is fires
    assert len(cloud.heartbeats) == 1


def test_thresholds_come_from_the_settings(cloud: Cloud) -> None:
    """A SOC tunes without a new version of the code."""
    with cloud.host({"MODEL_THEFT__COUNT": "3"}) as host:
        host.ingest(0, [event(1, *[list_key()] * 3)])
        host.tick(_at(10) + TICK)
    assert cloud.findings[0]["Triggers"] == [{"Name": "count", "Measure": "count", "Value": 3, "Threshold": 3}]


def test_windows_are_exact_to_the_microsecond(cloud: Cloud) -> None:
    """What arrived a microsecond before the hour, or at its end, is outside."""
    microsecond = timedelta(microseconds=1)
    with cloud.host() as host:
        host.ingest(
            0,
            [
                event(1, *[list_key("before")] * 100, after=-microsecond),
                event(2, *[list_key("inside")] * 50),
                event(3, *[list_key("inside")] * 50, after=timedelta(hours=1) - microsecond),
                event(4, *[list_key("behind")] * 100, after=timedelta(hours=1)),
            ],
        )
        host.tick(_at(60) + TICK)
    last = [row for row in cloud.findings if row["WindowEnd"] == "2026-11-23T09:00:00Z"]
    assert {row["ResourceName"]: (row["Status"], row["EventCount"]) for row in last} == {
        "inside": ("New", 100),
        "before": ("Closed", 0),
    }


def test_upper_lower_and_mixed_case_ids_are_one_resource(cloud: Cloud) -> None:
    """Services do not agree on the spelling of an id."""
    ids = [resource_id(upper=True), resource_id(upper=False), resource_id().lower()]
    with cloud.host() as host:
        host.ingest(0, [event(1, *[{**list_key(), "resourceId": spelt} for spelt in ids] * 34)])
    assert cloud.counted() == {canonical_id(): 102}


def test_an_hour_of_missed_timers_is_caught_up(cloud: Cloud) -> None:
    """Each window gets its evaluation, in order, and the last heartbeat says how many there were."""
    with cloud.host() as host:
        host.tick(_at(0) + TICK)
        host.ingest(0, [event(1, *[list_key()] * 120, after=timedelta(minutes=5))])
        host.tick(_at(70) + TICK)
    assert [beat["WindowEnd"][11:16] for beat in cloud.heartbeats] == [
        "08:00", "08:10", "08:20", "08:30", "08:40", "08:50", "09:00", "09:10",
    ]  # fmt: skip
    assert cloud.heartbeats[-1]["WindowsCaughtUp"] == 6
    assert _statuses(cloud.findings) == ["New"] + ["Ongoing"] * 5 + ["Closed"]
    assert len({finding["EpisodeId"] for finding in cloud.findings}) == 1


def test_a_late_batch_is_not_taken_for_missed_timers(cloud: Cloud) -> None:
    """Its windows are evaluated again, and nobody was behind."""
    with cloud.host() as host:
        for minutes in (0, 10, 20):
            host.tick(_at(minutes) + TICK)
        host.ingest(0, [event(1, list_key(), after=timedelta(minutes=5))])
        host.tick(_at(30) + TICK)
    assert [
        (beat["WindowEnd"][11:16], beat["Reevaluated"], beat["WindowsCaughtUp"]) for beat in cloud.heartbeats[3:]
    ] == [
        ("08:10", True, 0),
        ("08:20", True, 0),
        ("08:30", False, 0),
    ]


KILLED = """
import os, sys
from tests.builders import NAMESPACE, PIPELINE, SOURCE, START, event, list_key
from local.host import LocalHost
with LocalHost({"AzureWebJobsStorage": sys.argv[1]}, START) as host:
    host.ingest(0, [event(number, list_key(), list_key()) for number in range(1, 51)])
    os._exit(9)
"""


def test_a_process_killed_between_write_and_checkpoint_counts_once(cloud: Cloud) -> None:
    """The next host gets the same events again, cut differently."""
    killed = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", KILLED, cloud.connection_string], cwd=ROOT, check=False, timeout=60
    )
    assert killed.returncode == 9
    assert cloud.counted() == {canonical_id(): 100}
    with cloud.host() as host:
        host.ingest(0, [event(number, list_key(), list_key()) for number in range(1, 31)])
        host.ingest(0, [event(number, list_key(), list_key()) for number in range(31, 61)])
    assert cloud.counted() == {canonical_id(): 120}


@pytest.fixture
def faulty(cloud: Cloud, azurite: Azurite) -> Iterator[FaultyStorage]:
    """Storage that fails when told, in the place of the cloud's own."""
    with FaultyStorage(azurite) as proxy:
        cloud.connection_string = proxy.connection_string
        yield proxy
        assert proxy.pending == 0
        cloud.connection_string = azurite.connection_string


def test_the_steady_state_is_one_write_and_no_read(cloud: Cloud, faulty: FaultyStorage) -> None:
    """Counted on the wire, with quick retries and everything else that a client may do."""
    with cloud.host() as host:
        host.ingest(0, [event(1, list_key())])
        faulty.clear()
        for number in range(2, 12):
            host.ingest(0, [event(number, list_key(), chat())])
        assert (faulty.writes, faulty.reads) == (10, 0)


def test_storage_that_is_busy_is_tried_again(cloud: Cloud, faulty: FaultyStorage) -> None:
    """A 503 passes unnoticed; one that stays fails the function, and the batch comes again."""
    with cloud.host() as host:
        host.ingest(0, [event(1, list_key())])
        faulty.script(Refuse(503, WRITES))
        assert host.ingest(0, [event(2, list_key())]) == 1
        faulty.script(*[Refuse(503, WRITES)] * 4)
        with pytest.raises(FunctionError, match="StorageError"):
            host.invoke_ingest(0, [event(3, list_key())])
        host.ingest(0, [event(3, list_key())])
    assert cloud.counted() == {canonical_id(): 3}


def test_an_empty_batch_is_taken(cloud: Cloud) -> None:
    """There is nothing to count, and a failure would bring it again without end."""
    with cloud.host() as host:
        host.invoke_ingest(0, [])
        host.invoke_ingest(0, [event(1, list_key())])
    assert cloud.counted() == {canonical_id(): 1}


def test_a_lost_response_of_an_applied_write_counts_once(cloud: Cloud, faulty: FaultyStorage) -> None:
    """Nobody knows whether it was applied, so the retry has to find out."""
    with cloud.host() as host:
        host.ingest(0, [event(1, list_key())])
        faulty.script(LoseResponse(WRITES))
        host.ingest(0, [event(1, list_key()), event(2, list_key())])
        faulty.script(LoseResponse(WRITES))
        host.ingest(0, [event(3, list_key(), after=timedelta(minutes=10))])
    assert cloud.counted() == {canonical_id(): 2}
    assert cloud.counted(_at(10)) == {canonical_id(): 1}


def test_another_owner_between_read_and_write_is_noticed(cloud: Cloud, faulty: FaultyStorage, azurite: Azurite) -> None:
    """A rebalance: the new owner writes while the old one is about to; the 412 is real."""
    other = BucketStore(open_table(StorageConnection(connection_string=azurite.connection_string), BUCKETS_TABLE))
    with cloud.host() as host:
        host.ingest(0, [event(1, list_key())])

        def steal() -> None:
            events = [event(2, list_key()), event(3, list_key())]
            segment = other.reload(SOURCE, START)
            other.add(segment, BatchCounter(CATALOGUE).count(events, START), events)

        faulty.script(CallBefore(steal, WRITES))
        host.ingest(0, [event(2, list_key()), event(3, list_key()), event(4, list_key())])
        assert 412 in [call.status for call in faulty.requests]
    assert cloud.counted() == {canonical_id(): 4}


def test_a_poison_message_costs_only_itself(cloud: Cloud) -> None:
    """Garbage among good ones: counted, quarantined with its place, and the partition goes on."""
    poison = [Event(2, START, b"\x00\xff not json"), Event(3, START, b"[" * 100_000), Event(4, START, b"")]
    wrapped = event(5, {"message": "{broken off"}, {"message": "{broken off"}, list_key())
    with cloud.host() as host:
        host.invoke_ingest(1, [event(1, list_key()), *poison, wrapped, event(6, list_key())])
        host.tick(_at(10) + TICK)
    assert cloud.counted() == {canonical_id(): 3}
    (beat,) = cloud.heartbeats
    assert beat["QuarantinedByReason"] == [{"Reason": "not_json", "Records": 5}]
    table = open_table(StorageConnection(connection_string=cloud.connection_string), QUARANTINE_TABLE)
    rows = [(row.values["Partition"], row.values["Sequence"], row.values["Index"]) for row in table.query("0", "3")]
    assert rows == [("1", 2, 0), ("1", 3, 0), ("1", 4, 0), ("1", 5, 0), ("1", 5, 0)]


def test_an_endpoint_that_is_busy_or_finds_a_body_too_large_gets_every_row(cloud: Cloud) -> None:
    """A 429 is tried again, a 413 is cut in halves, a lost answer is posted again under the same ids."""
    names = [f"aoai-{number}" for number in range(8)]
    with cloud.host() as host:
        host.ingest(0, [event(1, *[list_key(name, caller=name) for name in names for _ in range(100)])])
        cloud.monitor.script(Answer(429, {"Retry-After": "600"}), Answer(413), Scripted.LOST)
        host.tick(_at(10) + TICK)
    assert sorted(finding["ResourceName"] for finding in cloud.findings) == names
    assert len(cloud.heartbeats) == 1


def test_an_outage_of_the_endpoint_delays_findings_and_loses_none(cloud: Cloud) -> None:
    """The run gives up, the window stays due, and the next tick posts it with the right ids."""
    with cloud.host() as host:
        host.ingest(0, [event(1, *[list_key()] * 100)])
        cloud.monitor.script(*[Answer(403)] * 20)
        with pytest.raises(OrchestrationError, match="Monitoring Metrics Publisher"):
            host.tick(_at(10) + TICK)
        assert cloud.findings == []
        host.tick(_at(20) + TICK)
    assert [(row["WindowEnd"][11:16], row["Status"]) for row in cloud.findings] == [
        ("08:10", "New"),
        ("08:20", "Ongoing"),
    ]


def test_a_short_outage_is_outlived_within_the_run(cloud: Cloud) -> None:
    """Retries of the orchestration wait in storage, not in a process."""
    with cloud.host() as host:
        host.ingest(0, [event(1, *[list_key()] * 100)])
        cloud.monitor.script(*[Answer(403)] * 5)
        host.tick(_at(10) + TICK)
        assert host.now >= _at(10) + TICK + 5 * timedelta(seconds=15)
    assert _statuses(cloud.findings) == ["New"]


def test_the_same_tick_twice_is_harmless(cloud: Cloud) -> None:
    """While the run waits, and after it has ended."""
    with cloud.host() as host:
        host.ingest(0, [event(1, *[list_key()] * 100)])
        host.now = _at(10) + TICK
        host.fire_timer()
        host.fire_timer()
        host.run_orchestrations()
        host.tick(_at(11))
        assert len(host.instances) == 1
    assert len(cloud.monitor.rows[FINDINGS]) == len(cloud.heartbeats) == 1


@pytest.mark.parametrize("seed", range(4))
def test_overlapping_runs_evaluate_every_window_in_order(cloud: Cloud, seed: int) -> None:
    """Two ticks at once, their steps interleaved at random: readers see one episode, as if there had been one."""
    with cloud.host(shuffle=Random(seed)) as host:
        host.tick(_at(0) + TICK)
        host.ingest(0, [event(1, *[list_key()] * 120, after=timedelta(minutes=5))])
        host.now = _at(60) + TICK
        host.fire_timer()
        host.now = _at(70) + TICK
        host.fire_timer()
        assert {result.status for result in host.run_orchestrations()} == {Status.COMPLETED}
    assert [(row["WindowEnd"][11:16], row["Status"]) for row in cloud.findings] == [
        ("08:10", "New"),
        *[(window, "Ongoing") for window in ("08:20", "08:30", "08:40", "08:50", "09:00")],
        ("09:10", "Closed"),
    ]
    assert len({row["EpisodeId"] for row in cloud.findings}) == 1
    assert max(beat["WindowEnd"] for beat in cloud.heartbeats) == "2026-11-23T09:10:00Z"


def test_the_history_of_old_runs_is_purged(cloud: Cloud) -> None:
    """The task hub does not grow for ever; what has not ended is kept."""
    with cloud.host() as host:
        host.tick(_at(10) + TICK)
        host.now = _at(20) + TICK
        host.fire_timer()
        host.now = _at(20) + timedelta(days=8)
        host.fire_timer()
        assert list(host.instances) == ["evaluate-20261123T0820Z", "evaluate-20261201T0820Z"]


def test_without_an_endpoint_findings_are_lines_of_the_log(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    """A local run shows what it would post, and says at start that it posts nothing."""
    caplog.set_level(logging.INFO, "detectors")
    with LocalHost({"AzureWebJobsStorage": cloud.connection_string}, START) as host:
        host.ingest(0, [event(1, *[list_key()] * 100)])
        host.tick(_at(10) + TICK)
    first, *lines = [record.getMessage() for record in caplog.records if record.name == "detectors.reporting.sinks"]
    assert "LOGS_INGESTION_ENDPOINT is not set" in first
    rows = {line.split(" ", 1)[0]: json.loads(line.split(" ", 1)[1]) for line in lines}
    assert rows[FINDINGS]["EventCount"] == 100
    assert rows[HEALTH]["Findings"] == 1


def test_bad_settings_stop_the_app_at_start_with_every_problem(cloud: Cloud) -> None:
    """Not at three in the morning, and not one at a time."""
    settings = {"EVENT_HUB_NAME": "", "MODEL_THEFT__COUNT": "many", "BUCKET_RETENTION_HOURS": "0"}
    with pytest.raises(WorkerStartError) as error, cloud.host(settings):
        pass
    for name in settings:
        assert name in str(error.value)


def test_managed_identity_reaches_storage_and_endpoint(monitor: Monitor) -> None:
    """Identity-based connections as in Azure: no key anywhere, tokens from the identity endpoint."""
    with Azurite(authority=monitor.authority) as storage:
        cloud = Cloud("", monitor)
        for rows in monitor.rows.values():
            rows.clear()
        identity = {
            "AzureWebJobsStorage__tableServiceUri": storage.endpoint,
            "AzureWebJobsStorage__credential": "managedidentity",
            "AzureWebJobsStorage__clientId": "3f0d9c1e-0000-4000-8000-000000000001",
        }
        with cloud.host(identity) as host:
            host.ingest(0, [event(1, *[list_key()] * 100)])
            host.tick(_at(10) + TICK)
        assert _statuses(cloud.findings) == ["New"]


def test_the_triggers_are_bound_as_counting_needs_them(cloud: Cloud) -> None:
    """Batches of bytes with metadata, a retry without limit, names from the settings."""
    with cloud.host() as host:
        ingest, timer = host.worker.functions["ingest"], host.worker.functions["schedule_evaluation"]
        assert ingest.retry is not None
        assert (ingest.retry.strategy, ingest.retry.max_retry_count) == ("exponential_backoff", -1)
        trigger = ingest.trigger
        assert (trigger["cardinality"], trigger["dataType"]) == ("MANY", "BINARY")
        assert (trigger["eventHubName"], trigger["consumerGroup"], trigger["connection"]) == (
            "%EVENT_HUB_NAME%",
            "%EVENT_HUB_CONSUMER_GROUP%",
            "EventHubConnection",
        )
        assert timer.trigger["schedule"] == "%EVALUATION_SCHEDULE%"
