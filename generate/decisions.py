"""The list of decisions, from their pages."""

import re
from pathlib import Path

from generate.markdown import table

_HEAD = re.compile(r"# (\d{4}) (.+)\n\nStatus: (\w+), (\d{4}-\d\d-\d\d)\n")


def listed(folder: Path) -> str:
    """Make the table of decisions.

    Raises:
        ValueError: a page does not begin with its number, its title, its status and the date of that.
    """
    rows = []
    for path in sorted(folder.glob("[0-9]*.md")):
        head = _HEAD.match(path.read_text())
        if not head or head[1] != path.name[:4]:
            raise ValueError(
                f"{path.name} has to begin with '# {path.name[:4]} Title', then 'Status: accepted, <day>'."
            )
        rows.append((head[1], f"[{head[2]}]({path.name})", head[3], head[4]))
    return table(("Number", "Decision", "Status", "Since"), rows)
