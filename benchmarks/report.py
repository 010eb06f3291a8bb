"""What was measured, as tables for a person or as lines of JSON for a program."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

type Cell = str | int | float

_SIGNIFICANT_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its key in JSON, its heading (the key by default), and how a number is formatted."""

    key: str
    heading: str = ""
    number: str = ","


@dataclass(frozen=True, slots=True)
class Section:
    """One measurement: rows that fit the columns, and what the reader must know to read them."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]
    note: str = ""


def show(section: Section, console: Console) -> None:
    """Print a section as a table."""
    table = Table(title=section.title, title_justify="left", caption=section.note or None, caption_justify="left")
    for column in section.columns:
        words = isinstance(section.rows[0][column.key], str)
        table.add_column(column.heading or column.key, justify="left" if words else "right")
    for row in section.rows:
        table.add_row(*(text_of(row[column.key], column) for column in section.columns))
    console.print(table)


def lines(section: Section) -> Iterator[str]:
    """Yield a section as JSON, a line for each row."""
    for row in section.rows:
        values = {column.key: _rounded(row[column.key]) for column in section.columns}
        yield json.dumps({"section": section.name, **values})


def text_of(cell: Cell, column: Column) -> str:
    """Return a cell as people read it."""
    return cell if isinstance(cell, str) else format(cell, column.number)


def _rounded(cell: Cell) -> Cell:
    """Digits beyond these are noise."""
    return float(f"{cell:.{_SIGNIFICANT_DIGITS}g}") if isinstance(cell, float) else cell
