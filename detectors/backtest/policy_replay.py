"""Replays one policy over every window: its episodes, and how much it would have posted."""

from collections.abc import Mapping
from datetime import datetime
from typing import get_args

from detectors.backtest.outcome import EpisodeSummary, group_name
from detectors.evaluation.episodes import Episode, EpisodeChange, Status, advance
from detectors.evaluation.policy import Policy
from detectors.evaluation.usual import Peak
from detectors.evaluation.window import GroupTotal, evaluate_thresholds
from detectors.reporting.finding import finding
from detectors.rules.rule import Number, Severity
from detectors.rules.tally import Key

_SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class PolicyReplay:
    """Evaluates windows in order, as the deployed evaluation does.

    Attributes:
        findings: how many findings would have been posted; a minute of an episode is one, even if late records
            increased it.
        resources: the entities with episodes: values of the first group field.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._open: list[Episode] = []
        self._best_counts: dict[str, int] = {}
        self._summaries: dict[str, EpisodeSummary] = {}
        self.findings = 0
        self.resources: set[str] = set()

    @property
    def episodes(self) -> list[EpisodeSummary]:
        """Every episode so far, in the order in which they began."""
        return list(self._summaries.values())

    @property
    def is_watching(self) -> bool:
        """Whether an episode is open, so that the next window matters even if it is empty."""
        return bool(self._open)

    def evaluate(
        self,
        window_end: datetime,
        totals: Mapping[Key, GroupTotal],
        newcomers: Mapping[Key, int],
        usual: Mapping[Peak, Number],
    ) -> list[EpisodeChange]:
        """Evaluate a window; it must come after the one evaluated before."""
        watched = {episode.key for episode in self._open}
        results = evaluate_thresholds(
            window_end, totals, self._policy, newcomers=newcomers, usual=usual, watched=watched
        )
        self._open, changes = advance(self._open, results, window_end, {})
        for change in changes:
            self._summarise(change, window_end)
        return changes

    def _summarise(self, change: EpisodeChange, window_end: datetime) -> None:
        """Add a change to the summary of its episode."""
        summary = self._summary(change.episode, window_end)
        before = change.episode.posted.get(change.result.group[-1])  # of the same minute
        self.findings += before is None
        if change.status is Status.CLOSED:
            summary.is_open = False
            return
        summary.last_window = window_end
        summary.windows += before is None
        summary.suppressed -= before is not None and before.status is Status.SUPPRESSED
        summary.suppressed += change.status is Status.SUPPRESSED
        summary.escalations -= before is not None and before.status is Status.ESCALATED
        summary.escalations += change.status is Status.ESCALATED
        self._note_result(summary, change, window_end)

    def _summary(self, episode: Episode, window_end: datetime) -> EpisodeSummary:
        """Find the summary of an episode; a new episode gets an empty one."""
        self.resources.add(episode.group[0])
        summary = self._summaries.get(episode.id)
        if summary is None:
            summary = self._summaries[episode.id] = EpisodeSummary(
                episode_id=episode.id,
                rule_id=episode.rule_id,
                resource=group_name(episode.key),
                first_window=window_end,
                last_window=window_end,
            )
        return summary

    def _note_result(self, summary: EpisodeSummary, change: EpisodeChange, window_end: datetime) -> None:
        """Add the peaks, the callers and the suppression of a result to a summary."""
        episode, result = change.episode, change.result
        summary.severity = max(summary.severity, result.severity, key=_SEVERITIES.index)
        summary.suppression = result.suppression or summary.suppression
        for trigger in result.triggers:
            summary.peaks[trigger.threshold] = max(trigger.value, summary.peaks.get(trigger.threshold, 0))
        if result.tally.count > self._best_counts.get(episode.id, -1):
            self._best_counts[episode.id] = result.tally.count
            row = finding(change, window_end, window_end)
            summary.callers, summary.callers_truncated = row.callers, row.callers_truncated
