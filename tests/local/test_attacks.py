"""Each rule's attack and look-alike, and what is known, in the messages of a small day."""

from collections import Counter, defaultdict
from datetime import timedelta
from functools import cache

import pytest

from detectors.rules.catalogue import CATALOGUE
from detectors.rules.rule import Rule
from detectors.sources.catalogue import BY_NAME
from local.expected_findings import TUNING, Row
from local.traffic import Message, Scenario
from tests import oracle
from tests.local.days import Record, day, expected_of, is_reading, properties, records

SCENARIO = Scenario(records=5_000, malformed=0)
each_rule = pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: str(rule.id))
type Found = list[tuple[Message, Record]]


@cache
def _by_subject() -> dict[str, Found]:
    found: dict[str, Found] = defaultdict(list)
    for message, record in records(day(SCENARIO)[0]):
        for subject in _whom(record):
            found[subject].append((message, record))
    return found


def about(subject: str) -> Found:
    """Return the records of an account, of a caller of one, or of whoever calls AWS."""
    return _by_subject()[subject]


def _whom(record: Record) -> set[str]:
    arn = str((record.get("userIdentity") or record.get("identity") or {}).get("arn"))
    role = arn.rpartition("/")[0] if ":assumed-role/" in arn else arn
    caller = oracle.properties(record).get("objectId", "") if "identity" not in record else ""
    return {(record.get("resourceId") or "").lower(), role, caller}


def planned(rule: Rule, *, fires: bool) -> int:
    """How many records an example has that are about the subject under its own name."""
    example = next(one for one in rule.examples if one.fires is fires)
    return sum(event.times for event in example.events)


@each_rule
def test_the_first_example_that_fires_is_the_attack(rule: Rule) -> None:
    """All of its records arrive, and nothing else happens there; it is alerted on once."""
    subject = day(SCENARIO)[1].attacked[rule.id]
    assert len(about(subject)) == planned(rule, fires=True)
    alerts = Counter(group[0] for rule_id, group in expected_of(SCENARIO).alerts if rule_id == rule.id)
    assert alerts == {subject: 1}


@each_rule
def test_the_first_example_that_does_not_fire_is_the_look_alike(rule: Rule) -> None:
    """It happens to somebody of the same name elsewhere, so far as it is about one; no rule fires for it."""
    truth = day(SCENARIO)[1]
    attacked, resembling = truth.attacked[rule.id], truth.resembling[rule.id]
    assert resembling != attacked
    assert about(resembling)
    if rule.group_by[0] in BY_NAME["azure_openai"].fields and "/accounts/" in attacked:
        assert len(about(resembling)) == planned(rule, fires=False)
        assert resembling.split("/")[-1] == attacked.split("/")[-1]
    assert resembling not in {key.group[0] for key in expected_of(SCENARIO).rows}


def test_the_rotation_is_by_the_job_that_the_tuning_file_excuses() -> None:
    """Enough to fire, and few enough without the job not to."""
    (excused,) = TUNING["exceptions"]
    rows = {key: row for key, row in expected_of(SCENARIO).rows.items() if row.suppressed}
    assert len({key.group for key in rows}) == 1
    ((account,),) = {key.group for key in rows}
    assert account.endswith(excused["resource"].removeprefix("*"))
    callers = Counter(properties(record)["objectId"] for _, record in about(account) if is_reading(record))
    assert callers[excused["callers"][0]] == 150
    assert callers.total() - 150 < 20
    assert all(isinstance(row, Row) and row.count >= 100 for row in rows.values())
    assert SCENARIO.start.date() < excused["expires"]


def test_what_was_seen_days_before_is_seen_a_day_before() -> None:
    """The newcomer comes in the last hour, when everybody else has been known for as long as there are logs."""
    found = about(day(SCENARIO)[1].attacked["new_key_lister"])
    first, last = found[0][0].enqueued, found[-1][0].enqueued
    assert last - first > timedelta(days=1)
    assert SCENARIO.start + SCENARIO.duration - last < timedelta(hours=1)
