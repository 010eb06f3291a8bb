"""Rules executed at each of their scheduled runs, over what the real pipeline posted."""

from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random

import pytest

from detectors.errors import PostingError
from detectors.evaluation.baseline import MemoryBaseline, Sighting
from detectors.rules.tally import ACCOUNT_SEEN
from tests.builders import START, bedrock, canonical_id, list_key, message
from tests.infra.kql import FINDINGS, HEALTH, SCHEMA, Deployment, Row, ScheduledRule, Workspace

pytestmark = pytest.mark.real

THEFT = ScheduledRule.load("model-theft.yaml")
SILENT = ScheduledRule.load("detector-silent.yaml")
QUIET = ScheduledRule.load("account-silent.yaml")
TICK = timedelta(seconds=45)
EVE, MALLORY, TRENT = (f"{number}e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6" for number in "123")


def at(minutes: float) -> datetime:
    """So many minutes after 08:00, the start of every test."""
    return START + timedelta(minutes=minutes)


def body(count: int, name: str = "aoai-prod", **fields: object) -> bytes:
    """Return a message with so many key listings of an account."""
    return message(*[list_key(name, **fields)] * count)  # type: ignore[arg-type]


@pytest.fixture
def workspace() -> Workspace:
    """Provide an empty workspace."""
    return Workspace()


@pytest.fixture
def deployment(workspace: Workspace) -> Deployment:
    """Provide a detector that posts into it."""
    return Deployment(workspace)


def tick_until(deployment: Deployment, first: int, last: int) -> None:
    """Tick every ten minutes."""
    for minute in range(first, last + 1, 10):
        deployment.tick(at(minute) + TICK)


def alerts(workspace: Workspace, until: float, *, phase: float = 2) -> list[tuple[str, str]]:
    """Status and resource of every alert of model theft; the rule runs every five minutes from `phase` on."""
    runs = THEFT.runs(workspace, at(phase), at(until))
    return [(row["Status"], row["ResourceName"]) for _, row in runs]


@pytest.mark.parametrize("phase", [0, 4.99])
def test_a_long_episode_alerts_once_and_once_more_each_time_it_escalates(
    deployment: Deployment, workspace: Workspace, phase: float
) -> None:
    """At whatever moment the runs begin."""
    for bucket in range(20):
        deployment.receive(at(10 * bucket + 1), body(25 if bucket < 13 else 60 if bucket < 16 else 150))
        deployment.tick(at(10 * bucket + 10) + TICK)
    tick_until(deployment, 210, 270)
    statuses = [row["Status"] for row in deployment.posting.rows(FINDINGS)]
    assert (len(statuses), statuses.count("New"), statuses.count("Escalated")) == (23, 1, 2)
    found = alerts(workspace, 300, phase=phase)
    assert found == [("New", "aoai-prod"), ("Escalated", "aoai-prod"), ("Escalated", "aoai-prod")]


def test_accounts_alert_apart(deployment: Deployment, workspace: Workspace) -> None:
    """Two episodes at once are two alerts, and a quiet account is none."""
    for name, count in [("one", 100), ("two", 130), ("quiet", 99)]:
        deployment.receive(at(1), body(count, name))
    tick_until(deployment, 10, 80)
    assert sorted(alerts(workspace, 100)) == [("New", "one"), ("New", "two")]


def test_rows_that_are_posted_again_alert_no_one_again(deployment: Deployment, workspace: Workspace) -> None:
    """The endpoint took the rows and its answer was lost, twice; each time the window is evaluated anew."""
    deployment.receive(at(1), body(120))
    for failing in (10, 20):
        deployment.posting.fails = 1
        with pytest.raises(PostingError):
            deployment.tick(at(failing) + TICK)
    deployment.receive(at(31), body(120))
    tick_until(deployment, 30, 40)
    deployment.posting.fails = 1
    with pytest.raises(PostingError):
        deployment.tick(at(50) + TICK)
    tick_until(deployment, 60, 120)
    statuses = [row["Status"] for row in deployment.posting.rows(FINDINGS)]
    assert statuses.count("New") == 3
    assert alerts(workspace, 150) == [("New", "aoai-prod"), ("Escalated", "aoai-prod")]


def test_windows_that_are_evaluated_again_alert_no_one_again(deployment: Deployment, workspace: Workspace) -> None:
    """A batch counted hours late posts every row of its windows anew."""
    deployment.receive(at(1), body(120))
    tick_until(deployment, 10, 100)
    deployment.receive(at(2), body(10))
    tick_until(deployment, 110, 120)
    assert [row["Status"] for row in deployment.posting.rows(FINDINGS)].count("New") == 2
    assert alerts(workspace, 140) == [("New", "aoai-prod")]


def test_a_batch_counted_hours_late_alerts_when_it_is_counted(deployment: Deployment, workspace: Workspace) -> None:
    """Its windows are hours old; their rows are not."""
    deployment.receive(at(1), body(60))
    tick_until(deployment, 10, 180)
    deployment.receive(at(2), body(60))
    tick_until(deployment, 190, 210)
    runs = THEFT.runs(workspace, at(152), at(240))
    assert [(seen - START, row["WindowEnd"]) for seen, row in runs] == [(timedelta(minutes=197), at(10))]


def test_an_episode_found_to_have_begun_earlier_alerts_no_one_again(
    deployment: Deployment, workspace: Workspace
) -> None:
    """Its first window is another one now, with a finding of its own."""
    deployment.receive(at(1), body(60))
    deployment.receive(at(11), body(60))
    tick_until(deployment, 10, 40)
    deployment.receive(at(2), body(40))
    tick_until(deployment, 50, 120)
    news = {(row["WindowEnd"], row["EpisodeId"]) for row in deployment.posting.rows(FINDINGS) if row["Status"] == "New"}
    assert (len(news), len({episode for _, episode in news})) == (2, 1)
    assert alerts(workspace, 150) == [("New", "aoai-prod")]


def test_two_episodes_that_turn_out_to_be_one_alert_no_one_again(deployment: Deployment, workspace: Workspace) -> None:
    """Both were alerted on; the gap between them is filled later."""
    deployment.receive(at(1), body(120))
    deployment.receive(at(91), body(120))
    tick_until(deployment, 10, 180)
    deployment.receive(at(59), body(120))
    tick_until(deployment, 190, 240)
    newest = {row["FindingId"]: row["EpisodeId"] for row in deployment.posting.rows(FINDINGS)}
    assert len(set(newest.values())) == 1
    found = alerts(workspace, 270)
    assert found[:2] == [("New", "aoai-prod")] * 2
    assert found.count(("New", "aoai-prod")) == 2


def test_an_outage_that_is_caught_up_alerts_once_for_an_episode(deployment: Deployment, workspace: Workspace) -> None:
    """New and Escalated come in one run, which says the latest."""
    deployment.tick(at(0))
    for bucket in range(9):
        deployment.receive(at(10 * bucket + 1), body(40))
    tick_until(deployment, 90, 90)
    assert {row["Status"] for row in deployment.posting.rows(FINDINGS)} == {"New", "Ongoing", "Escalated"}
    assert alerts(workspace, 130) == [("Escalated", "aoai-prod")]


@pytest.mark.parametrize("delay", [4.5, 14, 200, -1])
def test_rows_alert_whenever_they_are_ingested(deployment: Deployment, workspace: Workspace, delay: float) -> None:
    """A run owns rows by the time they came in, not by the time they are of; the detector's clock may be fast."""
    deployment.posting.delay = timedelta(minutes=delay)
    deployment.receive(at(1), body(120))
    tick_until(deployment, 10, 80)
    found = alerts(workspace, 80 + delay, phase=max(delay, 0))
    assert found == [("New", "aoai-prod")]


def test_a_window_evaluated_again_a_day_later_alerts_no_one_again(deployment: Deployment, workspace: Workspace) -> None:
    """The look-back reaches what the detector still evaluates."""
    deployment.receive(at(1), body(120))
    tick_until(deployment, 10, 80)
    tick_until(deployment, 23 * 60, 23 * 60 + 50)
    deployment.receive(at(2), body(1))
    tick_until(deployment, 24 * 60, 24 * 60)
    assert [row["Status"] for row in deployment.posting.rows(FINDINGS)].count("New") == 2
    assert [row for _, row in THEFT.runs(workspace, at(24 * 60 - 10), at(24 * 60 + 30))] == []


def test_an_episode_older_than_the_look_back_goes_on_silently(deployment: Deployment, workspace: Workspace) -> None:
    """Its first row is out of sight after two days, and nobody hears of it again."""
    for bucket in range(49 * 6):
        deployment.receive(at(10 * bucket + 1), body(20))
        deployment.tick(at(10 * bucket + 10) + TICK)
    assert {row["Status"] for row in deployment.posting.rows(FINDINGS)} == {"New", "Ongoing"}
    assert [row for _, row in THEFT.runs(workspace, at(47.5 * 60), at(48.5 * 60))] == []


@pytest.mark.parametrize("seed", range(2))
def test_no_alert_comes_twice_whatever_happens(deployment: Deployment, workspace: Workspace, seed: int) -> None:
    """Late counts, missed ticks, lost answers; every episode that readers see in the end was alerted on."""
    rng = Random(seed)
    waiting = [(bucket, rng.choice([0, 0, 0, 45]), rng.choice([0, 20, 45, 120])) for bucket in range(18)]
    for tick in range(1, 30):
        for bucket, late, count in [one for one in waiting if one[0] * 10 + one[1] < tick * 10]:
            waiting.remove((bucket, late, count))
            deployment.receive(at(10 * bucket + 1), body(count))
        deployment.posting.fails = rng.choice([0, 0, 0, 1])
        if rng.random() < 0.8 or tick > 26:
            with suppress(PostingError):
                deployment.tick(at(10 * tick) + TICK)
    deployment.posting.fails = 0
    tick_until(deployment, 300, 310)
    rows = [row for _, row in THEFT.runs(workspace, at(rng.random() * 5), at(330))]
    occasions = Counter((row["Status"], row["EpisodeId" if row["Status"] == "New" else "FindingId"]) for row in rows)
    assert set(occasions.values()) <= {1}
    newest = {row["FindingId"]: row["EpisodeId"] for row in deployment.posting.rows(FINDINGS)}
    assert {row["EpisodeId"] for row in rows} >= set(newest.values())


def test_an_alert_says_what_happened_and_to_whom(deployment: Deployment, workspace: Workspace) -> None:
    """Numbers in the text, the account and its callers as entities, and no entity for whom nobody can name."""
    for caller, count in [(EVE, 60), (MALLORY, 40), ("", 5)]:
        deployment.receive(at(1), body(count, caller=caller, responseLength=1_500_000))
    tick_until(deployment, 10, 10)
    ((_, row),) = THEFT.runs(workspace, at(14), at(14), worded=True)
    assert row["Title"] == "Potential Azure OpenAI Model Theft on aoai-prod"
    assert row["Summary"] == (
        "Key listings: 105 (fires at 100); Bytes in one response: 1500000 (fires at 1000000). Between "
        "2026-11-23 07:10 and 08:10 UTC, by arrival; in each ten minutes: 0, 0, 0, 0, 0, 105. "
        f"Callers: {EVE} (60), {MALLORY} (40), unknown (5)."
    )
    assert (row["ResourceId"], row["Severity"], row["RiskScore"]) == (canonical_id(), "Medium", 47)
    assert [row["Caller1"], row["Caller2"], row["Caller3"]] == [EVE, MALLORY, ""]
    assert (row["EventCount"], row["MaxResponseLength"], row["AtlasTechniques"]) == (105, 1_500_000, "AML.T0044, LLM10")


HOSTILE = """"']}); LlmDetectorHealth_CL | take 1 // {{Title}} <b>x</b> %27 \\"""
"""What would end a text, a call or a query, if names became part of one."""


def test_a_name_that_looks_like_a_query_stays_a_name(deployment: Deployment, workspace: Workspace) -> None:
    """Whoever can send logs chooses it. The other account's alert is as it would be."""
    deployment.receive(at(1), body(105, caller=HOSTILE))
    deployment.receive(at(1), body(105, "another"))
    tick_until(deployment, 10, 10)
    rows = {row["ResourceName"]: row for _, row in THEFT.runs(workspace, at(14), at(14), worded=True)}
    assert rows.keys() == {"aoai-prod", "another"}
    assert rows["aoai-prod"]["Caller1"] == HOSTILE
    assert rows["aoai-prod"]["Summary"].endswith(f"Callers: {HOSTILE} (105).")
    assert "LlmDetectorHealth_CL" not in str(rows["another"])


def finding(minutes: float, **columns: object) -> Row:
    """Return a row of an episode, as far as the rule needs it."""
    return dict.fromkeys(SCHEMA[FINDINGS]) | {
        "TimeGenerated": at(minutes).isoformat(),
        "EpisodeId": "episode",
        "RuleId": "model_theft",
        "RuleName": "Theft",
        "ResourceName": "aoai",
        "Severity": "High",
        "WindowStart": at(minutes - 60).isoformat(),
        "WindowEnd": at(minutes).isoformat(),
        "Triggers": [{"Name": "response_length", "Measure": "", "Value": 2_000_000, "Threshold": 1_000_000}],
        "Callers": [],
        "CallersTruncated": False,
        "BucketCounts": [0, 0, 0, 0, 0, 12],
        "Techniques": [],
        **columns,
    }


def test_a_masked_address_is_named_and_is_no_entity(workspace: Workspace) -> None:
    """A caller without an object id, and more callers than the text has room for."""
    people = [(EVE, ""), ("", "81.2.69.***"), (TRENT, ""), (MALLORY, "")]
    callers = [{"ObjectId": who, "IpAddress": where, "Count": 3} for who, where in people]
    workspace.add(FINDINGS, [finding(10, FindingId="first", Status="Escalated", Callers=callers)], at(10))
    ((_, row),) = THEFT.runs(workspace, at(14), at(14), worded=True)
    assert (row["Title"], row["Severity"]) == ("Escalated: Theft on aoai", "High")
    assert row["TopCallers"] == f"{EVE} (3), 81.2.69.*** (3), {TRENT} (3) and others"
    assert [row["Caller1"], row["Caller2"], row["Caller3"]] == [EVE, "", TRENT]
    assert row["Summary"].startswith("Bytes in one response: 2000000 (fires at 1000000). Between")


def watch(workspace: Workspace, first: float, until: float) -> list[tuple[float, str]]:
    """Minute and condition of every alert of the health rule."""
    runs = SILENT.runs(workspace, at(first), at(until))
    return [((seen - START) / timedelta(minutes=1), row["Condition"]) for seen, row in runs]


def test_a_healthy_detector_raises_no_alarm(deployment: Deployment, workspace: Workspace) -> None:
    """Also when heartbeats take minutes to come in."""
    deployment.posting.delay = timedelta(minutes=6)
    for bucket in range(26):
        deployment.receive(at(10 * bucket + 1), body(1))
        deployment.tick(at(10 * bucket + 10) + TICK)
    assert watch(workspace, 31, 260) == []


def test_silence_alerts_when_it_begins_and_each_morning(deployment: Deployment, workspace: Workspace) -> None:
    """Half an hour after the last heartbeat; then at 08:00, which is 1,440 minutes after the start."""
    deployment.receive(at(1), body(1))
    tick_until(deployment, 10, 120)
    assert watch(workspace, 21, 210) == [(151, "no heartbeat")]
    assert watch(workspace, 1421, 1481) == [(1441, "no heartbeat")]
    ((_, row),) = SILENT.runs(workspace, at(151), at(151), worded=True)
    assert (row["Severity"], row["LastHeartbeat"]) == ("High", at(120) + TICK)
    assert row["Summary"].startswith("The last heartbeat is of 2026-11-23 10:00 UTC")


def test_a_detector_that_never_spoke_is_noticed(workspace: Workspace) -> None:
    """Once a day: there is no beginning."""
    assert watch(workspace, 1, 61) == [(1, "no heartbeat")]
    assert watch(workspace, 1431, 1471) == [(1441, "no heartbeat")]
    ((_, row),) = SILENT.runs(workspace, at(1), at(1), worded=True)
    assert row["Summary"].startswith("There is no heartbeat in the last two days")


def test_a_hub_without_records_for_a_day_is_noticed(deployment: Deployment, workspace: Workspace) -> None:
    """Heartbeats go on; the last record, of AWS, left its window at 09:00, 60 minutes after the start."""
    deployment.receive(at(1), message(bedrock()))
    tick_until(deployment, 10, 27 * 60)
    assert watch(workspace, 31, 91) == []
    assert watch(workspace, 24 * 60 + 21, 27 * 60) == [(25 * 60 + 1, "no records")]
    ((_, row),) = SILENT.runs(workspace, at(25 * 60 + 1), at(25 * 60 + 1), worded=True)
    assert (row["Severity"], row["LastRecords"]) == ("Medium", at(60))


def test_accounts_that_never_rest_are_missed_after_a_day(workspace: Workspace) -> None:
    """Once when it begins, and each morning, which is 2,880 minutes after the start."""
    deployment = Deployment(workspace, baseline=used_all_the_time("first", "second"))
    deployment.receive(at(1), body(1, "first"))
    tick_until(deployment, 10, 49 * 60)
    hours = [(1, 3), (23, 26), (47, 49)]
    runs = [run for first, last in hours for run in watch(workspace, 60 * first + 1, 60 * last)]
    assert [moment for moment, condition in runs if condition == "no records"] == [24 * 60 + 21, 48 * 60 + 1]


def test_the_weekend_of_an_office_is_no_silence(workspace: Workspace) -> None:
    """Accounts that rested for 63 hours before may do so again; after 95 hours the logs are missed."""
    baseline = MemoryBaseline()
    for day in range(-10, 1):  # from a Friday on, to this Monday
        for hour in range(10) if (at(0) + timedelta(days=day)).weekday() < 5 else ():
            moment = at(24 * 60 * day + 60 * hour)
            baseline.find_newcomers([Sighting(ACCOUNT_SEEN, (canonical_id(),), moment)], moment + timedelta(minutes=10))
    deployment = Deployment(workspace, baseline=baseline)
    last_hour = 9 * 60
    tick_until(deployment, last_hour + 46 * 60, last_hour + 96 * 60)
    rested = [(47, 49), (62, 65), (71, 73), (94, 96)]
    runs = [run for first, last in rested for run in watch(workspace, last_hour + 60 * first, last_hour + 60 * last)]
    assert runs == [(last_hour + 95 * 60 + 20, "no records")]


def test_late_counting_is_noticed_once(deployment: Deployment, workspace: Workspace) -> None:
    """It lasts two hours, and six windows each see it; the next time is another alert."""
    for bucket in [*range(12), 30]:
        deployment.now = at(10 * bucket + 25)
        deployment.receive(at(10 * bucket + 1), body(1))
        deployment.tick(at(10 * bucket + 30) + TICK)
    tick_until(deployment, 340, 420)
    tick_until(deployment, 150, 150)
    found = [minute for minute, condition in watch(workspace, 21, 420) if condition == "counting is late"]
    assert len(found) == 2
    ((_, row),) = SILENT.runs(workspace, at(found[0]), at(found[0]), worded=True)
    assert (row["Severity"], row["MaxLagSeconds"]) == ("Low", 1440.0)


def test_skipped_windows_are_noticed_once(deployment: Deployment, workspace: Workspace) -> None:
    """An outage of three days, whose first window is evaluated twice as its rows' answer is lost."""
    deployment.receive(at(1), body(1))
    tick_until(deployment, 10, 10)
    three_days = 3 * 24 * 60
    deployment.posting.fails = 1
    with pytest.raises(PostingError):
        deployment.tick(at(three_days) + TICK)
    tick_until(deployment, three_days + 10, three_days + 60)
    beats = [row["WindowsSkipped"] for row in deployment.posting.rows(HEALTH) if row["WindowsSkipped"]]
    assert len(beats) == 2
    found = [row for _, row in SILENT.runs(workspace, at(three_days - 9), at(three_days + 60))]
    skipped = [row["WindowsSkipped"] for row in found if row["Condition"] == "windows skipped"]
    assert skipped == beats[1:]


def test_the_alarm_text_is_there_for_every_condition(workspace: Workspace) -> None:
    """No condition falls through to another one's words."""
    beat = dict.fromkeys(SCHEMA[HEALTH]) | {
        "TimeGenerated": at(0).isoformat(),
        "WindowEnd": at(-24 * 60).isoformat(),
        "Records": 5,
        "MaxLagSeconds": 700.4,
        "WindowsSkipped": 3,
    }
    workspace.add(HEALTH, [beat], at(0))
    rows: dict[str, Row] = {row["Condition"]: row for _, row in SILENT.runs(workspace, at(6), at(6), worded=True)}
    assert rows["counting is late"]["Summary"].startswith("Records were counted up to 700 seconds after")
    assert rows["windows skipped"]["Summary"].startswith("3 windows of an hour were never evaluated")
    assert rows["no records"]["Summary"].startswith("The detector runs, but no log record has come since")


def used_all_the_time(*names: str) -> MemoryBaseline:
    """Return the memory of accounts that logged in every hour of the nine days before."""
    baseline = MemoryBaseline()
    for hour in range(-9 * 24, 0):
        sightings = [Sighting(ACCOUNT_SEEN, (canonical_id(name),), at(60 * hour)) for name in names]
        baseline.find_newcomers(sightings, at(60 * hour + 10))
    return baseline


def test_an_account_that_stops_logging_is_noticed_once(workspace: Workspace) -> None:
    """A day after its last record, since it rested for no more than an hour before; the other account goes on."""
    deployment = Deployment(workspace, baseline=used_all_the_time("first", "second"))
    deployment.receive(at(1), message(list_key("first"), list_key("second")))
    for hour in range(27):
        deployment.receive(at(60 * hour + 2), message(list_key("second")))
        for tick in range(1, 7):
            deployment.tick(at(60 * hour + 10 * tick) + TICK)
    alerts = QUIET.runs(workspace, at(21 * 60 + 1), at(27 * 60), worded=True)
    assert [((seen - START) / timedelta(minutes=1), row["ResourceName"]) for seen, row in alerts] == [
        (24 * 60 + 21, "first")
    ]
    assert alerts[0][1]["Summary"] == (
        "No log record of this account has arrived since 2026-11-23 08:00 UTC, while those of others do. It used to "
        "rest for 1 hours at most."
    )
    assert alerts[0][1]["Severity"] == "Medium"


def test_no_account_is_blamed_when_nothing_arrives_at_all(workspace: Workspace) -> None:
    """Neither while the detector is silent nor while the hub is: the other rule alerts."""
    deployment = Deployment(workspace, baseline=used_all_the_time("first", "second"))
    deployment.receive(at(1), message(list_key("first"), list_key("second")))
    tick_until(deployment, 10, 120)
    tick_until(deployment, 24 * 60, 27 * 60)
    assert {row["OtherSilentAccounts"] for row in deployment.posting.rows(HEALTH)} == {0}
    assert QUIET.runs(workspace, at(24 * 60 + 21), at(27 * 60)) == []
