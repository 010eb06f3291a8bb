"""The outcome of a backtest as lines for a terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from detectors.backtest.outcome import EpisodeSummary, Outcome, Quality, Trial
from detectors.backtest.presentation import counted, last_part, minute, printable, resource_short, size
from detectors.cli.layout import Rows, aligned
from detectors.evaluation.suppressions import Suppression
from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Number

MAX_SHOWN = 50
"""Episodes on a terminal; ndjson and the report have them all."""

MAX_EXCEPTIONS = 3
MAX_SHAPES = 5


def summary(outcome: Outcome) -> Iterator[str]:
    """Yield what was read, the episodes, and what other thresholds would have come to."""
    quality = outcome.quality
    span = _between(quality.first_time, quality.last_time)
    yield f"Read {counted(quality.files, 'file')}, {size(quality.bytes)}: {counted(quality.records, 'record')}{span}."
    yield (
        f"{counted(outcome.findings, 'finding')} in {counted(len(outcome.episodes), 'episode')};"
        f" {counted(outcome.windows, 'window')} judged."
    )
    if outcome.episodes:
        yield ""
        yield from aligned(_episodes(outcome.episodes[:MAX_SHOWN]), text=(0, 1, 2, 3, 4, 6, 7, 8))
        if len(outcome.episodes) > MAX_SHOWN:
            yield f"and {len(outcome.episodes) - MAX_SHOWN:,} more episodes: --format ndjson or --report shows all."
        yield from _explained(outcome.episodes)
    if outcome.trials:
        yield ""
        yield from aligned(_trials(outcome.trials))
        yield from _overruled(outcome.trials)


def warnings(outcome: Outcome) -> Iterator[str]:
    """Yield what a reader must know who acts on the outcome; nothing if all is well."""
    lines = list(_warnings(outcome))
    if lines:
        yield ""
        yield from lines


def swept(outcome: Outcome) -> Iterator[Mapping[str, Any]]:
    """Yield a line of ndjson for each value tried."""
    for trial in outcome.trials:
        yield {"kind": "trial", **msgspec.to_builtins(trial)}


def _warnings(outcome: Outcome) -> Iterator[str]:
    quality = outcome.quality
    if outcome.interrupted:
        yield f"Interrupted: {quality.files_read} of {quality.files} files were read to their end."
    elif not quality.records and not quality.problems:
        yield "There was no record in it."
    if quality.records and not quality.selected:
        yield f"No rule selects any of {counted(quality.records, 'record')}: is this the log and the time you meant?"
    yield from _unknown(quality)
    for rule_id, selected in sorted(quality.selected.items()):
        measures = {threshold.measure for threshold in BY_ID[rule_id].thresholds}
        if "max_response_length" in measures and not selected.with_length:
            yield f"{rule_id}: 0 of {selected.records:,} records carried a response length, so only counts can fire."
    if quality.duplicates:
        yield f"{quality.duplicates:,} captured events came twice and were counted once."
    for reason, count in quality.problems.items():
        yield f"{count:,} x {reason}"
        for place in quality.examples:
            if place.reason == reason:
                yield f"  {place.file}{f':{place.line}' if place.line else ''}: {place.detail}"


def _unknown(quality: Quality) -> Iterator[str]:
    for fields, count in list(quality.unknown.items())[:MAX_SHAPES]:
        yield f"{counted(count, 'record')} of no log that is read here, with the fields: {printable(fields)}"


def _between(first: datetime | None, last: datetime | None) -> str:
    return f", {minute(first)} to {minute(last)} UTC" if first and last else ""


def _episodes(episodes: Iterable[EpisodeSummary]) -> Rows:
    header = ["Rule", "Severity", "Resource", "First window", "Last window", "Windows", "State", "Peaks"]
    return [[*header, "Most active caller"]] + [
        [
            episode.rule_id,
            episode.severity,
            resource_short(episode.resource),
            minute(episode.first_window),
            minute(episode.last_window),
            _length(episode.rule_id, episode.windows),
            _state(episode),
            ", ".join(f"{name} {_number(value)}" for name, value in sorted(episode.peaks.items())),
            _caller(episode),
        ]
        for episode in episodes
    ]


def _length(rule_id: str, windows: int) -> str:
    """How many windows; of a rule that looks at minutes, how many of these."""
    return f"{windows:,} min" if BY_ID[rule_id].per_minute else f"{windows:,}"


def _state(episode: EpisodeSummary) -> str:
    if episode.is_suppressed:
        return "suppressed"
    state = "open" if episode.is_open else "closed"
    return f"{state}, {episode.suppressed:,} suppressed" if episode.suppressed else state


def _explained(episodes: Sequence[EpisodeSummary]) -> Iterator[str]:
    """How many episodes exceptions explain, and which exceptions."""
    suppressed = [episode for episode in episodes if episode.is_suppressed]
    if suppressed:
        found = dict.fromkeys(episode.suppression for episode in suppressed if episode.suppression)
        which = "; ".join(map(_exception, list(found)[:MAX_EXCEPTIONS]))
        more = f"; and {len(found) - MAX_EXCEPTIONS:,} more" if len(found) > MAX_EXCEPTIONS else ""
        yield f"Exceptions explain {len(suppressed):,} of {counted(len(episodes), 'episode')}: {which}{more}."


def _exception(suppression: Suppression) -> str:
    return f"{suppression.reason.rstrip('.')} ({suppression.owner}, until {suppression.expires})"


def _overruled(trials: Iterable[Trial]) -> Iterator[str]:
    """Which thresholds have numbers for single resources that the trials did not heed."""
    for name in dict.fromkeys(f"{trial.rule_id}.{trial.threshold}" for trial in trials if trial.overrules):
        yield f"{name}: each value was tried for every resource, in place of [[resources]] entries of the tuning file."


def _caller(episode: EpisodeSummary) -> str:
    if not episode.callers:
        return "not known"
    first = episode.callers[0]
    return f"{last_part(first['ObjectId']) or first['IpAddress'] or 'not known'} ({first['Count']:,})"


def _trials(trials: Iterable[Trial]) -> Rows:
    header = ["Threshold", "Value", "Findings", "Episodes", "Resources"]
    return [header] + [
        [
            f"{trial.rule_id}.{trial.threshold}{' (in force)' if trial.in_force else ''}",
            f"{trial.value:,}",
            f"{trial.findings:,}",
            f"{trial.episodes:,}",
            f"{trial.resources:,}",
        ]
        for trial in trials
    ]


def _number(value: Number) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
