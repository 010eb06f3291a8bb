"""`llm-detector buckets`: on real storage, what the real ingestion wrote there."""

import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient

from detectors.cli.main import main
from detectors.cli.stored_tallies import Where, stored
from detectors.detector import BUCKETS_TABLE
from detectors.errors import SettingsError
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import CATALOGUE
from detectors.storage.azure_tables import open_table
from detectors.storage.buckets import BucketStore
from detectors.storage.connection import StorageConnection
from detectors.storage.quarantine import Quarantine
from detectors.storage.tables import MemoryTable
from local.azurite import Azurite, connection_string
from tests.builders import NAMESPACE, PIPELINE, SOURCE, START, canonical_id, chat, event, list_key

HOUR = ["--from", "2026-11-23T08:00Z", "--to", "2026-11-23T09:00Z"]
THEFT = [*HOUR, "--rule", "model_theft"]
OTHER = SOURCE._replace(partition="1")
TEN = timedelta(minutes=10)


@pytest.fixture(scope="module")
def storage(azurite: Azurite) -> Iterator[str]:
    """Provide the connection string of a storage that holds three buckets of two partitions."""
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        tables.delete_table(BUCKETS_TABLE)  # of other tests, if it is there
        store = BucketStore(open_table(StorageConnection(connection_string=azurite.connection_string), BUCKETS_TABLE))
        quarantine = Quarantine(MemoryTable(), excerpt_characters=50)
        ingest = Ingest(store, quarantine, BatchCounter(CATALOGUE), lambda: START)
        ingest(
            SOURCE, [event(7, list_key(responseLength=900, requestLength=10)), event(8, list_key(), list_key("dev"))]
        )
        store.seal(store.reload(SOURCE, START))  # what comes then goes to a second row of the bucket
        ingest(SOURCE, [event(9, list_key(caller="b", responseLength=500, requestLength=15))])
        ingest(OTHER, [event(41, *(list_key(caller=f"c{number}") for number in range(5)), chat())])
        ingest(SOURCE, [event(10, list_key(), after=TEN)])
        ingest(OTHER, [event(42, list_key("dev"), after=6 * TEN)])
        yield azurite.connection_string
        tables.delete_table(BUCKETS_TABLE)


@pytest.fixture
def connected(storage: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Provide that storage in the environment, with no other setting of the app."""
    monkeypatch.setenv("AzureWebJobsStorage", storage)
    return storage


def _objects(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["buckets", *arguments, "--format", "ndjson"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("connected")
def test_each_line_of_ndjson_is_a_group_of_a_partition_in_a_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    """All that is known of it, whichever rows of the bucket hold it."""
    first, *others = _objects(capsys, *THEFT)
    assert first == {
        "bucket": "2026-11-23T08:00Z",
        "namespace": NAMESPACE,
        "hub": "llm-logs",
        "partition": "0",
        "rule": "model_theft",
        "group": [canonical_id()],
        "count": 3,
        "max_response_length": 900,
        "avg_request_length": 12.5,
        "callers": {PIPELINE: 2, "b": 1},
        "other_callers": 0,
        "first_sequence": 7,
        "last_sequence": 9,
    }
    assert [(each["bucket"][11:], each["partition"], each["group"], each["count"]) for each in others] == [
        ("08:00Z", "0", [canonical_id("dev")], 1),
        ("08:00Z", "1", [canonical_id()], 5),
        ("08:10Z", "0", [canonical_id()], 1),
    ]
    assert (others[0]["max_response_length"], others[0]["avg_request_length"]) == (None, None)


@pytest.mark.usefixtures("connected")
def test_the_table_shows_the_callers_that_matter(capsys: pytest.CaptureFixture[str]) -> None:
    """How many there are, and the first three."""
    assert main(["buckets", *THEFT]) == 0
    header, *lines = (re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines())
    assert header[:4] == ["Bucket", "Partition", "Rule", "Count"]
    assert lines[0] == [
        "2026-11-23T08:00Z",
        f"{NAMESPACE}/llm-logs/0",
        "model_theft",
        "3",
        "900",
        "12",
        "7 to 9",
        f"2: {PIPELINE} 2, b 1",
        canonical_id(),
    ]
    assert "5: c0 1, c1 1, c2 1" in lines[2]
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("first", "last", "buckets"),
    [
        ("2026-11-23T08:00Z", "2026-11-23T08:10Z", ["08:00"]),
        ("2026-11-23T08:09:59Z", "2026-11-23T08:10:00.000001Z", ["08:00", "08:10"]),
        ("2026-11-23T08:10Z", "2026-11-23T09:00Z", ["08:10"]),
        ("2026-11-23T10:10+02:00", "2026-11-24", ["08:10", "09:00"]),
        ("2000-01-01", "2100-01-01", ["08:00", "08:10", "09:00"]),
    ],
)
@pytest.mark.usefixtures("connected")
def test_a_bucket_is_shown_if_any_of_it_lies_in_the_span(
    capsys: pytest.CaptureFixture[str], first: str, last: str, buckets: list[str]
) -> None:
    """From the begin, which belongs to the span, up to its end, which does not."""
    shown = {each["bucket"][11:16] for each in _objects(capsys, "--from", first, "--to", last)}
    assert sorted(shown) == buckets


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        (["--rule", "model_theft"], {canonical_id(), canonical_id("dev")}),
        (["--resource", "accounts/DEV"], {canonical_id("dev")}),
        (["--resource", "aoai-*"], {canonical_id()}),
        (["--resource", "accounts/de?"], {canonical_id("dev")}),
    ],
)
@pytest.mark.usefixtures("connected")
def test_what_is_shown_can_be_narrowed(
    capsys: pytest.CaptureFixture[str], options: list[str], groups: set[str]
) -> None:
    """By rule, and by a part of the resource in any case."""
    assert {each["group"][0] for each in _objects(capsys, *HOUR, *options)} == groups


@pytest.mark.usefixtures("connected")
def test_a_record_is_shown_for_each_rule_that_counts_it(capsys: pytest.CaptureFixture[str]) -> None:
    """With the groups of that rule, of which some are callers or minutes; the rule that is asked for, alone."""
    shown = {each["rule"]: each["group"] for each in _objects(capsys, *HOUR) if each["partition"] == "1"}
    assert shown == {
        "model_theft": [canonical_id()],
        "new_key_lister": [canonical_id(), "c4"],
        "denial_of_service": [canonical_id(), "2026-11-23T07:59Z"],
        "large_transfer": [canonical_id()],
        "key_sweep": ["c4"],
        "first_key_listing": [canonical_id()],
        "first_key_use": [canonical_id()],
    }
    for rule_id, group in shown.items():
        found = _objects(capsys, *HOUR, "--rule", rule_id)
        assert {each["rule"] for each in found} == {rule_id}
        assert group in [each["group"] for each in found]


def test_a_rule_that_nobody_knows_any_more_has_nothing(connected: str) -> None:
    """Storage may hold tallies of a release that had more rules."""
    where = Where(START, START + timedelta(hours=1), "another")
    assert stored({"AzureWebJobsStorage": connected}, where) == []


@pytest.mark.parametrize("options", [["--from", "2026-11-22", "--to", "2026-11-23"], [*HOUR, "--resource", "nobody"]])
@pytest.mark.usefixtures("connected")
def test_where_nothing_is_stored_it_is_said_on_standard_error(
    capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """The call was fine, and standard output is empty."""
    for form in ("table", "ndjson"):
        assert main(["buckets", *options, "--format", form]) == 0
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert re.match(r"Nothing is stored from 2026-11-2\d \d\d:00 to 2026-11-23 \d\d:00 UTC", line)


def test_the_storage_can_be_named_by_a_file(capsys: pytest.CaptureFixture[str], storage: str, tmp_path: Path) -> None:
    """Its other settings may be missing or wrong, and BucketStorage wins as in the app."""
    file = tmp_path / "local.settings.json"
    values = {"AzureWebJobsStorage": "nonsense", "BucketStorage": storage, "BUCKET_RETENTION_HOURS": "none"}
    file.write_text(json.dumps({"Values": values}))
    assert len(_objects(capsys, *THEFT, "--file", str(file))) == 4


def test_a_storage_that_cannot_be_reached_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting that names it and exit code 1; no key is shown."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        text = connection_string(f"http://127.0.0.1:{closed.getsockname()[1]}/devstoreaccount1")
        monkeypatch.setenv("BucketStorage", text)
        assert main(["buckets", *HOUR]) == 1
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("Error: BucketStorage: buckets cannot be read")
    assert "Connection refused" in line
    assert "Eby8" not in line


# The client looks at the truth value of an XML element when the service refuses a signature.
@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")
@pytest.mark.parametrize("key", ["b2s=", "no base64!"])
def test_a_key_that_is_wrong_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, azurite: Azurite, key: str
) -> None:
    """Whether the service refuses it or the client."""
    text = (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};TableEndpoint={azurite.endpoint}"
    )
    monkeypatch.setenv("AzureWebJobsStorage", text)
    assert main(["buckets", *HOUR]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "AzureWebJobsStorage: buckets cannot be read" in line
    assert key not in line


@pytest.mark.real
def test_a_table_that_is_not_there_is_not_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command reads only."""
    with Azurite() as empty, TableServiceClient.from_connection_string(empty.connection_string) as tables:
        monkeypatch.setenv("AzureWebJobsStorage", empty.connection_string)
        assert main(["buckets", *HOUR]) == 1
        assert [table.name for table in tables.list_tables()] == []
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not exist" in line


def test_only_the_settings_of_the_storage_are_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their problems are told as `settings` tells them, with exit code 1."""
    monkeypatch.delenv("AzureWebJobsStorage", raising=False)
    assert main(["buckets", *HOUR]) == 1
    printed = capsys.readouterr().err
    assert "AzureWebJobsStorage is not set: give" in printed
    assert "EVENT_HUB_NAME" not in printed
    with pytest.raises(SettingsError, match="1 setting"):
        stored({}, Where(START, START + TEN))
