"""The workbook: its queries are sound, show what the detector posted, and its parts fit together."""

import json
import re
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from detectors.evaluation.policy import Policy
from detectors.evaluation.suppressions import Scope, SuppressionRule
from detectors.rules.catalogue import BY_ID
from tests.builders import PIPELINE, ROLE_ARN, START, USER_ARN, canonical_id, chat, list_key, message
from tests.infra.attacks import ATTACKS, SWEEPER, TICK
from tests.infra.kql import FINDINGS, HEALTH, SCHEMA, SENTINEL, Analysis, Deployment, Row, Workspace, analyse

pytestmark = pytest.mark.real

ITEMS: list[Row] = json.loads((SENTINEL / "workbook.json").read_text())["items"]
PARAMETERS = {parameter["name"]: parameter for item in ITEMS for parameter in item["content"].get("parameters", [])}
PARTS = {item["name"]: item["content"] for item in ITEMS if "query" in item["content"]}
NOW = START + timedelta(hours=5, minutes=5)


def substituted(text: str, *, accounts: str = "'*'", rules: str = "'*'", episode: str = "") -> str:
    """Return a query as the workbook sends it."""
    values = {"{Accounts}": accounts, "{Rules}": rules, "{TimeRange:grain}": "30m", "{Episode}": episode}
    for name, value in values.items():
        text = text.replace(name, value)
    return text


@pytest.fixture(scope="module")
def analyses() -> dict[str, Analysis]:
    """Provide what the language service says of every query, those of parameters too."""
    texts = {name: part["query"] for name, part in (PARTS | PARAMETERS).items() if "query" in part}
    return analyse({name: substituted(text) for name, text in texts.items()})


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    """Three accounts in four hours: one attacked for an hour, one at the end, and one not at all; a tick is missed."""
    deployment = Deployment(Workspace())
    for minute in range(0, 300, 10):
        name, count = ("first", 30) if 30 <= minute < 90 else ("second", 120) if minute == 270 else ("quiet", 3)
        arrived = START + timedelta(minutes=minute + 1)
        deployment.receive(arrived, message(*[list_key(name)] * count))
        if minute == 200:
            deployment.receive(arrived, b"no log record")
            deployment.receive(arrived, message(chat()))
        if minute not in {210, 220}:
            deployment.tick(START + timedelta(minutes=minute + 10, seconds=45))
    return deployment


def show(deployment: Deployment, name: str, **parameters: str) -> list[Row]:
    """Return what a part of the workbook shows, over the last day."""
    text = substituted((PARTS | PARAMETERS)[name]["query"], **parameters)
    return deployment.posting.workspace.query(text, NOW, period=timedelta(days=1))


def named_columns(part: Row) -> Iterator[str]:
    """Yield the columns that a part's settings name."""
    chart, tiles = part.get("chartSettings", {}), part.get("tileSettings", {})
    yield from (chart[name] for name in ("xAxis", "group") if name in chart)
    yield from chart.get("yAxis", [])
    yield from (tiles[name]["columnMatch"] for name in tiles if name.endswith("Content"))
    yield from (formatter["columnMatch"] for formatter in part.get("gridSettings", {}).get("formatters", []))
    if "exportFieldName" in part:
        yield part["exportFieldName"]


def test_queries_have_no_problems(analyses: dict[str, Analysis]) -> None:
    """With every parameter substituted."""
    assert {name: answer.problems for name, answer in analyses.items() if answer.problems} == {}


def test_settings_name_columns_of_the_result(analyses: dict[str, Analysis]) -> None:
    """A chart whose axis does not exist is an empty box."""
    lost = {name: set(named_columns(part)) - analyses[name].columns.keys() for name, part in PARTS.items()}
    assert {name: columns for name, columns in lost.items() if columns} == {}


def test_parameters_are_defined_and_used() -> None:
    """Nothing in braces is left over, and every query keeps to the chosen time."""
    used = set(re.findall(r"{(\w+)(?::\w+)?}", " ".join(part["query"] for part in PARTS.values())))
    exported = {part["exportParameterName"] for part in PARTS.values() if "exportParameterName" in part}
    assert used | {"TimeRange"} == PARAMETERS.keys()
    assert exported <= PARAMETERS.keys()
    assert {part["timeContextFromParameter"] for part in PARTS.values()} == {"TimeRange"}


def test_every_reader_of_findings_takes_the_newest_row() -> None:
    """Posting is at least once; a subquery reads them too."""
    for name, part in PARTS.items():
        reads = part["query"].count(FINDINGS)
        assert part["query"].count("arg_max(TimeGenerated, *) by FindingId") == reads, name


def test_names_are_unique_and_every_part_has_its_title() -> None:
    """The portal saves parts by name."""
    names = [item["name"] for item in ITEMS]
    assert len(set(names)) == len(names)
    assert all(part["title"] for part in PARTS.values())


def test_open_episodes_come_first(deployment: Deployment) -> None:
    """With their numbers, and the number at which they fire."""
    rows = show(deployment, "episodes")
    shown = [(row["State"], row["Where"], row["Alerts"], row["MostAtOnce"], row["FiresAt"]) for row in rows]
    assert shown == [("open", "second", 1, 120, 100), ("closed", "first", 1, 180, 100)]
    assert {row["FiredBy"] for row in rows} == {"count"}


def test_the_pace_is_of_the_newest_episode_or_of_the_chosen_one(deployment: Deployment) -> None:
    """Counts of ten minutes stand at their end; the hour and its threshold at the window's."""
    chosen = show(deployment, "episodes")[1]["EpisodeId"]
    by_series: dict[str, list[tuple[int, int]]] = {}
    for row in show(deployment, "pace", episode=chosen):
        minute = (row["Time"] - START) // timedelta(minutes=1)
        by_series.setdefault(row["Series"], []).append((minute, row["Count"]))
    assert [point for point in by_series["in ten minutes"] if point[1]] == [(m, 30) for m in range(40, 91, 10)]
    assert max(by_series["in the last hour"], key=lambda point: point[1]) == (90, 180)
    assert {count for _, count in by_series["fires at"]} == {100}
    newest = show(deployment, "pace")
    assert max(row["Count"] for row in newest) == 120


def test_the_tiles_say_how_things_stand(deployment: Deployment) -> None:
    """Open episodes as the heartbeat counts them, and the age of that heartbeat."""
    tiles = {row["Name"]: (row["Value"], row["Note"]) for row in show(deployment, "now")}
    beat = deployment.posting.rows(HEALTH)[-1]
    assert tiles["Open episodes"] == (beat["OpenEpisodes"], "still firing; an exception explains 0")
    assert beat["OpenEpisodes"] == 1
    assert tiles["Alerts"][0] == 2
    assert tiles["Minutes since the last heartbeat"][0] == 5
    assert tiles["Records in the last hour"][0] == beat["Records"]
    assert tiles["Key listings with a response length"] == (0, "of 369; at 0 only the count can fire")


def test_health_is_shown_without_counting_anything_twice(deployment: Deployment) -> None:
    """Windows overlap; the hours shown do not. A gap is seen as one."""
    records = show(deployment, "records")
    assert [row["Records"] for row in records] == [99, 99, 18, 20, 135]
    assert show(deployment, "quarantine") == [{"Reason": "not_json", "Records": 1}]
    heartbeats = [row["Heartbeats"] for row in show(deployment, "heartbeats")]
    assert heartbeats == [5, 6, 6, 4, 8, 1]
    (partition,) = show(deployment, "partitions")
    assert (partition["Hub"], partition["Partition"], partition["LastSequence"]) == ("llm-logs", "0", 32)
    assert len(show(deployment, "lag")) == 30


def test_findings_and_callers_follow_the_choice_of_accounts(deployment: Deployment) -> None:
    """All of them, or the one that was chosen."""
    newest = {row["FindingId"]: row for row in deployment.posting.rows(FINDINGS)}
    assert sum(row["Findings"] for row in show(deployment, "findings")) == len(newest)
    (second,) = {row["ResourceId"] for row in newest.values() if row["ResourceName"] == "second"}
    of_second = show(deployment, "findings", accounts=f"'{second}'")
    assert sorted((row["Status"], row["Findings"]) for row in of_second) == [("New", 1), ("Ongoing", 1), ("Ongoing", 1)]
    assert [row["MostAtOnce"] for row in show(deployment, "callers")] == [180]
    assert [row["MostAtOnce"] for row in show(deployment, "callers", accounts=f"'{second}'")] == [120]


ROLES = ROLE_ARN.removesuffix("app-prod")

FIRING = {rule_id for rule_id in ATTACKS if not BY_ID[rule_id].first_seen_only}
"""Rules that need no days of learning."""


@pytest.fixture(scope="module")
def every_rule() -> Deployment:
    """Each rule that learns nothing fires at 08:01 and again at 08:31; exceptions explain one, and one has expired."""
    known = SuppressionRule(Scope("insecure_output"), frozenset(), "Load test.", "platform team", date(2026, 12, 1))
    gone = SuppressionRule(Scope("model_theft"), frozenset({PIPELINE}), "Rotates keys.", "key team", date(2026, 11, 1))
    deployment = Deployment(Workspace(), Policy(suppression_rules=[known, gone]))
    deployment.tick(START + TICK)
    for minute in (1, 31):
        for attack in ATTACKS.values():
            deployment.receive(START + timedelta(minutes=minute), message(*attack(minute)))
        for late in (9, 19, 29):
            deployment.tick(START + timedelta(minutes=minute + late) + TICK)
    return deployment


def test_episodes_are_counted_by_rule(every_rule: Deployment) -> None:
    """With what was alerted on, and what exceptions kept quiet."""
    shown = {row["Rule"]: row for row in show(every_rule, "rules")}
    fired = [BY_ID[rule_id].name for rule_id in FIRING]
    assert shown.keys() == set(fired)
    assert {(row["Episodes"], row["Open"]) for row in shown.values()} == {(1, 1)}
    quiet = BY_ID["insecure_output"].name
    assert {name: (row["Alerts"], row["Suppressed"]) for name, row in shown.items()} == {
        name: (0, 1) if name == quiet else (2, 0) for name in fired
    }


def test_an_episode_says_where_it_is_and_what_fired(every_rule: Deployment) -> None:
    """An Azure account, a role of AWS, or a caller of many accounts; what is suppressed comes after what is open."""
    shown = [(row["State"], row["Where"], row["FiredBy"], row["FiresAt"]) for row in show(every_rule, "episodes")]
    assert shown[-1] == ("suppressed", "probed", "count", 10)
    assert sorted(shown[:-1], key=str) == [
        ("open", SWEEPER, "accounts", None),
        ("open", "aoai-prod", "count", 20),
        ("open", "aoai-prod", "count", 50),
        ("open", ROLE_ARN, "count", 1),
        ("open", ROLE_ARN, "count", 4),
        ("open", ROLE_ARN, "count", 4),
        ("open", f"{ROLES}explorer", "models", None),
        ("open", f"{ROLES}intruder", "count", 1),
        ("open", f"{ROLES}intruder", "count", 1),
        ("open", f"{ROLES}prober", "count", 4),
        ("open", f"{ROLES}spender", "count, input_tokens", 11),
        ("open", f"{ROLES}visitors", "count", 6),
        ("open", "blinded", "count", 1),
        ("open", "drained", "response_length", None),
        ("open", "flooded", "count, request_length", 10),
        ("open", "stolen", "count", 100),
    ]


def test_the_choice_of_a_rule_or_of_a_user_is_kept_to(every_rule: Deployment) -> None:
    """In every part that reads findings; a user of AWS can be chosen as an account can."""
    assert {row["value"] for row in show(every_rule, "Rules")} == FIRING
    chosen = [row["value"] for row in show(every_rule, "Accounts")]
    assert {ROLE_ARN, SWEEPER} < set(chosen)
    assert len(chosen) == len(set(chosen))
    assert [row["Where"] for row in show(every_rule, "episodes", rules="'denial_of_service'")] == ["flooded"]
    assert {row["Where"] for row in show(every_rule, "episodes", accounts=f"'{ROLE_ARN}'")} == {ROLE_ARN}
    assert [row["Caller"] for row in show(every_rule, "callers", rules="'bedrock_denied_models'")] == [USER_ARN]


def test_the_pace_of_minutes_is_shown_by_minute(every_rule: Deployment) -> None:
    """Its windows of ten minutes say nothing about it."""
    points = show(every_rule, "pace", rules="'denial_of_service'")
    assert [((row["Time"] - START) // timedelta(minutes=1), row["Series"], row["Count"]) for row in points] == [
        (1, "fires at", 10),
        (1, "in the minute", 13),
        (31, "fires at", 10),
        (31, "in the minute", 43),
    ]


def test_what_exceptions_explain_and_which_have_expired_is_shown(every_rule: Deployment) -> None:
    """With their owners, who have to renew or delete them."""
    (explained,) = show(every_rule, "suppressed")
    assert (explained["Where"], explained["Reason"], explained["Owner"]) == ("probed", "Load test.", "platform team")
    assert (explained["Expires"], explained["Episodes"], explained["Findings"]) == ("2026-12-01", 1, 6)
    (expired,) = show(every_rule, "expired")
    assert expired == {
        "Rule": "model_theft",
        "Resource": "*",
        "Callers": 1,
        "Owner": "key team",
        "Expires": "2026-11-01",
    }


def test_no_exception_has_expired_where_there_is_none(deployment: Deployment) -> None:
    """An empty list is no row."""
    assert show(deployment, "expired") == []
    assert show(deployment, "suppressed") == []


def test_the_records_of_each_rule_are_counted_once(every_rule: Deployment) -> None:
    """Of the windows that end with the hour, with those that carried a response length."""
    rows = {row["RuleId"]: (row["Records"], row["WithResponseLength"]) for row in show(every_rule, "selected")}
    beat = every_rule.posting.rows(HEALTH)[-1]
    assert rows == {one["RuleId"]: (one["Records"], one["WithLength"]) for one in beat["SelectedByRule"]}
    assert rows.keys() == ATTACKS.keys()
    assert (rows["model_theft"], rows["new_key_lister"]) == ((130 + 430 + 2 + 2, 0), (130 + 430 + 2 + 2, 0))
    assert rows["insecure_output"] == (11 + 41, 52)


def test_silent_accounts_and_records_of_no_known_log_are_shown() -> None:
    """Of the newest heartbeat those, and these of all hours."""
    deployment = Deployment(Workspace())
    account = {"ResourceId": canonical_id("cut"), "LastSeen": START.isoformat(), "UsualGapHours": 3}
    for hour, silent in ((1, [account, account]), (2, [account])):
        shapes = [{"Fields": "host, line", "Records": 4}]
        row = dict.fromkeys(SCHEMA[HEALTH]) | {"SilentAccounts": silent, "UnknownRecords": shapes}
        end = (START + timedelta(hours=hour)).isoformat()
        deployment.posting.workspace.add(HEALTH, [row | {"TimeGenerated": end, "WindowEnd": end}], START)
    assert show(deployment, "silent") == [{"Account": canonical_id("cut"), "LastSeen": START, "UsualGapHours": 3}]
    assert show(deployment, "unknown") == [
        {"Fields": "host, line", "Records": 8, "LastSeen": START + timedelta(hours=2)}
    ]
