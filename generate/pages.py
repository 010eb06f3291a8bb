"""The generated pages and blocks, by path.

A block stands between two comments in a page that people write: `<!-- generated: settings -->` and `<!-- end -->`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from detectors.rules.catalogue import HERE, load
from generate import columns, decisions, deployment, detections, packages, rule_file, sample, settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DETECTIONS = DOCS / "detections"
INDEX = DETECTIONS / "index.md"
SHIPPED, _ = load([HERE])
"""The rules of this project alone, whatever `RULES_FOLDER` adds."""

_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
BLOCKS: Mapping[str, Callable[[], str]] = {
    "alerts": lambda: detections.alerts(SHIPPED),
    "decisions": lambda: decisions.listed(DOCS / "decisions"),
    "finding": sample.finding,
    "finding-columns": columns.findings,
    "heartbeat-columns": columns.heartbeats,
    "host": deployment.host,
    "measures": rule_file.measures,
    "packages": packages.packages,
    "parameters": deployment.parameters,
    "rule-fields": rule_file.fields,
    "rule-file": rule_file.form,
    "rule-settings": lambda: settings.of_rules(SHIPPED),
    "settings": settings.settings,
}


def pages() -> dict[Path, str]:
    """Render every page that is generated, in whole or in part."""
    of_rules = {DETECTIONS / f"{rule.id}.md": detections.page(rule) for rule in SHIPPED}
    written = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if path not in of_rules)]
    blocks = {name: render() for name, render in BLOCKS.items()}
    return of_rules | {path: _filled(path, blocks) for path in written}


def _filled(path: Path, blocks: Mapping[str, str]) -> str:
    """Fill the blocks of a page."""
    rules = detections.rules(SHIPPED, str(DETECTIONS.relative_to(path.parent, walk_up=True)))
    known = {**blocks, "rules": rules}
    return _BLOCK.sub(lambda found: f"{found[1]}{known[found[2]]}\n{found[3]}", path.read_text())
