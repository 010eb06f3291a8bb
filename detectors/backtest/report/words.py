"""How the page writes numbers, times, units, rules and resources."""

from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element

from detectors import resources
from detectors.backtest.report.markup import element
from detectors.rules import BY_ID
from detectors.rules.rule import Measure, Number, Rule, Severity, Threshold

DASH = "\u2013"
"""What stands for a value that is not there."""

UNITS: dict[Measure, str] = {"count": "records", "max_response_length": "bytes", "avg_request_length": "bytes"}
MEASURES: dict[Measure, str] = {
    "count": "records in the hour",
    "max_response_length": "largest response in the hour, bytes",
    "avg_request_length": "average request in the hour, bytes",
}
RANKS: dict[Severity, int] = {"Informational": 0, "Low": 1, "Medium": 2, "High": 3}
_SHAPES: dict[Severity, str] = {"Informational": "○", "Low": "●", "Medium": "◆", "High": "▲"}
_MAX_CHARACTERS = 160
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: Number | None) -> str:
    """Exact: `1,000`, `12.5`; a dash for what is not there."""
    if value is None:
        return DASH
    return f"{int(value):,}" if value == int(value) else f"{value:,.1f}"


def short(value: float) -> str:
    """For an axis: `2.5k`, `1M`."""
    for size, prefix in _PREFIXES:
        if value >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.3g}"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def minute(at: datetime) -> str:
    """A time in UTC, which the words around it say: `2026-10-05 08:10`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def moment(at: datetime) -> Element:
    """The same for programs too."""
    return element("time", minute(at), datetime=at.astimezone(UTC).isoformat(timespec="seconds"))


def duration(seconds: float) -> str:
    """Two units at most: `3.2 s`, `4 min 10 s`, `2 days 3 h`."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.3g} s"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    units = (counted(whole.days, "day"), f"{hours} h", f"{rest // 60} min", f"{rest % 60} s")
    first = next(index for index, unit in enumerate(units) if not unit.startswith("0 "))
    return " ".join(unit for unit in units[first : first + 2] if not unit.startswith("0 "))


def clipped(text: str) -> str:
    """A text that cannot fill the page; its whole goes into `title`."""
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"


def threshold_of(rule_id: str, name: str) -> Threshold:
    """A threshold of a rule of the catalogue."""
    return next(threshold for threshold in BY_ID[rule_id].thresholds if threshold.name == name)


def rule_label(rule: Rule) -> Element:
    """Its name."""
    return element("span", rule.name, class_="rule")


def severity(rule: Rule) -> Element:
    """A word and a shape; the colour only repeats them."""
    shape = element("span", _SHAPES[rule.severity], aria_hidden="true")
    return element("span", shape, f" {rule.severity}", class_=f"severity {rule.severity.lower()}")


def resource_name(resource: str) -> str:
    """The part of a resource id that people know it by; another group as it is."""
    return clipped(resources.parts(resource).name if _is_azure(resource) else resource)


def resource_label(resource: str, *, in_full: bool = False) -> Element:
    """A name, and below it in small what tells it from its namesakes; the whole id is the title."""
    label = element("span", element("strong", resource_name(resource)), class_="resource", title=resource)
    if _is_azure(resource):
        parts = resources.parts(resource)
        subscription = parts.subscription_id if in_full else _first(parts.subscription_id)
        label.append(element("small", clipped(parts.resource_group), " in ", clipped(subscription)))
    return label


def _first(subscription_id: str) -> str:
    """The first group of a subscription's id, which is how people tell theirs apart."""
    return f"{subscription_id[:8]}…" if len(subscription_id) > 8 else subscription_id  # noqa: PLR2004 - as in a GUID


def _is_azure(resource: str) -> bool:
    return resources.canonical(resource) == resource
