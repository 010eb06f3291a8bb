"""Labels of the page: times, rules, severities and resources as elements."""

from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from detectors import resources
from detectors.backtest.report.markup import element
from detectors.presentation import clipped, is_azure, is_user, minute, resource_name
from detectors.rules.rule import Rule, Severity

RANKS: dict[Severity, int] = {"Informational": 0, "Low": 1, "Medium": 2, "High": 3}
_SHAPES: dict[Severity, str] = {"Informational": "○", "Low": "●", "Medium": "◆", "High": "▲"}


def moment(at: datetime) -> Element:
    """A time for people and for programs."""
    return element("time", minute(at), datetime=at.astimezone(UTC).isoformat(timespec="seconds"))


def rule_label(rule: Rule) -> Element:
    """The name of a rule."""
    return element("span", rule.name, class_="rule")


def severity(level: Severity) -> Element:
    """A word and a shape; the colour only repeats them."""
    shape = element("span", _SHAPES[level], aria_hidden="true")
    return element("span", shape, f" {level}", class_=f"severity {level.lower()}")


def resource_label(rule: Rule, resource: str, *, in_full: bool = False) -> Element:
    """A name, and below it in small what tells it from its namesakes; the whole id is the title."""
    label = element("span", element("strong", resource_name(resource)), class_="resource", title=resource)
    first, *others = resource.split(" ")
    if is_azure(first):
        parts = resources.parts(first)
        subscription = parts.subscription_id if in_full else _first(parts.subscription_id)
        label.append(element("small", clipped(parts.resource_group), " in ", clipped(subscription)))
    if is_azure(first) or is_user(first):
        fields = rule.group_fields[1:]
        for name, value in zip(fields, others, strict=False):
            label.append(element("small", f"{name} ", clipped(value)))
    return label


def _first(subscription_id: str) -> str:
    """The first group of a subscription's id, which is how people tell theirs apart."""
    return f"{subscription_id[:8]}…" if len(subscription_id) > 8 else subscription_id  # noqa: PLR2004 - as in a GUID
