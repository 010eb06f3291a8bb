"""Rows as text."""

from detectors.cli.layout import aligned, markdown, ndjson

ROWS = [["Name", "Count", "Where"], ["a", "1,000", "here"], ["long name", "7", ""]]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """Text flush left, numbers flush right, and no blanks at the end of a line."""
    assert list(aligned(ROWS, text=(0, 2))) == [
        "Name       Count  Where",
        "a          1,000  here",
        "long name      7",
    ]
    assert list(aligned(ROWS))[1] == "a          1,000   here"


def test_markdown_aligns_the_same_columns_and_keeps_a_bar_in_its_cell() -> None:
    """A bar that is not escaped would begin another cell."""
    assert list(markdown([*ROWS, ["a|b", "2", "c"]], text=(0, 2))) == [
        "| Name | Count | Where |",
        "| --- | ---: | --- |",
        "| a | 1,000 | here |",
        "| long name | 7 |  |",
        "| a\\|b | 2 | c |",
    ]


def test_an_object_takes_one_line_whatever_it_holds() -> None:
    """Line breaks are escaped."""
    assert list(ndjson([{"a": "one\ntwo", "b": (1, None)}])) == ['{"a": "one\\ntwo", "b": [1, null]}']


def test_nothing_in_a_cell_does_anything_to_a_terminal() -> None:
    """Names come from logs, which an attacker writes too."""
    rows = [["Name"], ["\x1b]0;owned\x07\x1b[31mred\u202e"]]
    for layout in (aligned, markdown):
        assert all(line.isprintable() for line in layout(rows))
        assert any("]0;owned" in line for line in layout(rows))
