"""Counters for the heartbeat. Mergeable, as tallies are."""

from collections.abc import Mapping

import msgspec

MAX_ACCOUNTS = 100
"""Accounts that counters list: with their longest ids they still fit into a storage property."""


MAX_SHAPES = 20
OTHER_SHAPES = "(others)"
"""Shapes of records of no known source that are told apart, and what the others are counted under."""


class Selected(msgspec.Struct, array_like=True, gc=False):
    """Records that a rule selected, and how many of them carried a response length (the dead-field canary)."""

    records: int = 0
    with_length: int = 0

    def merged(self, other: "Selected") -> "Selected":
        """Combine both."""
        return Selected(self.records + other.records, self.with_length + other.with_length)


class Counters(msgspec.Struct, array_like=True):
    """Counters for the heartbeat.

    Attributes:
        messages: Event Hub events.
        records: records in them, flawed ones included.
        selected: by rule id.
        quarantined: flaws by reason.
        lag_ms: the longest time between arrival in the hub and counting, milliseconds.
        accounts: canonical ids of the Azure OpenAI accounts that logged anything, selected or not; the first
            `MAX_ACCOUNTS` in order.
        by_any_rule: records that at least one rule selected.
        unknown: records of no known source, by the names of their fields: probably something wraps the logs.
    """

    messages: int = 0
    records: int = 0
    selected: dict[str, Selected] = msgspec.field(default_factory=dict)
    quarantined: dict[str, int] = msgspec.field(default_factory=dict)
    lag_ms: int = 0
    accounts: list[str] = msgspec.field(default_factory=list)
    by_any_rule: Selected = msgspec.field(default_factory=Selected)
    unknown: dict[str, int] = msgspec.field(default_factory=dict)

    def merged(self, other: "Counters") -> "Counters":
        """Combine both."""
        selected = dict(self.selected)
        for rule_id, more in other.selected.items():
            selected[rule_id] = selected[rule_id].merged(more) if rule_id in selected else more
        return Counters(
            messages=self.messages + other.messages,
            records=self.records + other.records,
            selected=selected,
            quarantined=_summed(self.quarantined, other.quarantined),
            lag_ms=max(self.lag_ms, other.lag_ms),
            accounts=sorted({*self.accounts, *other.accounts})[:MAX_ACCOUNTS],
            by_any_rule=self.by_any_rule.merged(other.by_any_rule),
            unknown=_bounded(_summed(self.unknown, other.unknown)),
        )


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _bounded(shapes: dict[str, int]) -> dict[str, int]:
    """Keep the most frequent shapes, and count the others together."""
    if len(shapes) <= MAX_SHAPES:
        return shapes
    ranked = sorted(shapes.items(), key=lambda item: (item[0] == OTHER_SHAPES, -item[1], item[0]))
    kept, rest = ranked[: MAX_SHAPES - 1], ranked[MAX_SHAPES - 1 :]
    return dict(kept) | {OTHER_SHAPES: sum(count for _, count in rest)}
