"""The catalogue: every rule, in the order in which findings list them. A new rule is a file in this folder.

A folder of further rules, named by the environment variable RULES_FOLDER, is read the same way. Which rules there are
is settled when the process starts. What is wrong with a file is kept in `PROBLEMS`, for whoever reads the settings.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from detectors.rules import reading
from detectors.rules.rule import Rule

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
"""The app's folder: where paths in settings begin."""

RULES_FOLDER = "RULES_FOLDER"


def load(folders: Iterable[Path]) -> tuple[tuple[Rule, ...], list[str]]:
    """Read the rules of some folders, in their order; and everything that is wrong with any of their files."""
    problems: list[str] = []
    rules: dict[str, Rule] = {}
    for folder in folders:
        paths = sorted(folder.glob("*.toml"))
        if not paths:
            problems.append(f"{folder} holds no rule: give it files such as my_rule.toml.")
        for path in paths:
            rule = reading.read(path, problems)
            if rule and rule.id in rules:
                problems.append(f"{path.name}: there is a rule {rule.id} already: give it another id.")
            elif rule:
                rules[rule.id] = rule
    return tuple(sorted(rules.values(), key=lambda rule: (rule.order, rule.id))), problems


def guide(rule: Rule) -> str:
    """Read the triage guide of a rule as Markdown; empty if there is none."""
    paths = (folder / f"{rule.id}.md" for folder in _folders())
    return next((path.read_text(encoding="utf-8").strip() for path in paths if path.exists()), "")


def _folders() -> list[Path]:
    own = os.environ.get(RULES_FOLDER, "").strip()
    return [HERE, ROOT / own] if own else [HERE]


CATALOGUE, PROBLEMS = load(_folders())
BY_ID: dict[str, Rule] = {rule.id: rule for rule in CATALOGUE}
