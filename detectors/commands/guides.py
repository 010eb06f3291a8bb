"""What is written about a rule next to its code: the docstring of its module, and a guide for whoever gets its alert.

A rule lives in the module of `detectors/rules/` that is named after its id; its guide is the Markdown file beside it.
"""

from importlib import import_module
from inspect import cleandoc
from pathlib import Path

from detectors.errors import DetectorError
from detectors.rules.rule import Rule

FOLDER = Path(__file__).parents[1] / "rules"


class GuideError(DetectorError):
    """A rule has no guide, or it cannot be read."""


def description(rule: Rule) -> str:
    """What the rule looks for and what it cannot see, in words."""
    module = import_module(f"detectors.rules.{rule.id}")
    return cleandoc(module.__doc__ or "")


def guide(rule: Rule, folder: Path = FOLDER) -> str:
    """What to do about an alert of the rule, in Markdown. Raises `GuideError` if there is none."""
    try:
        return (folder / f"{rule.id}.md").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise GuideError(f"The triage guide of {rule.id} cannot be read: {error}.") from error
