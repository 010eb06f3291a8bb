"""Turns results into episodes: consecutive windows in which one group fires are one episode, and alert once. Pure.

Rules per minute post each minute once, and again when late records increase its count; all minutes of one resource
that fire within an hour belong to one episode. A result that a suppression rule explains is Suppressed. An episode is
New in the first window in which an unexplained result fires, and again after a window in which all were explained.

Late records may show that an episode began earlier: it keeps its id, and nobody is alerted twice for one attack. Or
they show another one before it, with a silent window between: that one gets an id, and an incident, of its own.

The state after a window depends only on the state before it and on the window's results, so evaluating a window again
gives the same state, and a correction propagates through the windows after it.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, get_args
from uuid import UUID, uuid5

import msgspec

from detectors.evaluation.troubles import Contain, raising
from detectors.evaluation.window import GroupResult
from detectors.rules.catalogue import BY_ID
from detectors.rules.crowds import OTHERS
from detectors.rules.rule import Severity
from detectors.rules.tally import Key
from detectors.windows import WINDOW, key_of

_NAMESPACE = UUID("6f0f4c2e-55a3-4f0e-9d7e-2b8a6f1f7c11")
ESCALATION_FACTOR = 2
_SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class Status(StrEnum):
    """The state of an episode in a window."""

    NEW = "New"
    ONGOING = "Ongoing"
    ESCALATED = "Escalated"
    CLOSED = "Closed"
    SUPPRESSED = "Suppressed"


_STRENGTH = (Status.SUPPRESSED, Status.CLOSED, Status.ONGOING, Status.NEW, Status.ESCALATED)
"""Weakest first: when one row replaces another, the stronger status must remain visible."""


class PostedMinute(msgspec.Struct, frozen=True, array_like=True):
    """The posted row of one minute: its count and status. A later row keeps the status unless its own is stronger."""

    count: int
    status: Status


class Episode(msgspec.Struct, frozen=True):
    """An open episode.

    Attributes:
        id: the same for all of its findings.
        rule_id: the rule.
        group: the group that fires, without its minute if the rule is per minute.
        started: the key of its first window's end.
        peaks: by trigger, the value last alerted on; empty before the first alert.
        posted: by minute, the row last posted; empty unless the rule is per minute.
        severity: the highest alerted on; the highest of all if an earlier release stored the episode.
    """

    id: str
    rule_id: str
    group: tuple[str, ...]
    started: str
    peaks: dict[str, float]
    posted: dict[str, PostedMinute] = {}
    severity: Severity = "High"

    @property
    def key(self) -> Key:
        """The rule and group of the episode."""
        return Key(self.rule_id, self.group)


class EpisodeChange(NamedTuple):
    """A change of an episode in a window, or in one minute of it."""

    status: Status
    episode: Episode
    result: GroupResult


def advance(
    before: Iterable[Episode],
    results: Iterable[GroupResult],
    window_end: datetime,
    known: Mapping[Key, Episode],
    contain: Contain = raising,
    *,
    apart: Collection[Key] = (),
) -> tuple[list[Episode], list[EpisodeChange]]:
    """Advance the episodes by one window; return those that are open after it, and the changes in it.

    Args:
        before: the episodes that were open after the previous window.
        results: the results of this window, with one for every open episode.
        window_end: names the window.
        known: episodes as an earlier evaluation of this window or of a later one recorded them. An episode that turns
            out to have begun earlier keeps its id, so that nobody is alerted again; and a row of a minute is never
            replaced by one with a lower count.
        contain: confines an exception to the rule that raised it; then that episode is left out.
        apart: which of `known` a silent window parts from this one: they are other episodes, so their id is not taken.
    """
    open_before = {episode.key: episode for episode in before}
    by_episode: dict[Key, list[GroupResult]] = {}
    for result in results:
        by_episode.setdefault(result.episode_key, []).append(result)
    after, changes = [], []
    for key, its_results in by_episode.items():
        with contain(key.rule_id):
            later = known.get(key)
            new = _new(key, window_end, later if key not in apart else None)
            episode, happened = _continued(open_before.get(key), new, its_results, window_end, later)
            changes += happened
            after += [episode] if episode else []
    return sorted(after, key=lambda episode: episode.key), changes


def unharmed(
    after: Iterable[Episode], changes: Iterable[EpisodeChange], before: Iterable[Episode], failed: Collection[str]
) -> list[Episode]:
    """Add the episodes of rules that failed: of what nothing was found out, nothing has ended."""
    episodes = {episode.key: episode for episode in before if episode.rule_id in failed}
    for change in changes:
        episodes.pop(change.episode.key, None)
    episodes |= {episode.key: episode for episode in after}
    return [episodes[key] for key in sorted(episodes)]


def _new(key: Key, window_end: datetime, known: Episode | None) -> Episode:
    """Make the episode that begins in a window, with the id of one that was thought to begin here or later."""
    started = key_of(window_end)
    known_id = known.id if known and known.started >= started else None
    return Episode(known_id or _uuid("episode", key, started), *key, started, {})


def _continued(
    episode: Episode | None, new: Episode, results: Iterable[GroupResult], window_end: datetime, known: Episode | None
) -> tuple[Episode | None, list[EpisodeChange]]:
    """Advance one episode, or begin the new one; return it, None if it has ended, and its changes in the window."""
    firing = sorted((result for result in results if result.triggers), key=lambda result: result.group)
    if not firing:
        silent = next(iter(results))
        return None, [EpisodeChange(Status.CLOSED, episode, silent)] if episode else []
    episode = episode or new
    posted, changes = dict(episode.posted), []
    for result in firing:
        minute = result.group[-1] if names_minute(result.key) else None
        if minute in posted and result.tally.count <= posted[minute].count:
            continue
        status, episode = _change(episode, result)
        if minute is not None:
            status = max(status, posted[minute].status if minute in posted else status, key=_STRENGTH.index)
            posted[minute] = PostedMinute(result.tally.count, status)
            if known and _says_as_much(known.posted.get(minute), posted[minute]):
                continue
        changes.append(EpisodeChange(status, episode, result))
    if all(result.suppression for result in firing):
        episode = _unalerted(episode, window_end)
    return msgspec.structs.replace(episode, posted=_still_possible(posted, firing, window_end)), changes


def _unalerted(episode: Episode, window_end: datetime) -> Episode:
    """Restart an alerted episode once suppression rules explain everything that fires, so that the next result is New.

    Otherwise an explained job would keep open an episode that somebody else began, and the next stranger would hide in
    it. Alerts are grouped by episode, so the restarted one gets an id of its own.
    """
    return _new(episode.key, window_end, None) if episode.peaks else episode


def _says_as_much(known: PostedMinute | None, row: PostedMinute) -> bool:
    """Check whether a row posted by another evaluation says at least as much as this one."""
    return (
        known is not None and known.count >= row.count and _STRENGTH.index(known.status) >= _STRENGTH.index(row.status)
    )


def _still_possible(
    posted: Mapping[str, PostedMinute], firing: Iterable[GroupResult], window_end: datetime
) -> dict[str, PostedMinute]:
    """Keep the minutes that may still receive records: those that fire, and recent ones."""
    oldest = f"{window_end - 2 * WINDOW:%Y-%m-%dT%H:%MZ}"
    current = {result.group[-1] for result in firing}
    return {minute: row for minute, row in posted.items() if minute >= oldest or minute in current}


def _change(episode: Episode, result: GroupResult) -> tuple[Status, Episode]:
    """Find the status of a result that fires, and update the episode's peaks."""
    if result.suppression:
        return Status.SUPPRESSED, episode
    values = {trigger.threshold: trigger.value for trigger in result.triggers}
    if not episode.peaks:
        return Status.NEW, msgspec.structs.replace(episode, peaks=values, severity=result.severity)
    severity = max(episode.severity, result.severity, key=_SEVERITIES.index)
    if not BY_ID[episode.rule_id].first_seen_only and (severity != episode.severity or _escalates(episode, values)):
        peaks = {name: max(values.get(name, 0), peak) for name, peak in (values | episode.peaks).items()}
        return Status.ESCALATED, msgspec.structs.replace(episode, peaks=peaks, severity=severity)
    return Status.ONGOING, episode


def _escalates(episode: Episode, values: Mapping[str, float]) -> bool:
    """Check whether a new trigger fires, or the value of one has doubled since the last alert."""
    return any(
        name not in episode.peaks or value >= ESCALATION_FACTOR * episode.peaks[name] for name, value in values.items()
    )


def names_minute(key: Key) -> bool:
    """Tell whether a group ends in a minute, so that its finding is one for all windows. A crowd has several."""
    rule = BY_ID.get(key.rule_id)
    return bool(rule and rule.per_minute and len(key.group) == len(rule.group_fields) and key.group[-1] != OTHERS)


def finding_id(key: Key, window_end: datetime) -> str:
    """Derive the id of a finding: each evaluation of the same group and window, or minute, gives the same id."""
    if names_minute(key):
        return str(uuid5(_NAMESPACE, "\x1f".join(("finding", key.rule_id, *key.group))))
    return _uuid("finding", key, key_of(window_end))


def _uuid(kind: str, key: Key, window_key: str) -> str:
    return str(uuid5(_NAMESPACE, "\x1f".join((kind, key.rule_id, *key.group, window_key))))
