"""Tables of TOML files: each value is checked, and each problem told with its place, its line and a way out."""

import tomllib
from collections.abc import Callable

import pytest

from detectors.toml_table import TomlTable, lines_of, shown, suggestion

TEXT = '''
name = "theft"
"count" = 3
about = """
count = 9
"""

[rule]
level = "High"

[[select]]
source = "a"

[[select]]
source = "b"
'''


def _table(text: str, problems: list[str]) -> TomlTable:
    return TomlTable("my.toml", tomllib.loads(text), problems, lines_of(text))


def test_values_are_read_by_kind_and_a_missing_one_is_none() -> None:
    """Nothing to complain of."""
    problems: list[str] = []
    top = _table(TEXT, problems)
    assert (top.text("name", 9), top.number("count", 1, 3), top.lines("about")) == ("theft", 3, "count = 9")
    rule = top.table("rule")
    assert rule is not None
    assert rule.one_of("level", ("Low", "High")) == "High"
    assert [one.text("source", 9) for one in top.tables("select")] == ["a", "b"]
    assert (top.text("more", 9), top.number("less", 1, 3), top.table("others")) == (None, None, None)
    top.refuse_others()
    assert problems == []


@pytest.mark.parametrize(
    ("text", "ask", "said"),
    [
        ("a = 5", lambda top: top.text("a", 9), "a is 5: give it a text of one line, at most 9 characters."),
        ('a = "0123456789"', lambda top: top.text("a", 9), "a is '0123456789': give it a text of one line"),
        ('a = " "', lambda top: top.text("a", 9), "a is ' ': give it a text"),
        ('a = "x\\ny"', lambda top: top.text("a", 9), "give it a text of one line"),
        ('a = " "', lambda top: top.lines("a"), "a is empty: give it a text."),
        ("a = 0", lambda top: top.number("a", 1, 3), "a is 0: give it a whole number from 1 to 3."),
        ("a = 4", lambda top: top.number("a", 1, 3), "a is 4: give it a whole number from 1 to 3."),
        ("a = true", lambda top: top.number("a", 0, 3), "a is True: give it a whole number from 0 to 3."),
        ("a = 1.0", lambda top: top.number("a", 0, 3), "a is 1.0: give it a whole number"),
        ('a = "hihg"', lambda top: top.one_of("a", ("Low", "High")), "did you mean High? There is Low, High."),
        ("a = 5", lambda top: top.table("a"), "a is 5: give it values below [a]."),
        ("a = 5", lambda top: list(top.tables("a")), "a is 5: give it entries, each below [[a]]."),
        ("a = [5]", lambda top: list(top.tables("a")), "[[a]] 1 is 5: give it entries, each below [[a]]."),
        ("a = 5", lambda top: top.refuse_others(), "a is not known: there is ."),
        ("\n\nb = 5", lambda top: top.missing("a", "a name"), "my.toml: a is missing: give it a name."),
    ],
)
def test_what_is_wrong_is_told_with_what_to_write(text: str, ask: Callable[[TomlTable], object], said: str) -> None:
    """Once, and nothing is raised."""
    problems: list[str] = []
    ask(_table(text, problems))
    assert len(problems) == 1
    assert said in problems[0]


def test_a_problem_names_the_table_and_the_line_of_the_value() -> None:
    """Tables of a kind are counted from 1."""
    problems: list[str] = []
    *_, last = _table(TEXT, problems).tables("select")
    last.number("source", 1, 2)
    last.missing("operation", "a name")
    assert problems == [
        "my.toml [[select]] 2, line 15: source is 'b': give it a whole number from 1 to 2.",
        "my.toml [[select]] 2, line 14: operation is missing: give it a name.",
    ]


def test_what_was_refused_already_is_not_missing_as_well() -> None:
    """One problem for one value."""
    problems: list[str] = []
    top = _table("name = 5", problems)
    assert top.text("name", 9) or top.missing("name", "a name") == ""
    assert len(problems) == 1


def test_what_nobody_asked_for_is_refused_with_what_was_meant() -> None:
    """A misspelt name would silently change nothing."""
    problems: list[str] = []
    top = _table("cuont = 1\nname = 'a'", problems)
    assert (top.number("count", 1, 3), top.text("name", 9)) == (None, "a")
    top.refuse_others()
    assert problems == ["my.toml, line 1: cuont is not known: did you mean count? There is count, name."]


def test_each_key_and_table_has_its_line() -> None:
    """Not what looks like one inside a text of several lines."""
    assert lines_of(TEXT) == {
        ("name",): 2,
        ("count",): 3,
        ("about",): 4,
        ("rule",): 8,
        ("rule", "level"): 9,
        ("select", 0): 11,
        ("select", 0, "source"): 12,
        ("select", 1): 14,
        ("select", 1, "source"): 15,
    }


def test_a_name_in_quotes_and_a_text_that_ends_on_its_line_hide_nothing() -> None:
    """What stands behind them has its line too."""
    text = 'a = """b = 1"""\n\'c\' = 2\n["d e".\'f\']\ng = 3\n'
    assert tomllib.loads(text) == {"a": "b = 1", "c": 2, "d e": {"f": {"g": 3}}}
    assert lines_of(text) == {("a",): 1, ("c",): 2, ("d e", "f"): 3, ("d e", "f", "g"): 4}


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    """And none where nothing is near."""
    assert suggestion("MEDUIM", ("Low", "Medium")) == "did you mean Medium? There is Low, Medium."
    assert suggestion("x", ("Low", "Medium")) == "there is Low, Medium."


def test_a_long_value_is_cut() -> None:
    """A message is a line."""
    assert shown("a" * 200) == f"'{'a' * 59}…"
    assert shown("a" * 58) == f"'{'a' * 58}'"
    assert shown([1, 2]) == "[1, 2]"
