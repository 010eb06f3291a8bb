"""Settings: every one is read, every problem is told at once with its fix, and no secret is ever shown."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from detectors.configuration.settings import OVERRIDES, Settings, setting_of, storage_from_env
from detectors.errors import SettingsError
from detectors.evaluation.policy import EffectiveThresholds, Policy, PolicyChange
from detectors.evaluation.suppressions import Scope, SuppressionRule
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.tally import Key
from detectors.storage.connection import StorageConnection

SAMPLE = Path(__file__).parents[3] / "local.settings.sample.json"
REQUIRED = {
    "EVENT_HUB_NAME": "llm-logs",
    "EVENT_HUB_CONSUMER_GROUP": "detector",
    "EVALUATION_SCHEDULE": "45 */10 * * * *",
    "EventHubConnection__fullyQualifiedNamespace": "logs.servicebus.windows.net",
    "AzureWebJobsStorage__accountName": "detectorstore",
}
INGESTION = {
    "LOGS_INGESTION_ENDPOINT": "https://llm-abc1.eastus-1.ingest.monitor.azure.com",
    "LOGS_INGESTION_RULE_ID": "dcr-0123456789abcdef0123456789abcdef",
}
CLIENT_ID = "7d9e0f1a-2b3c-4d5e-8f60-718293a4b5c6"
SECRET = "c2VjcmV0LWtleS1vZi1hLXN0b3JhZ2UtYWNjb3VudC1vZi1ub2JvZHk="
TUNED = """
[rules.model_theft]
severity = "Low"
[[exceptions]]
rule = "*"
resource = "*-ci-*"
reason = "Tests."
owner = "us"
expires = 2027-03-31
"""
CONNECTIONS = ("AzureWebJobsStorage", "BucketStorage", "EventHubConnection")


class Recording(Mapping[str, str]):
    """An environment that writes down for which names it was asked."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._env[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._env)

    def __len__(self) -> int:
        return len(self._env)


def _read(changes: Mapping[str, str] | None = None, *, without: str = "") -> Settings:
    """Return the settings of a complete environment with changes; `without` takes away what starts with it."""
    env = {name: value for name, value in REQUIRED.items() if not without or not name.startswith(without)}
    return Settings.from_env({**env, **(changes or {})})


def _problems(changes: Mapping[str, str] | None = None, *, without: str = "") -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        _read(changes, without=without)
    return raised.value.problems


def _sample() -> dict[str, str]:
    values: dict[str, str] = json.loads(SAMPLE.read_text())["Values"]
    return values


def _overruled(setting: str, rule_id: str, **values: Any) -> PolicyChange:  # noqa: ANN401 - of any field
    return PolicyChange(f"app setting {setting}", Scope(rule_id), **values)


def _base(name: str) -> str:
    """Return the connection that a setting belongs to, or the setting itself."""
    connection = name.partition("__")[0]
    return connection if connection in CONNECTIONS else name


def _tuning(folder: Path, text: str) -> Path:
    """Return a tuning file of one's own."""
    path = folder / "tuning.toml"
    path.write_text(text)
    return path


def test_every_setting_is_read(tmp_path: Path) -> None:
    """None of them at its default."""
    settings = Settings.from_env(
        {
            "EVENT_HUB_NAME": "other-logs",
            "EVENT_HUB_CONSUMER_GROUP": "llm-detector",
            "EVALUATION_SCHEDULE": "15 5-59/10 * * * *",
            "EventHubConnection": "Endpoint=sb://logs.servicebus.windows.net/;SharedAccessKey=k",
            "BucketStorage": "AccountName=store;AccountKey=a2V5",
            **INGESTION,
            "LOGS_INGESTION_STREAM": "Custom-Findings_CL",
            "LOGS_INGESTION_HEALTH_STREAM": "Custom-Health_CL",
            "TUNING_FILE": str(_tuning(tmp_path, TUNED)),
            "MODEL_THEFT__COUNT": "7",
            "MODEL_THEFT__RESPONSE_LENGTH": "2000",
            "DENIAL_OF_SERVICE__ENABLED": "False",
            "BUCKET_RETENTION_HOURS": "48",
            "QUARANTINE_EXCERPT_CHARACTERS": "0",
        }
    )
    assert settings == Settings(
        event_hub_name="other-logs",
        consumer_group="llm-detector",
        evaluation_schedule="15 5-59/10 * * * *",
        storage=StorageConnection(connection_string="AccountName=store;AccountKey=a2V5"),
        ingestion_endpoint="https://llm-abc1.eastus-1.ingest.monitor.azure.com",
        ingestion_rule_id="dcr-0123456789abcdef0123456789abcdef",
        findings_stream="Custom-Findings_CL",
        health_stream="Custom-Health_CL",
        policy=Policy(
            changes=(
                PolicyChange(f"{tmp_path}/tuning.toml [rules.model_theft]", Scope("model_theft"), severity="Low"),
                _overruled("MODEL_THEFT__COUNT", "model_theft", thresholds={"count": 7}),
                _overruled("MODEL_THEFT__RESPONSE_LENGTH", "model_theft", thresholds={"response_length": 2000}),
                _overruled("DENIAL_OF_SERVICE__ENABLED", "denial_of_service", enabled=False),
            ),
            suppression_rules=(SuppressionRule(Scope("*", "*-ci-*"), frozenset(), "Tests.", "us", date(2027, 3, 31)),),
        ),
        retention=timedelta(hours=48),
        quarantine_characters=0,
    )


def test_what_is_not_set_has_its_default() -> None:
    """Only the hub, the schedule and two connections must be given."""
    settings = _read()
    assert settings == Settings(
        event_hub_name="llm-logs",
        consumer_group="detector",
        evaluation_schedule="45 */10 * * * *",
        storage=StorageConnection(table_endpoint="https://detectorstore.table.core.windows.net"),
        ingestion_endpoint=None,
        ingestion_rule_id=None,
        findings_stream="Custom-LlmThreatFindings_CL",
        health_stream="Custom-LlmDetectorHealth_CL",
        policy=Policy(),
        retention=timedelta(hours=25),
        quarantine_characters=1024,
    )


@pytest.mark.parametrize("name", ["EVENT_HUB_NAME", "EVENT_HUB_CONSUMER_GROUP", "EVALUATION_SCHEDULE"])
def test_what_a_binding_names_must_be_set(name: str) -> None:
    """The host looks up `%NAME%` itself and knows no default of ours: without it the function does not start."""
    (problem,) = _problems(without=name)
    assert problem.startswith(f"{name} is not set: give it ")


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_setting_is_not_set(blank: str) -> None:
    """As the portal and local.settings.json leave it; what has a default has it, what has none is asked for."""
    optional = {*_sample(), *INGESTION, "BucketStorage", "BucketStorage__credential", "MODEL_THEFT__COUNTS"}
    assert _read(dict.fromkeys(optional - {*REQUIRED, "AzureWebJobsStorage"}, blank)) == _read()
    assert len(_problems(dict.fromkeys(REQUIRED, blank))) == len(REQUIRED)


def test_white_space_around_a_value_does_not_matter() -> None:
    """It is pasted more often than meant."""
    assert _read({name: f" {value}\n" for name, value in REQUIRED.items()}) == _read()


def test_all_problems_are_reported_at_once_each_with_its_fix() -> None:
    """A deployment is put right in one go."""
    broken = {
        "EVENT_HUB_NAME": "llm/logs",
        "EVENT_HUB_CONSUMER_GROUP": "$default group",
        "EVALUATION_SCHEDULE": "*/10 * * * *",
        "EventHubConnection__fullyQualifiedNamespace": "",
        "AzureWebJobsStorage__accountName": "",
        "AzureWebJobsStorage__credential": "password",
        "LOGS_INGESTION_ENDPOINT": "http://insecure.example",
        "LOGS_INGESTION_RULE_ID": "my-rule",
        "LOGS_INGESTION_STREAM": "LlmThreatFindings_CL",
        "LOGS_INGESTION_HEALTH_STREAM": "Custom-Llm Health",
        "TUNING_FILE": "detectors/none.toml",
        "MODEL_THEFT__COUNT": "many",
        "MODEL_THEFT__RESPONSE_LENGTH": "-1",
        "MODEL_THEFT__ENABLED": "no",
        "MODEL_THEFT__COUNTS": "5",
        "BUCKET_RETENTION_HOURS": "24",
        "QUARANTINE_EXCERPT_CHARACTERS": "1e3",
    }
    problems = _problems(broken)
    assert len(problems) == len(broken)
    for name in broken:
        about = [problem for problem in problems if name in problem or problem.startswith(f"{_base(name)} ")]
        assert about, name
    assert all("give" in problem or "There is" in problem for problem in problems)
    with pytest.raises(SettingsError, match="17 setting"):
        _read(broken)


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("EVENT_HUB_NAME", "a b", "the name of an Event Hub"),
        ("EVENT_HUB_NAME", "logs-", "the name of an Event Hub"),
        ("EVENT_HUB_NAME", "x" * 257, "the name of an Event Hub"),
        ("EVENT_HUB_NAME", "hub|1", "the name of an Event Hub"),
        ("EVENT_HUB_CONSUMER_GROUP", "my group", "a consumer group"),
        ("EVALUATION_SCHEDULE", "00:10:00", "six NCRONTAB fields"),
        ("EVALUATION_SCHEDULE", "0 45 */10 * * * *", "six NCRONTAB fields"),
        ("LOGS_INGESTION_STREAM", "Custom-", "Custom-<table>"),
        ("LOGS_INGESTION_HEALTH_STREAM", "Microsoft-Event", "Custom-<table>"),
        ("MODEL_THEFT__COUNT", "0", "a whole number from 1 to"),
        ("MODEL_THEFT__COUNT", "1.5", "a whole number from 1 to"),
        ("MODEL_THEFT__COUNT", "\u0661\u0660\u0660", "a whole number from 1 to"),
        ("MODEL_THEFT__COUNT", "9" * 30, "a whole number from 1 to"),
        ("MODEL_THEFT__RESPONSE_LENGTH", "1_000_000", "a whole number from 1 to"),
        ("MODEL_THEFT__ENABLED", "1", "true or false"),
        ("LARGE_TRANSFER__CALLER_BYTES", "9007199254740993", "a whole number from 1 to 9007199254740992"),
        ("TUNING_FILE", "tuning.json", "the path of a .toml file"),
        ("TUNING_FILE", "tuning.toml?sig=x", "the path of a .toml file"),
        ("TUNING_FILE", "detectors/tunning.toml", "No such file or directory"),
        ("BUCKET_RETENTION_HOURS", "337", "a whole number from 25 to 336"),
        ("QUARANTINE_EXCERPT_CHARACTERS", "4097", "a whole number from 0 to 4096"),
        ("AzureWebJobsStorage__tableServiceUri", "store.table.core.windows.net", "https://<account>"),
        ("AzureWebJobsStorage__tableServiceUri", "https://[", "https://<account>"),
        ("AzureWebJobsStorage__tableServiceUri", "https://store.table.core.windows.net/?sv=1", "https://<account>"),
        ("AzureWebJobsStorage__accountName", "Store.Account", "the name of a storage account"),
        ("AzureWebJobsStorage__clientId", "detector-identity", "client id"),
    ],
)
def test_a_value_that_cannot_be_right_is_named_with_its_fix(name: str, value: str, fix: str) -> None:
    """One sentence that says which setting, and what it wants."""
    (problem,) = _problems({name: value})
    assert problem.startswith(name)
    assert fix in problem


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("EVENT_HUB_NAME", ["a", "x" * 256, "a.b_c-d"]),
        ("EVENT_HUB_CONSUMER_GROUP", ["$Default", "a", "team.llm_1-x"]),
        ("EVALUATION_SCHEDULE", ["0 0,10,20 * * * MON-FRI", "45 */10 * * Jan-Dec *"]),
        ("MODEL_THEFT__COUNT", ["1", "007", str(2**53)]),
        ("MODEL_THEFT__ENABLED", ["true", "false", "True", "FALSE"]),
        ("TUNING_FILE", ["detectors/tuning.toml", "./detectors/../detectors/tuning.toml"]),
        ("BUCKET_RETENTION_HOURS", ["25", "336"]),
        ("QUARANTINE_EXCERPT_CHARACTERS", ["0", "4096"]),
        ("LOGS_INGESTION_STREAM", ["Custom-A", "Custom-My_Table_CL"]),
    ],
)
def test_values_up_to_the_edges_are_taken(name: str, values: list[str]) -> None:
    """The limits themselves are inside."""
    for value in values:
        _read({name: value})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MODEL_THEFT__COUNTS", "MODEL_THEFT__COUNT"),
        ("MODEL_THEFT__", "MODEL_THEFT__COUNT"),
        ("MODEL_THEFT__RESPONSELENGTH", "MODEL_THEFT__RESPONSE_LENGTH"),
        ("model_theft__count", "MODEL_THEFT__COUNT"),
        ("MODEL_THEFT_COUNT", "MODEL_THEFT__COUNT"),
        ("MODEL_THEFT___COUNT", "MODEL_THEFT__COUNT"),
        ("MODEL_THEFT__ENABLE", "MODEL_THEFT__ENABLED"),
        ("MODEL_THEFT__SEVERITY", "MODEL_THEFT__ENABLED"),
        ("MODEL_THFT__COUNT", "MODEL_THEFT__COUNT"),
        ("MODELTHEFT__ENABLED", "MODEL_THEFT__ENABLED"),
    ],
)
def test_a_misspelt_setting_of_a_rule_is_refused(name: str, meant: str) -> None:
    """Otherwise something else would stay in force and nobody would know."""
    (problem,) = _problems({name: "5"})
    assert problem.startswith(f"{name} is no setting of a rule: did you mean {meant}? There is ")
    assert problem.endswith(" MODEL_THEFT__COUNT, MODEL_THEFT__RESPONSE_LENGTH, MODEL_THEFT__ENABLED.")


def test_settings_of_others_are_none_of_ours() -> None:
    """The host, Azure and the machine have settings with two underscores as well."""
    others = ["AzureFunctionsJobHost__logging__logLevel__default", "AZURE_CLIENT_ID", "PATH", "X__COUNT", "__ENABLED"]
    assert _read(dict.fromkeys(others, "x")) == _read()


def test_every_rule_has_its_settings() -> None:
    """One for each threshold, and one to put it on or off; each changes its rule alone, and just that."""
    assert set(OVERRIDES) == {
        setting_of(rule.id, name) for rule in CATALOGUE for name in ("enabled", *(one.name for one in rule.thresholds))
    }
    plain = Policy()
    for setting, (rule_id, what) in OVERRIDES.items():
        policy = _read({setting: "false" if what == "enabled" else "12345"}).policy
        for rule in CATALOGUE:
            key = Key(rule.id, ("anything",))
            effective, usual = policy.effective(key), plain.effective(key)
            assert usual
            if rule.id != rule_id:
                assert effective == usual
            elif what == "enabled":
                assert (effective, rule in policy.rules) == (None, False)
            else:
                assert effective == EffectiveThresholds({**usual.thresholds, what: 12345}, rule.severity)


def test_app_settings_overrule_the_tuning_file(tmp_path: Path) -> None:
    """Also its entries for resources; what they do not say stays as the file has it."""
    text = """
    [rules.model_theft]
    count = 5
    enabled = false
    [[resources]]
    rule = "*"
    resource = "*/accounts/aoai-ci-*"
    count = 6
    response_length = 7
    enabled = false
    reason = "Tests."
    """
    env = {"TUNING_FILE": str(_tuning(tmp_path, text))}
    theft = Key("model_theft", ("/x/accounts/aoai-ci-1",))
    assert _read(env).policy.effective(theft) is None
    assert BY_ID["model_theft"] not in _read(env).policy.rules
    overruling = env | {"MODEL_THEFT__ENABLED": "true", "MODEL_THEFT__COUNT": "8"}
    policy = _read(overruling).policy
    assert policy.effective(theft) == EffectiveThresholds({"count": 8, "response_length": 7}, "Medium")
    assert BY_ID["model_theft"] in policy.rules
    found = policy.resolve(*theft[:1], theft.group[0])
    assert found.enabled.origin == "app setting MODEL_THEFT__ENABLED"
    assert found.thresholds["count"].origin == "app setting MODEL_THEFT__COUNT"
    assert found.thresholds["response_length"].origin == f"{tmp_path}/tuning.toml [[resources]] 1"
    assert _read(dict.fromkeys(overruling, "") | env).policy.effective(theft) is None


def test_problems_of_the_tuning_file_are_told_with_all_others(tmp_path: Path) -> None:
    """Settings and file are put right in one go."""
    path = _tuning(tmp_path, "[rules.model_theft]\ncount = 0\ncuont = 5")
    problems = _problems({"TUNING_FILE": str(path), "BUCKET_RETENTION_HOURS": "0"})
    assert [problem.split(": ")[0] for problem in problems] == [
        f"{path} [rules.model_theft], line 2",
        f"{path} [rules.model_theft], line 3",
        "BUCKET_RETENTION_HOURS is '0'",
    ]


def test_the_tuning_file_is_found_from_wherever_the_app_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path begins in the app's folder; the host's own folder is another one."""
    monkeypatch.chdir(tmp_path)
    assert _read({"TUNING_FILE": "detectors/tuning.toml"}) == _read()


def test_storage_can_be_read_alone() -> None:
    """For tools that need nothing else; its problems are told, and no others."""
    assert storage_from_env({"AzureWebJobsStorage__accountName": "store"}) == (
        "AzureWebJobsStorage",
        StorageConnection(table_endpoint="https://store.table.core.windows.net"),
    )
    assert storage_from_env({"BucketStorage": "UseDevelopmentStorage=true"})[0] == "BucketStorage"
    with pytest.raises(SettingsError) as raised:
        storage_from_env({"EVENT_HUB_NAME": "llm/logs"})
    (problem,) = raised.value.problems
    assert problem.startswith("AzureWebJobsStorage is not set")


def test_a_threshold_has_a_setting_derived_from_its_names() -> None:
    """Rule and threshold, upper case, two underscores between."""
    assert setting_of("model_theft", "response_length") == "MODEL_THEFT__RESPONSE_LENGTH"


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({"X__accountName": "store"}, "https://store.table.core.windows.net"),
        ({"X__tableServiceUri": "https://s.table.core.usgovcloudapi.net"}, "https://s.table.core.usgovcloudapi.net"),
        ({"X__tableServiceUri": "https://127.0.0.1:10002/store"}, "https://127.0.0.1:10002/store"),
        ({"X__accountName": "store", "X__tableServiceUri": "https://t.example/"}, "https://t.example/"),
        ({"X__accountName": "store", "X": "AccountName=a;AccountKey=b"}, "https://store.table.core.windows.net"),
    ],
)
@pytest.mark.parametrize("name", ["BucketStorage", "AzureWebJobsStorage"])
def test_storage_is_reached_by_identity(name: str, env: Mapping[str, str], endpoint: str) -> None:
    """By account name or address; a key beside it is not used."""
    named = {key.replace("X", name): value for key, value in env.items()}
    assert _read(named, without="AzureWebJobs").storage == StorageConnection(table_endpoint=endpoint)


def test_an_identity_can_be_chosen() -> None:
    """`__credential` asks for the managed identity alone, `__clientId` for a user-assigned one."""
    chosen = {"AzureWebJobsStorage__credential": "managedidentity", "AzureWebJobsStorage__clientId": CLIENT_ID}
    storage = _read(chosen).storage
    assert (storage.managed_identity, storage.client_id) == (True, CLIENT_ID)


def test_bucket_storage_wins_over_the_storage_of_the_app() -> None:
    """Whatever of it is set, nothing is mixed in from the other."""
    both = {"AzureWebJobsStorage__clientId": CLIENT_ID, "BucketStorage": "UseDevelopmentStorage=true"}
    assert _read(both).storage == StorageConnection(connection_string="UseDevelopmentStorage=true")
    problem, *others = _problems({"BucketStorage__credential": "managedidentity"})
    assert not others
    assert problem.startswith("BucketStorage is not set: give BucketStorage__tableServiceUri https://")


@pytest.mark.parametrize("text", ["store", "AccountKey=b2s=", "AccountName=store", "DefaultEndpointsProtocol=https"])
def test_what_is_no_connection_string_is_refused(text: str) -> None:
    """Found at start, not when the first batch comes."""
    (problem,) = _problems({"AzureWebJobsStorage": text}, without="AzureWebJobs")
    assert problem.startswith("AzureWebJobsStorage is no storage connection string")


@pytest.mark.parametrize("missing", sorted(INGESTION))
def test_the_ingestion_endpoint_and_its_rule_come_together(missing: str) -> None:
    """One without the other is a mistake; neither is a local run."""
    assert _read(INGESTION).ingestion_rule_id == INGESTION["LOGS_INGESTION_RULE_ID"]
    (problem,) = _problems({name: value for name, value in INGESTION.items() if name != missing})
    assert missing in problem
    assert "neither" in problem


@pytest.mark.parametrize(
    "value",
    [
        f"AccountName=s;AccountKey={SECRET};EndpointSuffix=core.windows.net",
        f"DefaultEndpointsProtocol=https;AccountName=s;AccountKey={SECRET}",
        f"Endpoint=sb://s/;SharedAccessKeyName=r;SharedAccessKey={SECRET}",
        f"https://s.table.core.windows.net/?sig={SECRET}",
        f"https://:{SECRET}@s.example/",
        SECRET,
    ],
)
def test_a_secret_is_never_shown_in_whichever_setting_it_stands(value: str) -> None:
    """A key pasted into the wrong setting would end up in a log."""
    names = {*_sample(), *INGESTION, *REQUIRED, *CONNECTIONS, *OVERRIDES, "MODEL_THEFT__COUNTS"}
    names |= {f"{base}__{key}" for base in CONNECTIONS for key in ("tableServiceUri", "credential", "clientId")}
    for name in sorted(names):
        try:
            shown = repr(_read({name: value}))
        except SettingsError as error:
            shown = f"{error} {error!r}"
        assert SECRET[:8] not in shown, name


def test_an_innocent_value_is_shown() -> None:
    """Whoever reads the message sees what was set."""
    assert "'llm logs'" in _problems({"EVENT_HUB_NAME": "llm logs"})[0]
    assert "300 characters" in _problems({"EVENT_HUB_NAME": "x" * 300})[0]


def test_the_sample_names_exactly_the_settings_that_are_read() -> None:
    """Both ways: none is missing, none is left over; a connection has several settings, and one of them will do."""
    asked: set[str] = set()
    for env in ({}, {"BucketStorage__credential": "managedidentity"}):
        recording = Recording(env)
        with suppress(SettingsError):
            Settings.from_env(recording)
        asked |= recording.asked
    of_the_host = {"FUNCTIONS_WORKER_RUNTIME"}
    assert {_base(name) for name in asked} == {_base(name) for name in _sample()} - of_the_host


def test_the_sample_is_valid_and_holds_the_defaults() -> None:
    """Leaving out what has a default changes nothing."""
    sample = _sample()
    settings = Settings.from_env(sample)
    with_default = set()
    for name in sample:
        with suppress(SettingsError):
            assert Settings.from_env({other: sample[other] for other in sample if other != name}) == settings, name
            with_default.add(name)
    required = {
        "EVENT_HUB_NAME",
        "EVENT_HUB_CONSUMER_GROUP",
        "EVALUATION_SCHEDULE",
        "EventHubConnection__fullyQualifiedNamespace",
        "AzureWebJobsStorage",
    }
    assert set(sample) - with_default == required
