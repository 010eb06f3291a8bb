"""Progress: lines now and then where there is no terminal."""

import pytest

from detectors.cli.progress import SECONDS, Lines, reading


def test_a_line_comes_when_the_last_one_is_long_ago(capsys: pytest.CaptureFixture[str]) -> None:
    """With all that was done until then, on standard error; a short run prints none."""
    clock = iter([0.0, SECONDS - 0.1, SECONDS, SECONDS + 1, 2 * SECONDS - 0.1, 2 * SECONDS + 0.1])
    lines = Lines(lambda done: f"{done} done", clock=lambda: next(clock))
    for count in (1, 2, 4, 8, 16):
        lines.advance(count)
    assert capsys.readouterr() == ("", "3 done\n31 done\n")


def test_reading_says_how_much_of_how_much(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of standard input nobody knows how much there is."""
    for total, expected in ((4_000_000, "read 1.0 MB of 4.0 MB\n"), (0, "read 1.0 MB\n")):
        monkeypatch.setattr("detectors.cli.progress.SECONDS", 0)
        with reading(total) as advance:
            advance(1_000_000)
        assert capsys.readouterr().err == expected
