"""Verdicts -> episodes: consecutive windows in which one group fires are one episode, and alert once. Pure.

The state after a window depends only on the state before it and on the window's verdicts, so a window that is
evaluated again gives the same again, and a correction runs through the windows after it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID, uuid5

import msgspec

from detectors.counting import Key
from detectors.evaluation import Verdict
from detectors.windows import key_of

_NAMESPACE = UUID("6f0f4c2e-55a3-4f0e-9d7e-2b8a6f1f7c11")
ESCALATION_FACTOR = 2


class Status(StrEnum):
    """Where an episode stands in a window."""

    NEW = "New"
    ONGOING = "Ongoing"
    ESCALATED = "Escalated"
    CLOSED = "Closed"


class Episode(msgspec.Struct, frozen=True):
    """An open episode.

    Attributes:
        id: the same for all of its findings.
        rule_id: the rule.
        group: the group.
        started: the key of its first window's end.
        peaks: by trigger, the value that was last alerted on.
    """

    id: str
    rule_id: str
    group: tuple[str, ...]
    started: str
    peaks: dict[str, float]

    @property
    def key(self) -> Key:
        """What the episode is about."""
        return Key(self.rule_id, self.group)


class Step(NamedTuple):
    """What happened to an episode in a window."""

    status: Status
    episode: Episode
    verdict: Verdict


def advance(
    before: Iterable[Episode], verdicts: Iterable[Verdict], window_end: datetime, known: Mapping[Key, str]
) -> tuple[list[Episode], list[Step]]:
    """The episodes that are open after a window, and what happened in it.

    Args:
        before: the episodes that were open after the previous window.
        verdicts: those of this window, among them one for every open episode.
        window_end: names the window.
        known: ids by which an earlier evaluation of this window or of the next one knew a group's episode. An
            episode that turns out to have begun earlier keeps its id, so that nobody is alerted again.
    """
    open_before = {episode.key: episode for episode in before}
    steps = [
        step
        for verdict in verdicts
        if (step := _step(open_before.get(verdict.key), verdict, window_end, known)) is not None
    ]
    after = [step.episode for step in steps if step.status is not Status.CLOSED]
    return sorted(after, key=lambda episode: episode.key), steps


def _step(episode: Episode | None, verdict: Verdict, window_end: datetime, known: Mapping[Key, str]) -> Step | None:
    values = {trigger.threshold: trigger.value for trigger in verdict.triggers}
    if not values:
        return Step(Status.CLOSED, episode, verdict) if episode else None
    if episode is None:
        started = key_of(window_end)
        episode_id = known.get(verdict.key) or _uuid("episode", verdict.key, started)
        return Step(Status.NEW, Episode(episode_id, *verdict.key, started, values), verdict)
    if _escalates(episode, values):
        peaks = {name: max(values.get(name, 0), peak) for name, peak in (values | episode.peaks).items()}
        return Step(Status.ESCALATED, msgspec.structs.replace(episode, peaks=peaks), verdict)
    return Step(Status.ONGOING, episode, verdict)


def _escalates(episode: Episode, values: Mapping[str, float]) -> bool:
    """Whether a trigger joined, or one doubled since it was last alerted on."""
    return any(
        name not in episode.peaks or value >= ESCALATION_FACTOR * episode.peaks[name] for name, value in values.items()
    )


def finding_id(key: Key, window_end: datetime) -> str:
    """The id of a finding: the same whenever the same window is evaluated for the same group."""
    return _uuid("finding", key, key_of(window_end))


def _uuid(kind: str, key: Key, window_key: str) -> str:
    return str(uuid5(_NAMESPACE, "\x1f".join((kind, key.rule_id, *key.group, window_key))))
