"""The navigation of the site."""

from pathlib import Path
from typing import Any

from generate.navigation import on_config


def test_a_pattern_becomes_the_pages_that_no_other_entry_names(tmp_path: Path) -> None:
    """In the order of their names, wherever it stands."""
    for name in ("index.md", "b.md", "a.md"):
        (tmp_path / name).touch()
    config: dict[str, Any] = {"docs_dir": str(tmp_path), "nav": [{"Home": "b.md"}, {"All": ["index.md", "*.md"]}]}
    on_config(config)
    assert config["nav"] == [{"Home": "b.md"}, {"All": ["index.md", "a.md", "b.md"]}]
