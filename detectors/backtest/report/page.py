"""The page: its head, what a reader must know first, and the sections in the order in which one asks."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from xml.etree.ElementTree import Element

from detectors import __version__
from detectors.backtest.outcome import Outcome
from detectors.backtest.report.callers import callers
from detectors.backtest.report.episodes import episodes, numbered
from detectors.backtest.report.labels import moment, rule_label, severity
from detectors.backtest.report.markup import Column, Node, cell, document, element, own, row, table
from detectors.backtest.report.quality import cannot_fire, dead, quality
from detectors.backtest.report.sweeps import sweeps
from detectors.backtest.report.timelines import timelines
from detectors.presentation import counted, counted_subjects, fires_at, number, size
from detectors.rules import BY_ID

_CONTENTS = (
    ("episodes", "Episodes"),
    ("timelines", "Timelines"),
    ("sweep", "Other thresholds"),
    ("callers", "Callers"),
    ("quality", "Data quality"),
)


def render(outcome: Outcome, made: datetime) -> str:
    """The report as one HTML page that loads nothing and may load nothing.

    Args:
        outcome: what the backtest came to.
        made: when, aware.
    """
    style, script = (files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    shown = numbered(outcome)
    body = element(
        "body",
        element(
            "main",
            _headline(outcome, made),
            _contents(),
            episodes(outcome, shown),
            timelines(outcome, shown),
            sweeps(outcome),
            callers(outcome, shown),
            quality(outcome.quality, outcome.rules),
        ),
        own("script", script),
    )
    return document(element("html", _head(style, script), body, lang="en"))


def _head(style: str, script: str) -> Element:
    """Only our own style and script run, known by their digests; whatever else got in could load and send nothing."""
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", "Backtest of LLM abuse detections"),
        own("style", style),
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _headline(outcome: Outcome, made: datetime) -> Element:
    return element(
        "header",
        element("h1", "Backtest of LLM abuse detections"),
        element("p", "Made ", moment(made), f" UTC with version {__version__}", class_="made"),
        _marks(outcome),
        _sentence(outcome),
        _tiles(outcome),
        _rules(outcome),
    )


def _marks(outcome: Outcome) -> Node:
    """What makes the numbers below less than they seem; nothing if they are what they seem."""
    read = outcome.quality
    marks: list[Sequence[Node]] = [] if read.records else [["no record was read."]]
    if outcome.interrupted:
        of = f"{read.files_read:,} of {counted(read.files, 'file')}"
        marks.append([f"reading was interrupted: {of} were read to the end, and the numbers are of what was read."])
    elif read.files_read < read.files:
        unread = counted(read.files - read.files_read, "file")
        marks.append([f"{unread} of {read.files:,} could not be read to the end: see ", _link(), "."])
    if problems := sum(read.problems.values()):
        kinds = counted(len(read.problems), "kind")
        marks.append([f"{counted(problems, 'problem')} of {kinds} in the data: see ", _link(), "."])
    marks += [
        [f"{rule.name}: no selected record told its response length. {cannot_fire(rule, names)}"]
        for rule, names in dead(read, outcome.rules)
    ]
    lines = (element("li", element("strong", "Attention: "), *mark) for mark in marks)
    return element("ul", *lines, class_="warning") if marks else None


def _link() -> Element:
    return element("a", "data quality", href="#quality")


def _sentence(outcome: Outcome) -> Element:
    read = outcome.quality
    found = (
        f"{counted(outcome.findings, 'finding')} in {counted(len(outcome.episodes), 'episode')} "
        f"on {counted_subjects(episode.resource for episode in outcome.episodes)}"
    )
    span: list[Node] = []
    if read.first_time is not None and read.last_time is not None:
        span = [" that arrived from ", moment(read.first_time), " to ", moment(read.last_time), " UTC"]
    what = f"On {counted(read.records, 'record')} in {counted(read.files, 'file')} ({size(read.bytes)})"
    return element("p", what, *span, ", the detector would have posted ", element("strong", found), ".", class_="lead")


def _tiles(outcome: Outcome) -> Element:
    tiles = (
        ("Findings", outcome.findings),
        ("Episodes", len(outcome.episodes)),
        ("Suppressed episodes", sum(episode.is_suppressed for episode in outcome.episodes)),
        ("Windows evaluated", outcome.windows),
        ("Records selected", outcome.quality.selected_by_any),
        ("Records read", outcome.quality.records),
    )
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", number(value))) for name, value in tiles),
        class_="tiles",
    )


def _rules(outcome: Outcome) -> Element:
    columns = (
        Column("Rule"),
        Column("Severity"),
        Column("Fires at"),
        Column("Selected", is_number=True),
        Column("Episodes", is_number=True),
    )
    rows = []
    for rule_id in outcome.rules:
        rule = BY_ID[rule_id]
        selected = outcome.quality.selected.get(rule_id)
        fired = sum(episode.rule_id == rule_id for episode in outcome.episodes)
        cells = [
            cell(element("strong", rule_label(rule)), element("small", rule_id)),
            cell(severity(outcome.severities[rule_id])),
            cell(fires_at(rule, outcome.thresholds[rule_id])),
            cell(number(selected.records if selected else 0)),
            cell(number(fired)),
        ]
        rows.append(row(columns, cells))
    return table("Rules and thresholds in force, where no resource has its own", columns, rows)


def _contents() -> Element:
    links = (element("li", element("a", title, href=f"#{name}")) for name, title in _CONTENTS)
    return element("nav", element("ul", *links), aria_label="Contents")
