"""What should come out of a story, told by plain loops over its events.

They know nothing of rows that hold buckets, of a journal, or of episodes in tables.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from tests.builders import canonical_id
from tests.chaos.cluster import AT_LEAST, CHATS, LISTINGS, RETENTION, Cluster
from tests.chaos.story import ACCOUNTS, Arrived, Story, arrived, own_minute

STEP, HOUR = timedelta(minutes=10), timedelta(hours=1)

type Row = Mapping[str, Any]


class Window(NamedTuple):
    """An hour, and what arrived in it."""

    end: datetime
    events: Sequence[Arrived]

    @property
    def name(self) -> str:
        """Return how rows name it."""
        return f"{self.end:%Y-%m-%dT%H:%M:%SZ}"

    def flaws(self) -> int:
        """Count broken records."""
        return sum(record.kind == "broken" for one in self.events for record in one.records)

    def listings(self, account: str) -> int:
        """Count an account's key listings."""
        return sum(record == ("listing", account) for one in self.events for record in one.records)

    def minutes(self, account: str) -> Counter[str]:
        """Count an account's chats by the minute they name, where there are enough of them."""
        chats = Counter(
            f"{own_minute(one.at):%Y-%m-%dT%H:%MZ}"
            for one in self.events
            for record in one.records
            if record == ("chat", account)
        )
        return Counter({minute: count for minute, count in chats.items() if count >= AT_LEAST})


def complaints(told: Story, cluster: Cluster) -> Iterator[str]:
    """Yield what is wrong with what came out: counts, quarantine, findings, episodes, heartbeats."""
    events = arrived(told)
    if not cluster.is_settled():
        yield "a window is still due"
    yield from _wrong_counts(events, cluster)
    windows, rows = _windows(events, cluster.now), _last_rows(cluster)
    findings = [row for row in rows if "FindingId" in row]
    for account in ACCOUNTS:
        its_rows = [row for row in findings if row["ResourceId"] == canonical_id(account)]
        yield from _wrong_listings(account, windows, [row for row in its_rows if row["RuleId"] == LISTINGS])
        yield from _wrong_minutes(account, windows, [row for row in its_rows if row["RuleId"] == CHATS])
    yield from _wrong_beats(windows, {row["WindowEnd"]: row for row in rows if "FindingId" not in row})


def _windows(events: Sequence[Arrived], now: datetime) -> list[Window]:
    windows, end = list[Window](), _bucket(min((one.at for one in events), default=now)) + STEP
    while end <= now:
        windows.append(Window(end, [one for one in events if end - HOUR <= one.at < end]))
        end += STEP
    return windows


def _last_rows(cluster: Cluster) -> list[Row]:
    """Return what a reader sees: of each finding and each window's heartbeat the last row."""
    newest: dict[str, tuple[str, int, Row]] = {}
    for place, (stream, row) in enumerate(cluster.rows):
        name = row["FindingId"] if stream == "findings" else row["WindowEnd"]
        newest[name] = max(newest.get(name, ("", 0, row)), (row["TimeGenerated"], place, row), key=lambda one: one[:2])
    return [row for _, _, row in newest.values()]


def _bucket(at: datetime) -> datetime:
    return at.replace(minute=at.minute - at.minute % 10, second=0, microsecond=0)


def _wrong_counts(events: Sequence[Arrived], cluster: Cluster) -> Iterator[str]:
    """Yield what differs from every record once, in the bucket of its arrival, and every flaw in quarantine."""
    since = _bucket(cluster.now - RETENTION)
    expected: Counter[tuple[str, datetime, str]] = Counter()
    broken = set()
    for one in events:
        for index, record in enumerate(one.records):
            if record.kind == "broken":
                broken.add((one.partition, one.sequence, index))
            elif _bucket(one.at) >= since:
                rule = LISTINGS if record.kind == "listing" else CHATS
                expected[rule, _bucket(one.at), canonical_id(record.account)] += 1
    counted = cluster.counts(since)
    if counted != expected:
        yield f"counts: {sorted((expected - counted).items())} missing, {sorted((counted - expected).items())} too many"
    if cluster.quarantined() != broken:
        yield f"quarantine: {cluster.quarantined()} instead of {broken}"


def _wrong_listings(account: str, windows: Sequence[Window], rows: Sequence[Row]) -> Iterator[str]:
    """Yield what is wrong with an account's findings, window by window."""
    by_end = {row["WindowEnd"]: row for row in rows}
    episode, peak, used = "", 0, set[str]()
    for window in windows:
        row, count = by_end.pop(window.name, None), window.listings(account)
        said = (row["Status"], row["EventCount"], row["EpisodeId"]) if row else None
        should: object = None
        if count >= AT_LEAST:
            status = "New" if not episode else "Escalated" if count >= 2 * peak else "Ongoing"
            if not episode and row:
                episode = row["EpisodeId"]
                if episode in used:
                    yield f"{window.name} {account}: an episode has the id of another"
                used.add(episode)
            peak = peak if status == "Ongoing" else count
            should = (status, count, episode)
        elif episode:
            should, episode = ("Closed", count, episode), ""
        if said != should:
            yield f"{window.name} {account}: {said} instead of {should}"
    if by_end:
        yield f"{account}: findings of windows that are none: {sorted(by_end)}"


def _wrong_minutes(account: str, windows: Sequence[Window], rows: Sequence[Row]) -> Iterator[str]:
    """Yield what is wrong with an account's minutes: each has one finding, with what the fullest window had of it.

    Two things stay as they were posted before late chats joined two episodes: the row that closed the first one, and
    the id in the rows of the second one's minutes. What would replace them are rows of minutes, which say no more.
    """
    firing = {window.name: window.minutes(account) for window in windows}
    most: Counter[str] = Counter()
    for minutes in firing.values():
        most |= minutes
    found = {row["Group"]["Minute"]: row["EventCount"] for row in rows if "Minute" in row["Group"]}
    if found != most:
        yield f"{account}: minutes {found} instead of {dict(most)}"
    names = list(firing)
    closed = [name for before, name in pairwise(names) if firing[before] and not firing[name]]
    ended = [row for row in rows if row["Status"] == "Closed" and not firing[row["WindowEnd"]]]
    if sorted(row["WindowEnd"] for row in ended) != closed:
        yield f"{account}: minutes end at {sorted(row['WindowEnd'] for row in ended)} instead of {closed}"
    if len({row["EpisodeId"] for row in ended}) < len(ended):
        yield f"{account}: an episode of minutes has the id of another"


def _wrong_beats(windows: Sequence[Window], beats: Mapping[str, Row]) -> Iterator[str]:
    """Yield windows whose last heartbeat is missing, or tells another number of events, flaws or episodes."""
    for window in windows:
        if not window.events:
            continue
        still_open = sum((window.listings(account) >= AT_LEAST) + bool(window.minutes(account)) for account in ACCOUNTS)
        beat, should = beats.get(window.name), (len(window.events), window.flaws(), still_open)
        said = (beat["Messages"], beat["RecordsQuarantined"], beat["OpenEpisodes"]) if beat else None
        if said != should:
            yield f"{window.name}: the heartbeat says {said} instead of {should}"
