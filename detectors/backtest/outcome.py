"""The outcome of a backtest: plain values from which the terminal, ndjson and the HTML report are made."""

from datetime import datetime

import msgspec

from detectors.evaluation.suppressions import Suppression
from detectors.reporting.finding import Dynamic
from detectors.rules.catalogue import BY_ID
from detectors.rules.counters import Selected
from detectors.rules.rule import Measure, Number, Severity
from detectors.rules.tally import Key


class Place(msgspec.Struct, frozen=True):
    """One bad line or record, and where it is.

    Attributes:
        file: the path as given on the command line, or found below a given folder.
        line: from 1; of an Avro file the sequence number; 0 for the whole file.
        reason: a short stable code, such as `not_json`.
        detail: a sentence for the reader.
    """

    file: str
    line: int
    reason: str
    detail: str


class Delays(msgspec.Struct, frozen=True):
    """Seconds from a message's newest record to its arrival in the hub, over messages whose arrival is known."""

    messages: int
    median: float
    p95: float
    largest: float


class Quality(msgspec.Struct, kw_only=True):
    """The quality of the data read.

    Attributes:
        files: the number of inputs.
        files_read: how many of them were read to their end.
        bytes: their size on disk.
        records: records read, bad ones included.
        selected: by rule id: records selected, and how many carried a response length.
        selected_by_any: records that one rule or more selected.
        unknown: records of no known source, by the names of their fields, most records first.
        problems: bad lines and records by reason.
        examples: where the first of each reason are.
        duplicates: captured events that came a second time and were not counted again.
        first_time: the earliest arrival, None if there was no record.
        last_time: the latest.
        delays: None if no file records when its messages arrived.
    """

    files: int = 0
    files_read: int = 0
    bytes: int = 0
    records: int = 0
    selected: dict[str, Selected] = {}
    selected_by_any: int = 0
    unknown: dict[str, int] = {}
    problems: dict[str, int] = {}
    examples: list[Place] = []
    duplicates: int = 0
    first_time: datetime | None = None
    last_time: datetime | None = None
    delays: Delays | None = None


class EpisodeSummary(msgspec.Struct, kw_only=True):
    """One episode of one group.

    Attributes:
        episode_id: as in its findings.
        rule_id: the rule.
        resource: the canonical resource id, or the group of a rule that groups by something else.
        first_window: end of its first window that fired.
        last_window: end of its last.
        is_open: whether it still fired in the last window evaluated.
        windows: how many fired; of a rule that looks at minutes, how many minutes.
        suppressed: how many of them a suppression rule explains.
        suppression: the last such suppression.
        severity: the highest of what fired.
        escalations: findings with status Escalated.
        peaks: by threshold name, the largest value that fired.
        callers: as in a finding, of the window or minute with the highest count.
        callers_truncated: whether there were more.
    """

    episode_id: str
    rule_id: str
    resource: str
    first_window: datetime
    last_window: datetime
    is_open: bool = True
    windows: int = 0
    suppressed: int = 0
    suppression: Suppression | None = None
    severity: Severity = "Informational"
    escalations: int = 0
    peaks: dict[str, Number] = {}
    callers: Dynamic = []
    callers_truncated: bool = False

    @property
    def is_suppressed(self) -> bool:
        """Whether suppression rules explain all of it, so that nobody is alerted."""
        return self.suppressed == self.windows


class Trial(msgspec.Struct, kw_only=True, frozen=True):
    """The outcome of one tried value of a threshold, with everything else as in force.

    Attributes:
        rule_id: the rule.
        threshold: the threshold's name.
        value: the number that was tried.
        in_force: whether it is the number of the backtest itself, for resources without their own.
        overrules: whether some resources have their own number, which this one replaced in the trial.
        findings: rows posted, for the rule.
        episodes: of the rule.
        resources: distinct ones with an episode.
    """

    rule_id: str
    threshold: str
    value: int
    in_force: bool
    overrules: bool
    findings: int
    episodes: int
    resources: int


class Timeline(msgspec.Struct, kw_only=True):
    """The values of one measure of one group by window; windows without a selected record are left out (0).

    For a rule per minute, the values by minute.

    Attributes:
        rule_id: the rule.
        threshold: the threshold's name.
        measure: what it compares.
        at_least: the number in force.
        resource: the canonical resource id, or the group of a rule that groups by something else.
        points: window end, or begin of the minute, in seconds since 1970, and value; in order of time.
    """

    rule_id: str
    threshold: str
    measure: Measure
    at_least: int
    resource: str
    points: list[tuple[int, Number]]


class Outcome(msgspec.Struct, kw_only=True):
    """The whole outcome of a backtest.

    Attributes:
        quality: what was read.
        rules: ids of the rules that were evaluated.
        thresholds: numbers in force, by rule id and threshold name, where no resource has its own.
        severities: likewise, by rule id.
        windows: windows evaluated that held a selected record or an open episode.
        findings: findings the detector would have posted; a minute of an episode is one, even if late records
            increased it.
        episodes: in the order of their first window.
        trials: by rule and threshold in the order asked for, values ascending.
        timelines: of the groups that came nearest to a threshold or above; the nearest first.
        timelines_left_out: how many groups more there were.
        interrupted: whether reading stopped before the end.
    """

    quality: Quality
    rules: list[str]
    thresholds: dict[str, dict[str, int]]
    severities: dict[str, Severity]
    windows: int = 0
    findings: int = 0
    episodes: list[EpisodeSummary] = []
    trials: list[Trial] = []
    timelines: list[Timeline] = []
    timelines_left_out: int = 0
    interrupted: bool = False


def group_name(key: Key) -> str:
    """Format a tally's group for people: the values of its group fields, without the minute."""
    return " ".join(BY_ID[key.rule_id].episode_group(key.group))
