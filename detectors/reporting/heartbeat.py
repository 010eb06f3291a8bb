"""The heartbeat of each evaluation, so that silence is never mistaken for safety."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from detectors import __version__
from detectors.evaluation.silence import MAX_SILENT, SilentAccount
from detectors.evaluation.suppressions import SuppressionRule
from detectors.evaluation.window import Crowd
from detectors.events import Source
from detectors.reporting.finding import Dynamic
from detectors.rules.counters import Counters
from detectors.sources.resources import MAX_ACCOUNT_BYTES
from detectors.storage.buckets import Watermark
from detectors.windows import BUCKET_MICROSECONDS, WINDOW, from_microseconds, microseconds

MAX_CROWDS = 20
"""Groups of others that one heartbeat lists; as below."""

MAX_LEAD_CHARACTERS = 512
"""Of whoever leads them; longer than any id that a service gives."""

MAX_EXPIRED = 20
"""Expired suppression rules that one heartbeat lists; keeps the column far below 64 KB."""


class Heartbeat(msgspec.Struct, rename="pascal", kw_only=True):
    """One evaluation: a row of `LlmDetectorHealth_CL`. If rows stop, nothing is being evaluated.

    A record that several rules select counts once in `RecordsSelected`, and once for each rule in `SelectedByRule`.
    There `WithLength` of `Records` is the dead-field canary: at 0, no length threshold of that rule can fire.

    Attributes:
        time_generated: when the window was evaluated.
        window_start: the begin of the hour, by arrival.
        window_end: its end.
        messages: Event Hub events counted.
        records: records in them.
        records_selected: records that at least one rule selected.
        selected_with_length: those that carried a response length.
        selected_by_rule: RuleId, Records, WithLength; at 0 WithLength no length threshold of that rule can
            fire.
        records_quarantined: records, or parts of messages, that could not be read.
        quarantined_by_reason: Reason, Records.
        unknown_records: records of no known source by the names of their fields: Fields, Records, most records first,
            at most 20; probably something wraps the logs.
        resources_seen: resources (for AWS Bedrock: users) with selected records.
        accounts: resource ids of the Azure OpenAI accounts that logged anything, at most 100.
        findings: rows posted for this window.
        open_episodes: episodes that are open after this window.
        windows_caught_up: windows, not evaluated before, that the same run evaluated before this one.
        windows_skipped: windows that were lost, since their buckets were no longer kept.
        reevaluated: the window had been evaluated before, and something changed.
        partitions: Namespace, Hub, Partition, LastSequence, LastArrival and LagSeconds of every partition
            that buckets are kept of; no LagSeconds: nothing counted in the window.
        max_lag_seconds: the longest time from arrival in the hub to its count.
        expired_exceptions: RuleId, Resource, Callers (how many), Owner and Expires of exceptions that no
            longer hold, the latest first, at most 20.
        silent_accounts: ResourceId, LastSeen and UsualGapHours of accounts that have stopped logging: for twice
            the longest gap between their records and for a day at least; at most 100, the latest 50 first, and of the
            others each in its turn.
        other_silent_accounts: how many more there are.
        empty_hours: for how long no account has logged, if that is longer than usual; 0 if it is not, empty while no
            account is known.
        truncated_groups: RuleId, Of and Records of groups that were counted together as `(others)`, since whoever leads
            them, an account or a caller, has more than are told apart; most records first, at most 20.
        other_truncated_groups: how many more there are.
        failed_rules: RuleId and Error of rules that could not be evaluated; their findings are missing.
        detector_version: the release that posted the row.
    """

    time_generated: datetime
    window_start: datetime
    window_end: datetime
    messages: int
    records: int
    records_selected: int
    selected_with_length: int
    selected_by_rule: Dynamic
    records_quarantined: int
    quarantined_by_reason: Dynamic
    unknown_records: Dynamic
    resources_seen: int
    accounts: list[str]
    findings: int
    open_episodes: int
    windows_caught_up: int
    windows_skipped: int
    reevaluated: bool
    partitions: Dynamic
    max_lag_seconds: float
    expired_exceptions: Dynamic
    silent_accounts: Dynamic
    other_silent_accounts: int
    empty_hours: int | None
    truncated_groups: Dynamic
    other_truncated_groups: int
    failed_rules: Dynamic
    detector_version: str


class Partition(msgspec.Struct, rename="pascal", kw_only=True):
    """How far one Event Hub partition is counted; one for every partition with stored buckets.

    `lag_seconds` is the longest time from arrival to counting in the window, None if nothing was counted: then
    `last_arrival` shows whether the partition is silent or stuck.
    """

    namespace: str
    hub: str
    partition: str
    last_sequence: int
    last_arrival: datetime
    lag_seconds: float | None


class WindowHealth(msgspec.Struct):
    """What was counted in a window."""

    counters: Counters
    partitions: list[Partition]


class RunProgress(msgspec.Struct):
    """The progress of a run up to its window.

    Attributes:
        windows_caught_up: windows that the same run evaluated before this one.
        windows_skipped: windows that were never evaluated, because their buckets are no longer kept.
        reevaluated: the window had been evaluated before, and its buckets or predecessors changed.
    """

    windows_caught_up: int = 0
    windows_skipped: int = 0
    reevaluated: bool = False


class Counted(msgspec.Struct):
    """The counters of a window, and the longest lag of each partition that brought something, in milliseconds."""

    counters: Counters = msgspec.field(default_factory=Counters)
    lags_ms: list[tuple[Source, int]] = []


def count_up(parts: Iterable[tuple[Source, Counters]]) -> Counted:
    """Sum up the counters of a window's buckets."""
    total = Counters()
    lags_ms: dict[Source, int] = {}
    for source, counters in parts:
        total = total.merged(counters)
        lags_ms[source] = max(counters.lag_ms, lags_ms.get(source, 0))
    return Counted(total, list(lags_ms.items()))


def measure_health(counted: Counted, watermarks: Iterable[tuple[Source, Watermark]]) -> WindowHealth:
    """Combine what was counted with how far each partition is counted."""
    lags_ms = dict(counted.lags_ms)
    partitions = [
        Partition(
            namespace=source.namespace,
            hub=source.hub,
            partition=source.partition,
            last_sequence=watermark.sequence,
            last_arrival=from_microseconds(watermark.enqueued),
            lag_seconds=lags_ms[source] / 1000 if source in lags_ms else None,
        )
        for source, watermark in sorted(watermarks)
    ]
    return WindowHealth(counted.counters, partitions)


def heartbeat(
    window_end: datetime,
    now: datetime,
    health: WindowHealth,
    progress: RunProgress,
    *,
    resources_seen: int,
    findings: int,
    open_episodes: int,
    expired: Sequence[SuppressionRule] = (),
    silent: Sequence[SilentAccount] = (),
    empty_hours: int | None = None,
    crowds: Sequence[Crowd] = (),
    failed: Mapping[str, str] | None = None,
) -> Heartbeat:
    """Build the row that reports the evaluation of a window."""
    total, failed = health.counters, failed or {}
    largest = sorted(crowds, key=lambda crowd: (-crowd.records, crowd.rule_id, crowd.lead))
    by_rule = sorted(total.selected.items())
    listed = _listed([one for one in silent if len(one.resource_id.encode()) <= MAX_ACCOUNT_BYTES], window_end)
    return Heartbeat(
        time_generated=now,
        window_start=window_end - WINDOW,
        window_end=window_end,
        messages=total.messages,
        records=total.records,
        records_selected=total.by_any_rule.records,
        selected_with_length=total.by_any_rule.with_length,
        selected_by_rule=[
            {"RuleId": rule_id, "Records": selected.records, "WithLength": selected.with_length}
            for rule_id, selected in by_rule
        ],
        records_quarantined=sum(total.quarantined.values()),
        quarantined_by_reason=[
            {"Reason": reason, "Records": count} for reason, count in sorted(total.quarantined.items())
        ],
        unknown_records=[
            {"Fields": shape, "Records": count}
            for shape, count in sorted(total.unknown.items(), key=lambda one: (-one[1], one[0]))
        ],
        resources_seen=resources_seen,
        accounts=total.accounts,
        findings=findings,
        open_episodes=open_episodes,
        windows_caught_up=progress.windows_caught_up,
        windows_skipped=progress.windows_skipped,
        reevaluated=progress.reevaluated,
        partitions=[msgspec.to_builtins(partition) for partition in health.partitions],
        max_lag_seconds=total.lag_ms / 1000,
        expired_exceptions=[
            {
                "RuleId": suppression_rule.scope.rule,
                "Resource": suppression_rule.scope.resource,
                "Callers": len(suppression_rule.callers),
                "Owner": suppression_rule.owner,
                "Expires": suppression_rule.expires.isoformat(),
            }
            for suppression_rule in expired[:MAX_EXPIRED]
        ],
        silent_accounts=[
            {
                "ResourceId": account.resource_id,
                "LastSeen": account.last_seen.isoformat(),
                "UsualGapHours": account.usual_gap,
            }
            for account in listed
        ],
        other_silent_accounts=len(silent) - len(listed),
        empty_hours=empty_hours,
        truncated_groups=[
            {"RuleId": crowd.rule_id, "Of": crowd.lead[:MAX_LEAD_CHARACTERS], "Records": crowd.records}
            for crowd in largest[:MAX_CROWDS]
        ],
        other_truncated_groups=len(largest[MAX_CROWDS:]),
        failed_rules=[{"RuleId": rule_id, "Error": error} for rule_id, error in sorted(failed.items())],
        detector_version=__version__,
    )


def _listed(silent: Sequence[SilentAccount], window_end: datetime) -> list[SilentAccount]:
    """Choose the silent accounts that a heartbeat lists: the latest, and of the others each in its turn."""
    latest, longer = list(silent[: MAX_SILENT // 2]), silent[MAX_SILENT // 2 :]
    room = MAX_SILENT - len(latest)
    if len(longer) <= room:
        return [*latest, *longer]
    first = microseconds(window_end) // BUCKET_MICROSECONDS * room
    return latest + [longer[place % len(longer)] for place in range(first, first + room)]
