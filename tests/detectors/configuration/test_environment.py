"""The environment: each setting is checked alone, every problem noted, no secret shown."""

import re
from collections.abc import Callable

import pytest

from detectors.configuration.environment import Environment
from detectors.storage.connection import StorageConnection

WORD = re.compile("[a-z]+")
ENDPOINT = "https://store.table.core.windows.net"
KEYED = "AccountName=store;AccountKey=a2V5"


@pytest.mark.parametrize(
    ("env", "ask", "value"),
    [
        ({"A": " word "}, lambda read: read.text("A", None, WORD, "a word"), "word"),
        ({"A": " "}, lambda read: read.text("A", "usual", WORD, "a word"), "usual"),
        ({}, lambda read: read.number("A", 4, 1, 16), 4),
        ({"A": "16"}, lambda read: read.number("A", 4, 1, 16), 16),
        ({"A": "TRUE"}, lambda read: read.flag("A"), True),
        ({"A": "false"}, lambda read: read.flag("A"), False),
        ({}, lambda read: read.flag("A"), None),
        ({"A": "x", "B": "", "C": "y"}, lambda read: read.named(lambda name: name in "AB"), ["A"]),
    ],
)
def test_a_sound_setting_is_read(env: dict[str, str], ask: Callable[[Environment], object], value: object) -> None:
    """White space around it does not count, and a blank one is not set."""
    read = Environment(env)
    assert (ask(read), read.problems) == (value, [])


@pytest.mark.parametrize(
    ("env", "ask", "said"),
    [
        ({}, lambda read: read.text("A", None, WORD, "a word"), "A is not set: give it a word."),
        ({"A": "7"}, lambda read: read.text("A", None, WORD, "a word"), "A is '7': give it a word."),
        ({"A": "0"}, lambda read: read.number("A", 4, 1, 16), "A is '0': give it a whole number from 1 to 16."),
        ({"A": "17"}, lambda read: read.number("A", 4, 1, 16), "from 1 to 16"),
        ({"A": "4.0"}, lambda read: read.number("A", 4, 1, 16), "A is '4.0'"),
        ({"A": "٤"}, lambda read: read.number("A", 4, 1, 16), "A is '٤'"),
        ({"A": "9" * 19}, lambda read: read.number("A", 4, 1, 16), "from 1 to 16"),
        ({"A": "yes"}, lambda read: read.flag("A"), "A is 'yes': give it true or false."),
        ({}, lambda read: read.connection("A", "name", "<x>"), "A is not set: give A__name <x> (managed identity)"),
    ],
)
def test_a_wrong_setting_is_a_problem_with_its_fix(
    env: dict[str, str], ask: Callable[[Environment], object], said: str
) -> None:
    """Nothing is raised, so that all of them are told at once."""
    read = Environment(env)
    ask(read)
    assert len(read.problems) == 1
    assert said in read.problems[0]


@pytest.mark.parametrize(
    ("env", "connection"),
    [
        ({"AzureWebJobsStorage": KEYED}, StorageConnection(connection_string=KEYED)),
        ({"AzureWebJobsStorage__accountName": "store"}, StorageConnection(table_endpoint=ENDPOINT)),
        (
            {"BucketStorage__tableServiceUri": ENDPOINT, "AzureWebJobsStorage": KEYED},
            StorageConnection(table_endpoint=ENDPOINT),
        ),
        (
            {"BucketStorage__accountName": "store", "BucketStorage__credential": "managedidentity"},
            StorageConnection(table_endpoint=ENDPOINT, managed_identity=True),
        ),
    ],
)
def test_storage_is_reached_as_its_settings_say(env: dict[str, str], connection: StorageConnection) -> None:
    """Buckets have an account of their own if any setting names it."""
    read = Environment(env)
    assert (read.storage(), read.problems) == (connection, [])


@pytest.mark.parametrize("secret", [KEYED, "https://x/?sig=a2V5", "Endpoint=sb://x;SharedAccessKey=a2V5", "a2V5" * 20])
def test_a_secret_in_the_wrong_place_is_not_shown(secret: str) -> None:
    """Problems end up in logs; the length is enough to find it by."""
    read = Environment({"A": secret, "AzureWebJobsStorage__accountName": secret})
    read.text("A", None, re.compile("x"), "x")
    read.number("A", 1, 1, 2)
    read.flag("A")
    read.storage()
    assert len(read.problems) == 4
    assert all("a2V5" not in problem and f"{len(secret)} characters" in problem for problem in read.problems)


@pytest.mark.parametrize("name", ["LOGS_INGESTION_ENDPOINT", "LOGS_INGESTION_RULE_ID"])
def test_the_endpoint_and_its_rule_are_given_both_or_neither(name: str) -> None:
    """Without them findings go to the log."""
    both = {
        "LOGS_INGESTION_ENDPOINT": "https://x.westeurope-1.ingest.monitor.azure.com",
        "LOGS_INGESTION_RULE_ID": f"dcr-{'0' * 32}",
    }
    whole, half = Environment(both), Environment({name: both[name]})
    assert (whole.ingestion(), whole.problems) == (tuple(both.values()), [])
    half.ingestion()
    assert len(half.problems) == 1
    assert Environment({}).ingestion() == (None, None)
