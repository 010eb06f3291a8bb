"""What is fuzzed holds for the corpus, and for what is made of it in seconds; and the fuzzer finds what is broken."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host import ROOT
from tests.examples import examples
from tests.fuzz.targets import HERE, TARGETS, feeds

PIECES = [
    *(b"", b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"=", b"\0", b"\n", b"\xff"),
    *(b"\\", b"\\ud800", b"1e999", b"NaN"),
]
"""What stands in the place of some bytes."""

edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=6)), max_size=5
)


def _seeds(name: str) -> list[bytes]:
    return [file.read_bytes() for folder in feeds(name) for file in sorted(folder.iterdir()) if file.is_file()]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_for_what_it_is_fed_first(name: str) -> None:
    """So that whatever breaks it later was found."""
    seeds = _seeds(name)
    assert len(seeds) > 1
    for seed in seeds:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@examples(300)
@given(data=st.data())
def test_a_target_holds_for_what_is_made_of_its_seeds(name: str, data: st.DataObject) -> None:
    """Bytes taken out, put in and swapped for others."""
    made = bytearray(data.draw(st.sampled_from(_seeds(name))))
    for place, length, piece in data.draw(edits):
        start = int(place * len(made))
        made[start : start + length] = piece
    TARGETS[name](bytes(made))


def test_every_corpus_is_of_a_target() -> None:
    """One of another name would be fed to nothing."""
    assert {folder.name for folder in (HERE / "corpus").iterdir()} <= set(TARGETS)


def _fuzz(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    path = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, check=False)  # noqa: S603 - our own


needs_atheris = pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this platform")


@pytest.mark.real
@needs_atheris
def test_the_fuzzer_says_how_far_it_is_and_ends_well_where_nothing_is_broken(tmp_path: Path) -> None:
    """Without a terminal."""
    said = _fuzz(tmp_path, "--target", "tunings", "--runs", "3000")
    assert said.returncode == 0, said.stdout
    assert "3,000 inputs in all; broken: none" in said.stdout


@pytest.mark.real
@needs_atheris
def test_the_fuzzer_finds_what_is_broken_and_keeps_it(tmp_path: Path) -> None:
    """It goes by branches that inputs take: nobody guesses five letters in a row. The input breaks the target again."""
    broken = _fuzz(tmp_path, "--target", "planted", "--runs", "2000000")
    assert broken.returncode == 1
    assert "broken: planted" in broken.stdout
    (found,) = (tmp_path / "fuzz-found").iterdir()
    again = _fuzz(tmp_path, "--target", "planted", str(found))
    assert again.returncode == 1
    assert "AssertionError" in again.stderr
