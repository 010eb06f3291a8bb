"""One set of thresholds, held against every window: its episodes, and how much it would have posted."""

from collections.abc import Mapping
from datetime import datetime

from detectors.backtest.outcome import EpisodeSummary, subject
from detectors.counting import Key
from detectors.episodes import Episode, Status, Step, advance
from detectors.evaluation import Thresholds, Total, judge
from detectors.findings import finding


class Judge:
    """Judges windows in their order, as the deployed evaluation does.

    Attributes:
        findings: rows that would have been posted.
        episodes: in the order in which they began.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._open: list[Episode] = []
        self._best_counts: dict[str, int] = {}
        self._summaries: dict[str, EpisodeSummary] = {}
        self.findings = 0

    @property
    def episodes(self) -> list[EpisodeSummary]:
        """Every episode so far, in the order in which they began."""
        return list(self._summaries.values())

    @property
    def is_watching(self) -> bool:
        """Whether an episode is open, so that the next window matters whatever it holds."""
        return bool(self._open)

    def judge(self, window_end: datetime, totals: Mapping[Key, Total]) -> list[Step]:
        """What a window comes to; it must follow the one judged before."""
        verdicts = judge(totals, self._thresholds, {episode.key for episode in self._open})
        self._open, steps = advance(self._open, verdicts, window_end, {})
        self.findings += len(steps)
        for step in steps:
            self._summarise(step, window_end)
        return steps

    def _summarise(self, step: Step, window_end: datetime) -> None:
        """Note what happened to an episode."""
        episode, verdict = step.episode, step.verdict
        summary = self._summaries.get(episode.id)
        if summary is None:
            summary = self._summaries[episode.id] = EpisodeSummary(
                episode_id=episode.id,
                rule_id=episode.rule_id,
                resource=subject(episode.key),
                first_window=window_end,
                last_window=window_end,
            )
        if step.status is Status.CLOSED:
            summary.is_open = False
            return
        summary.last_window = window_end
        summary.windows += 1
        summary.escalations += step.status is Status.ESCALATED
        for trigger in verdict.triggers:
            summary.peaks[trigger.threshold] = max(trigger.value, summary.peaks.get(trigger.threshold, 0))
        if verdict.tally.count > self._best_counts.get(episode.id, -1):
            self._best_counts[episode.id] = verdict.tally.count
            row = finding(step, window_end, window_end)
            summary.callers, summary.callers_truncated = row.callers, row.callers_truncated
