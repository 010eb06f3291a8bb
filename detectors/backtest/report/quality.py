"""The problems of the data, and what they mean for the findings."""

from collections.abc import Iterator

from detectors.backtest.outcome import Place, Quality
from detectors.backtest.presentation import counted
from detectors.rules.catalogue import BY_ID
from detectors.rules.counters import Selected
from detectors.rules.rule import Rule

_MAX_EXAMPLES = 5


def problems(read: Quality) -> list[tuple[str, int, list[Place]]]:
    """List the reasons, their counts and the first places of each; the most frequent reason first."""
    ranked = sorted(read.problems.items(), key=lambda item: -item[1])
    return [
        (reason, count, [place for place in read.examples if place.reason == reason][:_MAX_EXAMPLES])
        for reason, count in ranked
    ]


def where(place: Place) -> str:
    """Format a place: a file and its line."""
    return f"{place.file}:{place.line}" if place.line else place.file


def lengths(read: Quality, rules: list[str]) -> Iterator[tuple[str, bool]]:
    """Say how many records carry a response length, for each rule that needs it, and whether none of some does."""
    for rule in (BY_ID[rule_id] for rule_id in rules):
        selected, names = read.selected.get(rule.id, Selected()), _length_thresholds(rule)
        if names and not selected.records:
            yield f"{rule.name}: it selected no record.", False
        elif names:
            of = counted(selected.records, "selected record")
            text = f"{rule.name}: {selected.with_length:,} of {of} told how long the response was."
            yield (text, False) if selected.with_length else (f"{text} {cannot_fire(rule, names)}", True)


def dead(read: Quality, rules: list[str]) -> list[tuple[Rule, list[str]]]:
    """List the rules whose selected records all lack a response length, with the thresholds that cannot fire."""
    return [
        (BY_ID[rule_id], names)
        for rule_id in rules
        if (selected := read.selected.get(rule_id, Selected())).records
        and not selected.with_length
        and (names := _length_thresholds(BY_ID[rule_id]))
    ]


def cannot_fire(rule: Rule, names: list[str]) -> str:
    """Explain what it means for a rule that no record carries a response length."""
    dead_names, plural = " and ".join(names), "thresholds" if len(names) > 1 else "threshold"
    others = [threshold.name for threshold in rule.thresholds if threshold.name not in names]
    rest = f"only {' or '.join(others)} can." if others and rule.requires == "any" else "so the rule cannot."
    return f"On such logs the {plural} {dead_names} cannot fire, whatever the number; {rest}"


def _length_thresholds(rule: Rule) -> list[str]:
    return [threshold.name for threshold in rule.thresholds if threshold.measure == "max_response_length"]
