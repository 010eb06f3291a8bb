r"""Messages of which no rule can select a record: told without parsing them, at a tenth of its cost.

This works for rules that read one operation, as on a hub full of requests of which only key readings matter. A record
that names the operation holds its name in plain letters, unless some are written as `\u00..`: a message with such an
escape is parsed. So not a record is missed. What is broken in a skipped message is not noticed.
"""

import re
from collections.abc import Iterable

import stringzilla

from detectors.rules.rule import Rule

_ESCAPE = "\\u00"
_KEY = '"operationName"'
_RESOURCE_ID = re.compile(rb'"resourceId"\s*:\s*"([^"\\]*)"')


class Sieve:
    """Skips messages for a set of rules."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        read = [rule.operations for rule in rules]
        names = frozenset[str]().union(*(names for names in read if names))
        self._name = next(iter(names)) if len(names) == 1 and None not in read else None

    def skips(self, body: bytes) -> bool:
        """Whether no record in a message can be selected."""
        if self._name is None:
            return False
        text = stringzilla.Str(body)
        return bool(text.find(self._name) < 0 and text.find(_ESCAPE) < 0)


def records_in(body: bytes) -> int:
    """How many records a skipped message holds: how often they name their operation."""
    return int(stringzilla.Str(body).count(_KEY))


def first_resource_id(body: bytes) -> str | None:
    """The resource of the first record in a skipped message; None if it has none."""
    found = _RESOURCE_ID.search(body)
    return found[1].decode(errors="replace") if found else None
