"""Rows as text for a pipe, a log or a README: aligned columns, Markdown, JSON lines."""

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence

from detectors.backtest.presentation import printable

Rows = Sequence[Sequence[str]]
"""Cells of a table; the first row is the header."""


def aligned(rows: Rows, *, text: Collection[int] = (0,)) -> Iterable[str]:
    """Columns as wide as their widest cell: those of `text`, by place, flush left, and numbers flush right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place in text else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def markdown(rows: Rows, *, text: Collection[int] = (0,)) -> Iterable[str]:
    """Yield the same as a Markdown table."""
    header, *body = [[printable(cell) for cell in row] for row in rows]
    for row in [header, ["---" if place in text else "---:" for place in range(len(header))], *body]:
        yield f"| {' | '.join(cell.replace('|', '\\|') for cell in row)} |"


def ndjson(objects: Iterable[Mapping[str, object]]) -> Iterable[str]:
    """Return a JSON object on each line."""
    return (json.dumps(each) for each in objects)


def write(lines: Iterable[str]) -> None:
    """Print lines."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
