"""Verdicts -> episodes: consecutive windows in which one group fires are one episode, and alert once. Pure.

Rules that look at minutes post each minute once, and once more when late records make it larger; what fires within one
hour of a resource is one episode all the same. What an exception explains is Suppressed; an episode is New in the
first window in which something fires that none explains, and again after a window in which one explained everything.

The state after a window depends only on the state before it and on the window's verdicts, so a window that is
evaluated again gives the same again, and a correction runs through the windows after it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID, uuid5

import msgspec

from detectors.evaluation.window import GroupResult
from detectors.rules.catalogue import BY_ID
from detectors.rules.tally import Key
from detectors.windows import WINDOW, key_of

_NAMESPACE = UUID("6f0f4c2e-55a3-4f0e-9d7e-2b8a6f1f7c11")
ESCALATION_FACTOR = 2


class Status(StrEnum):
    """Where an episode stands in a window."""

    NEW = "New"
    ONGOING = "Ongoing"
    ESCALATED = "Escalated"
    CLOSED = "Closed"
    SUPPRESSED = "Suppressed"


_STRENGTH = (Status.SUPPRESSED, Status.CLOSED, Status.ONGOING, Status.NEW, Status.ESCALATED)
"""Which status a reader must not miss if one row replaces another."""


class PostedMinute(msgspec.Struct, frozen=True, array_like=True):
    """The row of one minute: its count, and its status, which later rows of it keep unless theirs is stronger."""

    count: int
    status: Status


class Episode(msgspec.Struct, frozen=True):
    """An open episode.

    Attributes:
        id: the same for all of its findings.
        rule_id: the rule.
        group: what it is about: a group, without its minute if the rule has one.
        started: the key of its first window's end.
        peaks: by trigger, the value that was last alerted on; empty if nobody was alerted yet.
        posted: by minute, what was last posted; empty for rules without minutes.
    """

    id: str
    rule_id: str
    group: tuple[str, ...]
    started: str
    peaks: dict[str, float]
    posted: dict[str, PostedMinute] = {}

    @property
    def key(self) -> Key:
        """What the episode is about."""
        return Key(self.rule_id, self.group)


class EpisodeChange(NamedTuple):
    """What happened to an episode in a window, or in one minute of it."""

    status: Status
    episode: Episode
    result: GroupResult


def advance(
    before: Iterable[Episode], results: Iterable[GroupResult], window_end: datetime, known: Mapping[Key, Episode]
) -> tuple[list[Episode], list[EpisodeChange]]:
    """The episodes that are open after a window, and what happened in it.

    Args:
        before: the episodes that were open after the previous window.
        results: those of this window, among them one for every open episode.
        window_end: names the window.
        known: episodes as an earlier evaluation of this window or of a later one knew them. An episode that turns out
            to have begun earlier keeps its id, so that nobody is alerted again; and what was posted of a minute is
            not replaced by less.
    """
    open_before = {episode.key: episode for episode in before}
    by_episode: dict[Key, list[GroupResult]] = {}
    for result in results:
        about = BY_ID[result.rule_id].about(result.group)
        by_episode.setdefault(Key(result.rule_id, about), []).append(result)
    after, changes = [], []
    for key, its_results in by_episode.items():
        episode, happened = _continued(key, open_before.get(key), its_results, window_end, known.get(key))
        changes += happened
        after += [episode] if episode else []
    return sorted(after, key=lambda episode: episode.key), changes


def _continued(
    key: Key, episode: Episode | None, results: Iterable[GroupResult], window_end: datetime, known: Episode | None
) -> tuple[Episode | None, list[EpisodeChange]]:
    """The episode after a window, None if it is over, and what happened to it."""
    firing = sorted((result for result in results if result.triggers), key=lambda result: result.group)
    if not firing:
        silent = next(iter(results))
        return None, [EpisodeChange(Status.CLOSED, episode, silent)] if episode else []
    if episode is None:
        started = key_of(window_end)
        episode = Episode(known.id if known else _uuid("episode", key, started), *key, started, {})
    posted, changes = dict(episode.posted), []
    for result in firing:
        minute = result.group[-1] if BY_ID[result.rule_id].per_minute else None
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
    """What goes on of an episode when an exception explains all that fires: whatever comes next is news.

    Else a job that an exception excuses would keep an episode open that somebody else began, and the next stranger
    would hide in it. Alerts go by episode, so it needs an id of its own.
    """
    if not episode.peaks:
        return episode
    started = key_of(window_end)
    return Episode(_uuid("episode", episode.key, started), *episode.key, started, {})


def _says_as_much(known: PostedMinute | None, row: PostedMinute) -> bool:
    """Whether a row that another evaluation posted says all that this one would."""
    return (
        known is not None and known.count >= row.count and _STRENGTH.index(known.status) >= _STRENGTH.index(row.status)
    )


def _still_possible(
    posted: Mapping[str, PostedMinute], firing: Iterable[GroupResult], window_end: datetime
) -> dict[str, PostedMinute]:
    """Minutes that may still get records: those that fire, and those not long past."""
    oldest = f"{window_end - 2 * WINDOW:%Y-%m-%dT%H:%MZ}"
    current = {result.group[-1] for result in firing}
    return {minute: row for minute, row in posted.items() if minute >= oldest or minute in current}


def _change(episode: Episode, result: GroupResult) -> tuple[Status, Episode]:
    """The status of what fired, and the episode with what is alerted on."""
    if result.suppression:
        return Status.SUPPRESSED, episode
    values = {trigger.threshold: trigger.value for trigger in result.triggers}
    if not episode.peaks:
        return Status.NEW, msgspec.structs.replace(episode, peaks=values)
    if not BY_ID[episode.rule_id].only_new and _escalates(episode, values):
        peaks = {name: max(values.get(name, 0), peak) for name, peak in (values | episode.peaks).items()}
        return Status.ESCALATED, msgspec.structs.replace(episode, peaks=peaks)
    return Status.ONGOING, episode


def _escalates(episode: Episode, values: Mapping[str, float]) -> bool:
    """Whether a trigger joined, or one doubled since it was last alerted on."""
    return any(
        name not in episode.peaks or value >= ESCALATION_FACTOR * episode.peaks[name] for name, value in values.items()
    )


def finding_id(key: Key, window_end: datetime) -> str:
    """The id of a finding: the same whenever the same window, or the same minute, is evaluated for the same group."""
    rule = BY_ID.get(key.rule_id)
    if rule and rule.per_minute and len(key.group) == len(rule.group_fields):
        return str(uuid5(_NAMESPACE, "\x1f".join(("finding", key.rule_id, *key.group))))
    return _uuid("finding", key, key_of(window_end))


def _uuid(kind: str, key: Key, window_key: str) -> str:
    return str(uuid5(_NAMESPACE, "\x1f".join((kind, key.rule_id, *key.group, window_key))))
