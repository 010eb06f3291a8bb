"""Rules for tests of examples."""

from dataclasses import replace

from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Rule, Selection


def rule_of(*select: Selection) -> Rule:
    """Return a rule that selects this."""
    return replace(BY_ID["model_theft"], select=select)
