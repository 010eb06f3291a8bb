"""Errors: what they carry, and that one name catches them all."""

import inspect

from detectors import errors
from detectors.errors import DetectorError, InputError, SettingsError, UnreadableError


def test_every_problem_of_the_settings_is_listed_on_a_line_of_its_own() -> None:
    """Under how many there are."""
    error = SettingsError(["A is not set: give it a.", "B is 'x': give it b."])
    assert error.problems == ("A is not set: give it a.", "B is 'x': give it b.")
    assert str(error).splitlines() == [
        "2 setting(s) need attention:",
        "  - A is not set: give it a.",
        "  - B is 'x': give it b.",
    ]


def test_an_unreadable_input_says_why_in_a_code_and_in_a_sentence() -> None:
    """The code is counted, the sentence is read."""
    error = UnreadableError("truncated", "the file ends in the middle of a gzip member")
    assert isinstance(error, InputError)
    assert (error.reason, str(error)) == ("truncated", "truncated: the file ends in the middle of a gzip member")


def test_one_name_catches_all_that_is_raised_on_purpose() -> None:
    """And its module draws each of them."""
    classes = [value for _, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__]
    assert {issubclass(one, DetectorError) for one in classes} == {True}
    assert [one.__name__ for one in classes if one.__name__ not in (errors.__doc__ or "")] == []
