"""The page: its template, its values, and the escaping of text from logs."""

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from detectors import __version__
from detectors.backtest import presentation
from detectors.backtest.outcome import Outcome
from detectors.backtest.presentation import counted, printable
from detectors.backtest.report.callers import callers
from detectors.backtest.report.episodes import RANKS, numbered, why_none
from detectors.backtest.report.quality import cannot_fire, dead, lengths, problems, where
from detectors.backtest.report.scales import STEP, percent
from detectors.backtest.report.sweeps import sweeps
from detectors.backtest.report.timelines import timelines
from detectors.rules.catalogue import BY_ID
from detectors.sources import resources

_MAX_PLACE = 200


def render(outcome: Outcome, made: datetime) -> str:
    """Render the report as one HTML page that loads nothing and may load nothing.

    Only our own style and script run, identified by their digests; anything injected could load and send nothing.

    Args:
        outcome: the outcome of the backtest.
        made: the time of the report, aware.
    """
    shown = numbered(outcome)
    return (
        template_environment()
        .get_template("page.html")
        .render(
            outcome=outcome,
            made=made.astimezone(UTC),
            caveats=list(_caveats(outcome)),
            shown=shown,
            charts=timelines(outcome, shown),
            sweeps=sweeps(outcome),
            callers=callers(outcome),
            problems=problems(outcome.quality),
            lengths=list(lengths(outcome.quality, outcome.rules)),
        )
    )


def template_environment() -> Environment:
    """Create the template environment, which escapes everything written, control characters included."""
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else printable(f"{value}"),
    )
    made.globals |= {name: value for name, value in vars(presentation).items() if not name.startswith("_")}
    made.globals |= {name: Markup(_own(f"page.{name}")) for name in ("css", "js")}  # noqa: S704 - our own files
    made.globals |= {
        "BY_ID": BY_ID,
        "MAX_CALLERS": 50,
        "MAX_LINKS": 10,
        "RANKS": RANKS,
        "SHAPES": {"Informational": "○", "Low": "●", "Medium": "◆", "High": "▲"},
        "STEP": STEP,
        "clipped_end": _clipped_end,
        "digest": _digest,
        "first_group": _first_group,
        "parts": resources.parts,
        "percent": percent,
        "version": __version__,
        "where": where,
        "why_none": why_none,
        "zip": zip,
    }
    return made


def _own(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup("'sha256-{}'").format(digest)


def _caveats(outcome: Outcome) -> Iterator[tuple[str, bool]]:
    """Yield the caveats about the numbers, each with whether a link to the data's quality follows it."""
    read = outcome.quality
    if not read.records:
        yield "no record was read.", False
    if outcome.interrupted:
        of = f"{read.files_read:,} of {counted(read.files, 'file')}"
        yield f"reading was interrupted: {of} were read to the end, and the numbers are of what was read.", False
    elif read.files_read < read.files:
        unread = counted(read.files - read.files_read, "file")
        yield f"{unread} of {read.files:,} could not be read to the end: see ", True
    if count := sum(read.problems.values()):
        yield f"{counted(count, 'problem')} of {counted(len(read.problems), 'kind')} in the data: see ", True
    if unknown := sum(read.unknown.values()):
        yield f"{counted(unknown, 'record')} of no log that is read here: see ", True
    for rule, names in dead(read, outcome.rules):
        yield f"{rule.name}: no selected record told its response length. {cannot_fire(rule, names)}", False


def _first_group(subscription_id: str) -> str:
    """Shorten a subscription's id to its first group, by which people distinguish subscriptions."""
    return f"{subscription_id[:8]}…" if len(subscription_id) > 8 else subscription_id  # noqa: PLR2004 - as in a GUID


def _clipped_end(text: str) -> str:
    """Shorten a place that would fill the page to its end, which distinguishes files and lines."""
    return text if len(text) <= _MAX_PLACE else f"…{text[-_MAX_PLACE:]}"
