"""Small pieces of Markdown, and what a class says of its attributes."""

from generate.markdown import attributes, lower_first, table


class Described:
    """What it is.

    Attributes:
        first: in one line.
        second: in two lines, with a colon: such as
            this one.
    """


def test_attributes_are_read_from_a_docstring() -> None:
    """A text that goes over several lines is one."""
    assert attributes(Described) == {"first": "in one line.", "second": "in two lines, with a colon: such as this one."}


def test_a_class_that_describes_nothing_has_no_attributes() -> None:
    """And does not raise."""
    assert attributes(int) == {}


def test_a_bar_does_not_end_a_cell() -> None:
    """It is escaped."""
    assert table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"


def test_a_name_keeps_its_capitals() -> None:
    """In the middle of a sentence too."""
    assert (lower_first("Key listings"), lower_first("AWS calls")) == ("key listings", "AWS calls")
