"""The detector put together from settings, over real storage."""

from dataclasses import dataclass
from datetime import datetime

from detectors.detector import Detector
from detectors.settings import Settings
from detectors.windows import BUCKET
from local.azurite import Azurite
from local.host import sample_settings
from tests.builders import NAMESPACE, START, list_key, message


@dataclass
class Arrived:
    """An event as the trigger hands it over."""

    body: bytes
    sequence_number: int = 1
    enqueued_time: datetime = START

    @property
    def metadata(self) -> object:
        context = {"FullyQualifiedNamespace": NAMESPACE, "EventHubName": "llm-logs", "PartitionId": "0"}
        return {"PartitionContext": context}

    def get_body(self) -> bytes:
        return self.body


def test_a_rule_that_is_off_is_not_counted() -> None:
    """It costs nothing, and the other rules go on with the same records."""
    with Azurite() as own:  # the detector's tables have fixed names
        settings = {"BucketStorage": own.connection_string, "MODEL_THEFT__ENABLED": "false"}
        detector = Detector(Settings.from_env(sample_settings() | settings), lambda: START + BUCKET)
        detector.ingest([Arrived(message(*[list_key()] * 100))])
        plan = detector.evaluator.plan(START + BUCKET, None)
        assert plan is not None
        assert set(detector.evaluator.measure_health(plan).counters.selected) == {"new_key_lister"}
