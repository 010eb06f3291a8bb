"""HTML and SVG as trees: text from logs can only ever become text, and what would hide or reorder it is spelled out."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element, tostring

from detectors.presentation import printable

MAX_ROWS = 500
"""Rows a table shows: a threshold set far too low must not make a page that no browser opens."""

Node = Element | str | None
"""A child: None adds nothing."""


def element(tag: str, *children: Node, **attributes: str | float | None) -> Element:
    """An element; `class_` and `data_sort` stand for `class` and `data-sort`, an attribute of None is left out."""
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), printable(f"{value}"))
    for child in children:
        append(made, child)
    return made


def append(parent: Element, child: Node) -> None:
    """Put a child behind those that are there."""
    if isinstance(child, Element):
        parent.append(child)
    elif child and len(parent):
        parent[-1].tail = (parent[-1].tail or "") + printable(child)
    elif child:
        parent.text = (parent.text or "") + printable(child)


def own(tag: str, text: str) -> Element:
    """A `style` or `script` of our own, as it is; nothing from logs may come here."""
    made = Element(tag)
    made.text = text
    return made


def document(root: Element) -> str:
    """The page's text."""
    return f"<!doctype html>\n{tostring(root, encoding='unicode', method='html')}\n"


class Column(NamedTuple):
    """A table's column: whether it holds numbers, and whether rows come in its order."""

    title: str
    is_number: bool = False
    is_order: bool = False


class Cell(NamedTuple):
    """A table's cell, and what it sorts by if that is not its text."""

    content: Sequence[Node]
    sort: str | float | None = None


def cell(*content: Node, sort: str | float | None = None) -> Cell:
    """A cell of some nodes."""
    return Cell(content, sort)


def table(caption: str, columns: Sequence[Column], rows: Iterable[Element], *, sortable: bool = False) -> Element:
    """A table in a box of its own that scrolls where the page is too narrow for it; see `row`."""
    heads = [
        element(
            "th",
            column.title,
            scope="col",
            class_="number" if column.is_number else None,
            aria_sort="ascending" if sortable and column.is_order else None,
        )
        for column in columns
    ]
    made = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
        class_="sortable" if sortable else None,
    )
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def row(columns: Sequence[Column], cells: Sequence[Cell], **attributes: str | None) -> Element:
    """A row; its cells follow the columns."""
    made = (
        element("td", *content, class_="number" if column.is_number else None, data_sort=sort)
        for column, (content, sort) in zip(columns, cells, strict=True)
    )
    return element("tr", *made, **attributes)


def section(name: str, title: str, *children: Node) -> Element:
    """A part of the page that the contents link to."""
    return element("section", element("h2", title), *children, id=name)


def empty(text: str) -> Element:
    """What stands where there is nothing to show, and why there is nothing."""
    return element("p", text, class_="empty")


def note(text: str) -> Element:
    """How to read what follows."""
    return element("p", text, class_="note")


def warning(*children: Node) -> Element:
    """What a reader must not miss; a word says so, not the colour alone."""
    return element("p", element("strong", "Attention: "), *children, class_="warning")


def left_out(count: int, what: str, which: str) -> Node:
    """That a table was cut, and what was kept; nothing if it was not."""
    return warning(f"{MAX_ROWS:,} of {count:,} {what} are on this page: {which}.") if count > MAX_ROWS else None
