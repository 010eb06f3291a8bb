"""`llm-detector settings`: what is in force, every problem at once, and never a secret."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from detectors.cli.main import main
from detectors.configuration.settings import setting_of
from detectors.rules.catalogue import CATALOGUE
from local.host import SAMPLE, sample_settings

SECRET = "c2VjcmV0LWtleS1vZi1hLXN0b3JhZ2UtYWNjb3VudC1vZi1ub2JvZHk="
CLIENT_ID = "7d9e0f1a-2b3c-4d5e-8f60-718293a4b5c6"
CONNECTIONS = ("EventHubConnection", "AzureWebJobsStorage", "BucketStorage")


def _file(folder: Path, changes: Mapping[str, str] | None = None) -> Path:
    """Return a local.settings.json: the sample with changes."""
    path = folder / "local.settings.json"
    namespace = {"EventHubConnection__fullyQualifiedNamespace": "logs.servicebus.windows.net"}
    path.write_text(json.dumps({"Values": {**sample_settings(), **namespace, **(changes or {})}}))
    return path


def _table(capsys: pytest.CaptureFixture[str], file: Path) -> dict[str, tuple[str, str]]:
    """Value and origin by setting, as the table shows them."""
    assert main(["settings", "--file", str(file)]) == 0
    header, *lines = (re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines())
    assert header == ["Setting", "Value", "From"]
    return {setting: (value, origin) for setting, value, origin in lines}


def test_what_is_in_force_is_shown_with_where_it_comes_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A blank setting is not set, so its default is in force."""
    shown = _table(capsys, _file(tmp_path, {"MODEL_THEFT__COUNT": "50", "QUARANTINE_EXCERPT_CHARACTERS": " "}))
    assert shown["MODEL_THEFT__COUNT"] == ("50", "set")
    assert shown["QUARANTINE_EXCERPT_CHARACTERS"] == ("1024", "default")
    assert shown["LOGS_INGESTION_ENDPOINT"] == ("none", "default")
    assert shown["BucketStorage"] == ("AzureWebJobsStorage", "default")
    assert shown["EventHubConnection__fullyQualifiedNamespace"] == ("logs.servicebus.windows.net", "set")
    assert shown["AzureWebJobsStorage"] == ("UseDevelopmentStorage=true", "set")
    assert shown["BUCKET_RETENTION_HOURS"] == ("25", "set")


def test_every_setting_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """All that the sample names, each threshold of each rule, and whether it is on."""
    thresholds = {setting_of(rule.id, threshold.name) for rule in CATALOGUE for threshold in rule.thresholds}
    switches = {setting_of(rule.id, "enabled") for rule in CATALOGUE}
    named = set(sample_settings()) - {"FUNCTIONS_WORKER_RUNTIME"}
    assert set(_table(capsys, _file(tmp_path))) == named | thresholds | switches


def test_what_the_tuning_file_says_is_shown_with_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every resource that has no entry of its own; an app setting overrules it."""
    monkeypatch.setattr("detectors.configuration.settings.ROOT", tmp_path)
    (tmp_path / "ours.toml").write_text(
        "[rules.model_theft]\ncount = 60\nresponse_length = 7\n[rules.insecure_output]\nenabled = false\n"
        '[[resources]]\nrule = "denial_of_service"\nresource = "*/accounts/aoai-ci-*"\ncount = 99\nreason = "Tests."\n'
    )
    shown = _table(capsys, _file(tmp_path, {"TUNING_FILE": "ours.toml", "MODEL_THEFT__COUNT": "70"}))
    assert shown["TUNING_FILE"] == ("ours.toml", "set")
    assert shown["MODEL_THEFT__COUNT"] == ("70", "set")
    assert shown["MODEL_THEFT__RESPONSE_LENGTH"] == ("7", "ours.toml [rules.model_theft]")
    assert shown["INSECURE_OUTPUT__ENABLED"] == ("false", "ours.toml [rules.insecure_output]")
    assert shown["DENIAL_OF_SERVICE__COUNT"] == ("10", "default")


def test_each_line_of_ndjson_is_a_setting(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Numbers are numbers, and nothing is null."""
    file = _file(tmp_path, {"MODEL_THEFT__COUNT": "50"})
    assert main(["settings", "--file", str(file), "--format", "ndjson"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shown = {line["setting"]: (line["value"], line["from"]) for line in lines}
    assert shown["MODEL_THEFT__COUNT"] == (50, "set")
    assert shown["LOGS_INGESTION_RULE_ID"] == (None, "default")
    assert set(shown) == set(_table(capsys, file))


def test_the_environment_is_read_without_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And not beside one: what the app would do must not depend on the shell."""
    for name, value in {**sample_settings(), "MODEL_THEFT__COUNT": "77"}.items():
        monkeypatch.setenv(name, value)
    assert main(["settings"]) == 0
    assert re.search(r"^MODEL_THEFT__COUNT +77 +set$", capsys.readouterr().out, flags=re.MULTILINE)
    assert _table(capsys, _file(tmp_path))["MODEL_THEFT__COUNT"] == ("100", "default")


def test_problems_are_told_all_at_once_and_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each with its fix, after the name of the file; as ndjson an object each on standard output."""
    file = _file(tmp_path, {"EVENT_HUB_NAME": "", "BUCKET_RETENTION_HOURS": "17", "MODEL_THEFT__COUNTS": "5"})
    assert main(["settings", "--file", str(file)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    first, *problems = printed.err.splitlines()
    assert first == f"{file}: 3 setting(s) need attention:"
    assert [problem.split()[1] for problem in problems] == [
        "EVENT_HUB_NAME",
        "MODEL_THEFT__COUNTS",
        "BUCKET_RETENTION_HOURS",
    ]
    assert main(["settings", "--file", str(file), "--format", "ndjson"]) == 1
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f"  - {each['problem']}" for each in objects] == problems


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"Values": {\n  "A": "1",\n  "B" "2"\n}}', "line 3, column 7: Expecting ':' delimiter."),
        ('{"Values": {"A": "1",\n}}', "line 1, column 21: "),
        ("", "line 1, column 1: Expecting value."),
        ("[]", 'holds no object "Values"'),
        ('{"Value": {}}', 'holds no object "Values"'),
        ('{"Values": []}', 'holds no object "Values"'),
        ('{"IsEncrypted": true, "Values": {"A": "CfDJ8N"}}', "func settings decrypt"),
        ('{"Values": {\n  "A": "1",\n  "BUCKET_RETENTION_HOURS": 48\n}}', "line 3: BUCKET_RETENTION_HOURS is no text"),
        ("[" * 100_000, "nested without end"),
        ('{"Values": {"A": "\udce9"}}', "no text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, complaint: str
) -> None:
    """In one line, with exit code 2."""
    file = tmp_path / "local.settings.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert main(["settings", "--file", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: {file}")
    assert complaint in line


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A folder is none either."""
    for path, reason in ((tmp_path / "nowhere.json", "No such file"), (tmp_path, "Is a directory")):
        assert main(["settings", "--file", str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{path}: {reason}" in line


def test_a_byte_order_mark_is_no_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Windows editors put one there."""
    file = tmp_path / "local.settings.json"
    file.write_bytes(b"\xef\xbb\xbf" + SAMPLE.read_bytes())
    assert _table(capsys, file)["EVENT_HUB_NAME"] == ("llm-logs", "set")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (
            "EventHubConnection",
            f"Endpoint=sb://logs.servicebus.windows.net/;SharedAccessKeyName=r;SharedAccessKey={SECRET}",
            "Endpoint=sb://logs.servicebus.windows.net",
        ),
        (
            "AzureWebJobsStorage",
            f"DefaultEndpointsProtocol=https;AccountName=store;AccountKey={SECRET};EndpointSuffix=core.windows.net",
            "AccountName=store",
        ),
        (
            "BucketStorage",
            f"AccountName=store;AccountKey={SECRET};TableEndpoint=http://127.0.0.1:10002/store?sig={SECRET}",
            "AccountName=store;TableEndpoint=http://127.0.0.1:10002",
        ),
        ("EventHubConnection", SECRET, "(not shown)"),
        ("EventHubConnection", f"Endpoint={SECRET};SharedAccessKey={SECRET}", "(not shown)"),
        ("EventHubConnection", f"Endpoint=sb://:{SECRET}@logs.example/", "Endpoint=sb://logs.example"),
        ("EventHubConnection", f"Endpoint=sb://[{SECRET}", "(not shown)"),
        ("EventHubConnection__fullyQualifiedNamespace", SECRET, "(not shown)"),
        ("EventHubConnection__clientId", CLIENT_ID, CLIENT_ID),
        ("EventHubConnection__clientId", SECRET, "(not shown)"),
        ("EventHubConnection__credential", SECRET, "(not shown)"),
        ("EventHubConnection__anything", SECRET, "(not shown)"),
        ("BucketStorage__tableServiceUri", "https://s.table.core.windows.net/", "https://s.table.core.windows.net"),
        ("BucketStorage__accountName", "detectorstore", "detectorstore"),
        ("AzureWebJobsStorage__blobServiceUri", f"https://s.example/?sig={SECRET}", "https://s.example"),
        ("AzureWebJobsStorage__queueServiceUri", SECRET, "(not shown)"),
    ],
)
def test_of_a_connection_only_account_and_endpoint_are_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, value: str, shown: str
) -> None:
    """The rest may be a key, or one that was pasted into the wrong setting."""
    assert _table(capsys, _file(tmp_path, {name: value}))[name] == (shown, "set")


@pytest.mark.parametrize(
    "value", [SECRET, f"AccountName=s;AccountKey={SECRET}", f"https://s.example/?sig={SECRET}", f"https://:{SECRET}@s"]
)
def test_a_secret_is_never_shown_in_whichever_setting_it_stands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, value: str
) -> None:
    """Neither among what is in force nor among the problems."""
    names = set(sample_settings()) | {f"{base}__{key}" for base in CONNECTIONS for key in ("clientId", "credential")}
    for name in sorted(names):
        main(["settings", "--file", str(_file(tmp_path, {name: value}))])
        printed = capsys.readouterr()
        assert SECRET[:8] not in printed.out + printed.err, name
        assert printed.out + printed.err
