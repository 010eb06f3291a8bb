"""Formats numbers, times, units, rules and resources for people: the same words on a terminal and on a page."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Measure, Number, Rule, Threshold
from detectors.sources import resources

DASH = "\u2013"
"""The mark for a missing value."""

_HOW = {"max": "largest", "avg": "average", "sum": "all"}
_MEASURES: dict[Measure, str] = {
    "count": "records in the {}",
    "distinct": "different ones in the {}",
    "max_caller_bytes": "bytes to one caller in the {}",
    "days_watched": "days for which others were seen",
}
_MAX_CHARACTERS = 160
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SIZES = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"))


def printable(text: str) -> str:
    r"""Escape control, format and private characters, odd spaces and lone surrogates, such as `\u202e`.

    Whoever names a resource could otherwise turn the direction of a line, hide a part of it, command a terminal, or
    write what no file can hold.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def number(value: Number | None) -> str:
    """Format a number: `1,000`, `12.5`; a dash for None."""
    if value is None:
        return DASH
    return f"{int(value):,}" if value == int(value) else f"{value:,.1f}"


def amount(value: Number, what: Measure) -> str:
    """With its unit: `1 record`, `1,000 bytes`."""
    unit = unit_of(what)
    return f"{number(value)} {unit.removesuffix('s') if value == 1 else unit}"


def short(value: float) -> str:
    """Format a number for an axis: `2.5k`, `1M`."""
    for size, prefix in _PREFIXES:
        if value >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.3g}"


def size(count: int) -> str:
    """Format a file size: `0.3 KB`, `1,204.7 GB`."""
    unit, name = next(((unit, name) for unit, name in _SIZES if count >= unit), _SIZES[-1])
    return f"{count / unit:,.1f} {name}"


def counted(count: int, one: str, many: str = "") -> str:
    """Format a count with its noun: `1 file`, `2,000 files`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def minute(at: datetime) -> str:
    """Format a time to the minute, `2026-10-05 08:10`; the text around it says that it is UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def duration(seconds: float) -> str:
    """Format a duration in at most two units: `3.2 s`, `4 min 10 s`, `2 days 3 h`."""
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
    """Shorten a text that would fill the page; the whole text goes into `title`."""
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"


def threshold_of(rule_id: str, name: str) -> Threshold:
    """Find a threshold of a rule of the catalogue."""
    return next(threshold for threshold in BY_ID[rule_id].thresholds if threshold.name == name)


def unit_of(what: Measure) -> str:
    """Name the unit of a measure's values."""
    if what in {"count", "distinct"}:
        return "records" if what == "count" else "members"
    if what == "days_watched":
        return "days"
    return "tokens" if what.endswith("tokens") else "bytes"


def measured(rule: Rule, what: Measure) -> str:
    """Describe a measure: `largest response in the hour, bytes`."""
    span = "minute" if rule.per_minute else "hour"
    if what in _MEASURES:
        return _MEASURES[what].format(span)
    how, _, number = what.partition("_")
    about = number.removesuffix("_length").removesuffix("_tokens")
    return f"{_HOW[how]} {about} in the {span}, {unit_of(what)}"


def fires_at(rule: Rule, at_least: Mapping[str, int]) -> str:
    """Describe a rule's thresholds in one line: `count ≥ 10 records and request_length ≥ 5,000 bytes in a minute`."""
    word = "or" if rule.requires == "any" else "and"
    limits = (f"{each.name} ≥ {amount(at_least[each.name], each.measure)}" for each in rule.thresholds)
    return f" {word} ".join(limits) + (" in a minute" if rule.per_minute else " in an hour")


def resource_name(resource: str) -> str:
    """Shorten a resource's or user's id to the part that people know; leave another group as it is."""
    first = resource.partition(" ")[0]
    if is_azure(first):
        return clipped(resources.parts(first).name)
    return clipped(last_part(first) if is_user(first) else resource)


def resource_short(resource: str) -> str:
    """Shorten a resource to what distinguishes it from its namesakes: group and name, or the last part of an ARN."""
    first, *others = resource.split(" ")
    if is_azure(first):
        parts = resources.parts(first)
        first = f"{parts.resource_group}/{parts.name}"
    return " ".join([last_part(first), *others])


def last_part(identity: str) -> str:
    """Shorten an ARN to its last part; leave another identity as it is."""
    return identity.rpartition(":")[2] if is_user(identity) else identity


def counted_entities(entities: Iterable[str]) -> str:
    """Count resources and AWS users: `4 resources and 1 user`."""
    firsts = {entity.partition(" ")[0] if entity.startswith(("/", "arn:")) else entity for entity in entities}
    users = sum(map(is_user, firsts))
    parts = [counted(len(firsts) - users, "resource")] if users < len(firsts) or not users else []
    return " and ".join([*parts, *([counted(users, "user")] if users else [])])


def is_azure(resource: str) -> bool:
    """Check whether this is the canonical id of an Azure resource."""
    return resources.canonical(resource) == resource


def is_user(first: str) -> bool:
    """Check whether this is the ARN of an identity."""
    return first.startswith("arn:") and not first.endswith(":")
