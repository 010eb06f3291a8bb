"""The detector put together from settings, over real storage."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import pytest

from detectors.configuration.settings import Settings
from detectors.detector import BASELINE_TABLE, BUCKETS_TABLE, JOURNAL_TABLE, QUARANTINE_TABLE, Detector
from detectors.evaluator import ShardResult
from detectors.rules.counters import Counters
from detectors.storage.connection import StorageConnection
from detectors.storage.handover import Handover
from detectors.storage.journal import Plan
from detectors.storage.tables import MemoryTable
from detectors.windows import BUCKET
from local.azurite import Azurite
from local.host import sample_settings
from tests.builders import NAMESPACE, START, list_key, message
from tests.meeting import Meeting


@dataclass
class Arrived:
    """An event as the trigger hands it over."""

    body: bytes
    sequence_number: int = 1
    enqueued_time: datetime = START
    partition: str = "0"

    @property
    def metadata(self) -> object:
        context = {"FullyQualifiedNamespace": NAMESPACE, "EventHubName": "llm-logs", "PartitionId": self.partition}
        return {"PartitionContext": context}

    def get_body(self) -> bytes:
        return self.body


def _counted(detector: Detector, plan: Plan) -> Counters:
    parcel = detector.evaluator.evaluate_shard(plan, 0)
    return Handover(MemoryTable()).receive(plan.window_end, parcel, ShardResult).counted.counters


@pytest.mark.real
def test_a_rule_that_is_off_is_not_counted() -> None:
    """It costs nothing, and the other rules go on with the same records."""
    with Azurite() as own:  # the detector's tables have fixed names
        settings = {"BucketStorage": own.connection_string, "MODEL_THEFT__ENABLED": "false"}
        detector = Detector(Settings.from_env(sample_settings() | settings), lambda: START + BUCKET)
        detector.ingest([Arrived(message(*[list_key()] * 100))])
        plan = detector.evaluator.plan(START + BUCKET, None)
        assert plan is not None
        assert set(_counted(detector, plan).selected) == {
            "new_key_lister",
            "key_sweep",
            "first_key_listing",
        }


def test_threads_that_come_first_at_once_share_what_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two of them would keep segments of one row apart, and connect twice."""
    opened = Counter[str]()
    meeting = Meeting(0.2)

    def open_table(_: StorageConnection, name: str) -> MemoryTable:
        opened[name] += 1
        meeting()
        return MemoryTable()

    monkeypatch.setattr("detectors.detector.open_table", open_table)
    detector = Detector(Settings.from_env(sample_settings()), lambda: START + BUCKET)
    batches = [[Arrived(message(list_key()), partition=f"{number}")] for number in range(4)]
    with ThreadPoolExecutor(8) as threads:
        counted = [threads.submit(detector.ingest, batch) for batch in batches]
        evaluators = [threads.submit(lambda: detector.evaluator) for _ in range(4)]
        assert len({id(one.result()) for one in evaluators}) == 1
        assert [one.result() for one in counted] == [None] * 4
    assert not meeting.happened
    assert opened == dict.fromkeys((BUCKETS_TABLE, QUARANTINE_TABLE, JOURNAL_TABLE, BASELINE_TABLE), 1)
    plan = detector.evaluator.plan(START + BUCKET, None)
    assert plan is not None
    assert _counted(detector, plan).messages == 4
