"""Outcomes of backtests for tests: a month of an organisation's accounts, and one that found nothing."""

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from detectors.backtest.outcome import Delays, EpisodeSummary, Outcome, Place, Quality, Timeline, Trial
from detectors.rules.counters import Selected
from detectors.rules.rule import Number, Severity
from detectors.windows import BUCKET
from tests.builders import PIPELINE, canonical_id

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
END = datetime(2026, 10, 31, 23, 50, tzinfo=UTC)
MADE = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
THRESHOLDS = {"model_theft": {"count": 100, "response_length": 1_000_000}}
SEVERITIES: dict[str, Severity] = {"model_theft": "Medium"}
STRANGER = "9e8d7c6b-5a49-4838-a726-150413f2e1d0"
Attack = tuple[str, timedelta, int, int, int]
ATTACKS: tuple[Attack, ...] = (
    ("aoai-prod", timedelta(days=4, hours=2, minutes=20), 9, 412, 2),
    ("aoai-prod", timedelta(days=21, hours=13), 7, 131, 0),
    ("aoai-search", timedelta(days=13, hours=23, minutes=40), 31, 6_240, 4),
    ("aoai-evaluation", timedelta(days=27, hours=8, minutes=10), 7, 118, 0),
    ("aoai-chat", timedelta(days=30, hours=22, minutes=30), 9, 204, 1),
)
"""Account, first window after `BEGIN`, windows, peak, escalations."""
ACCOUNTS = (
    "aoai-prod",
    "aoai-search",
    "aoai-chat",
    "aoai-evaluation",
    "aoai-finetune",
    *(f"aoai-team-{number:02}" for number in range(1, 8)),
)


def month(**changes: object) -> Outcome:
    """31 days of twelve accounts with five episodes, a sweep and some broken lines."""
    episodes = [_episode(index, attack) for index, attack in enumerate(sorted(ATTACKS, key=lambda each: each[1]))]
    values: dict[str, Any] = {
        "quality": quality(),
        "rules": ["model_theft"],
        "thresholds": THRESHOLDS,
        "severities": SEVERITIES,
        "windows": 4_464,
        "findings": sum(episode.windows for episode in episodes) + 4,
        "episodes": episodes,
        "trials": _trials(),
        "timelines": [timeline(account) for account in ACCOUNTS],
        "timelines_left_out": 3,
        **changes,
    }
    return Outcome(**values)


def nothing() -> Outcome:
    """Return what a folder of logs without any record comes to."""
    return Outcome(
        quality=Quality(files=1, files_read=1), rules=["model_theft"], thresholds=THRESHOLDS, severities=SEVERITIES
    )


def quality(**changes: object) -> Quality:
    """Return a month of hourly blobs, some of them broken."""
    values: dict[str, Any] = {
        "files": 8_928,
        "files_read": 8_927,
        "bytes": 6_412_331_008,
        "records": 4_812_345,
        "selected": {"model_theft": Selected(21_804, 0)},
        "selected_by_any": 21_804,
        "problems": {"not_json": 14, "truncated": 1, "no_resource": 3},
        "examples": [
            Place("logs/y=2026/m=10/d=04/h=07/m=00/PT1H.json", 1_204, "not_json", "a line that is no JSON object"),
            Place("logs/y=2026/m=10/d=19/h=22/m=00/PT1H.json", 88, "not_json", "a line that is no JSON object"),
            Place("logs/2026-10-17.ndjson.gz", 0, "truncated", "the file ends in the middle of a gzip member"),
            Place("logs/2026-10-20.ndjson", 4, "no_resource", "model_theft: not counted, ResourceId cannot be read"),
        ],
        "duplicates": 412,
        "first_time": BEGIN + timedelta(minutes=3),
        "last_time": END + timedelta(minutes=8),
        "delays": Delays(messages=96_246, median=74.2, p95=412.0, largest=10_991.0),
        **changes,
    }
    return Quality(**values)


def timeline(account: str, *, at_least: int = 100, windows: int = 4_464, full: bool = False) -> Timeline:
    """Return listed keys, more by day than by night, and the attacks on the account.

    Args:
        account: its name.
        at_least: the threshold in force.
        windows: how many, from `BEGIN` on.
        full: whether every window holds something, as on the busiest accounts.
    """
    chance = random.Random(account)
    height = chance.choice((6, 15, 30, 45))
    points: list[tuple[int, Number]] = []
    for index in range(windows):
        end = BEGIN + BUCKET * index
        daily = max(0.0, math.sin((end.hour - 6) / 24 * 2 * math.pi))
        usual = 1 + index % 97 if full else round(height * daily * chance.random())
        value = max(usual, _attacked(account, end))
        if value:
            points.append((int(end.timestamp()), value))
    return Timeline(
        rule_id="model_theft",
        threshold="count",
        measure="count",
        at_least=at_least,
        resource=canonical_id(account),
        points=points,
    )


def _attacked(account: str, end: datetime) -> int:
    for name, after, windows, peak, _ in ATTACKS:
        index = (end - BEGIN - after) // BUCKET
        if name == account and 0 <= index < windows:
            return 100 + round((peak - 100) * math.sin(math.pi * index / (windows - 1)) ** 2)
    return 0


def _episode(index: int, attack: Attack) -> EpisodeSummary:
    account, after, windows, peak, escalations = attack
    first = BEGIN + after
    callers = [{"ObjectId": STRANGER, "IpAddress": "", "Count": peak - 9}]
    if index % 2:
        callers += [{"ObjectId": PIPELINE, "IpAddress": "", "Count": 6}, {"ObjectId": "", "IpAddress": "", "Count": 3}]
    return EpisodeSummary(
        episode_id=f"e{index}",
        rule_id="model_theft",
        resource=canonical_id(account),
        first_window=first,
        last_window=first + BUCKET * (windows - 1),
        is_open=account == "aoai-chat",
        windows=windows,
        severity="Medium",
        escalations=escalations,
        peaks={"count": peak},
        callers=callers,
        callers_truncated=index == 3,
    )


def _trials() -> list[Trial]:
    results = (
        (25, 1_904, 188, 11),
        (50, 312, 29, 5),
        (75, 96, 8, 4),
        (100, 65, 5, 4),
        (200, 37, 3, 3),
        (500, 24, 1, 1),
    )
    return [
        Trial(
            rule_id="model_theft",
            threshold="count",
            value=value,
            in_force=value == 100,
            overrules=False,
            findings=findings,
            episodes=episodes,
            resources=resources,
        )
        for value, findings, episodes, resources in results
    ]
