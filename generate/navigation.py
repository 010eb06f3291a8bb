"""Fills patterns such as `detections/*.md` in the navigation of mkdocs.yml, which loads this as a hook."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any


def on_config(config: MutableMapping[str, Any]) -> None:
    """Put the pages of a pattern in its place, but for those that stand by their own name."""
    docs = Path(config["docs_dir"])
    config["nav"] = list(_filled(config["nav"], docs))


def _filled(entries: list[Any], docs: Path) -> Iterator[Any]:
    named = {
        path
        for entry in entries
        for path in (entry.values() if isinstance(entry, dict) else [entry])
        if isinstance(path, str)
    }
    for entry in entries:
        if isinstance(entry, str) and "*" in entry:
            found = (path.relative_to(docs).as_posix() for path in sorted(docs.glob(entry)))
            yield from (path for path in found if path not in named)
        elif isinstance(entry, dict):
            yield {
                title: list(_filled(inner, docs)) if isinstance(inner, list) else inner
                for title, inner in entry.items()
            }
        else:
            yield entry
