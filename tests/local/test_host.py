"""The local host holds a partition back as the Functions host does: without end, and where everybody sees it."""

import logging
import signal
import subprocess
import sys
from unittest.mock import patch

import pytest

from detectors.errors import StorageError
from local.host import ROOT, LocalHost
from tests.builders import START, event, list_key

NOBODY = "AccountName=devstoreaccount1;AccountKey=bm9ib2R5;TableEndpoint=http://127.0.0.1:1/devstoreaccount1"
"""A storage account on a port where nothing listens."""


def test_a_batch_is_handed_over_until_it_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """As the retry policy of the function says: waits that double up to a minute, and each of them is told."""
    waits: list[float] = []
    failures = [StorageError("the table is away")] * 25
    with (
        LocalHost({"AzureWebJobsStorage": NOBODY}, START, sleep=waits.append) as host,
        caplog.at_level(logging.WARNING, "local.host"),
        patch.object(host.app.detector, "ingest", side_effect=[*failures, None]),
    ):
        assert host.ingest(3, [event(41, list_key()), event(42, list_key())]) == 26
    assert waits == [1, 2, 4, 8, 16, 32, *[60] * 19]
    told = [record.getMessage() for record in caplog.records if record.name == "local.host"]
    assert len(told) == 25
    assert told[3] == (
        "Partition 3 is stuck at events 41 to 42: StorageError: the table is away\n"
        "Call 4 failed. Azure too would try without end, and count nothing behind them: next call in 8 s."
    )


@pytest.mark.real
def test_a_run_that_is_stuck_says_so_and_ends_at_ctrl_c() -> None:
    """In a word, not in a traceback; the exit code is that of an interrupted command."""
    command = [sys.executable, "-m", "local", "run", "--records", "5000", "--set", f"BucketStorage={NOBODY}"]
    running = subprocess.Popen(  # noqa: S603 - our own interpreter
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with running as process:
        assert process.stdout is not None
        said = next(line for line in process.stdout if line.startswith("Partition "))
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "Interrupted."
    assert process.returncode == 130
