"""The Makefile: what it says of itself, and how it installs."""

import re
import subprocess

import pytest

from local.host import ROOT

pytestmark = pytest.mark.real


def test_make_alone_lists_every_target_and_does_nothing() -> None:
    """Each with a line; only steps of others are left out."""
    text = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
    command = ["make", "--no-print-directory"]  # a make that runs this test would have it printed
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - as people do
    listed = re.findall(r"^  make ([\w-]+) +\S.*$", printed.stdout, flags=re.MULTILINE)
    assert len(listed) == len(printed.stdout.splitlines())
    assert set(targets.split()) - set(listed) == {"chromium"}


@pytest.mark.parametrize(("code", "said"), [(0, ""), (3, "out\nerr\n")])
def test_what_is_installed_speaks_only_if_it_fails(code: int, said: str) -> None:
    """Then with all of its words and its exit code."""
    command = f"echo out; echo err >&2; exit {code}"
    done = subprocess.run(  # noqa: S603 - our own
        ["/bin/sh", "local/quietly", "Installing it", "sh", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "Installing it\n", said)


def test_progress_ends_with_the_work_though_its_process_hears_no_signal() -> None:
    """As one that was just begun may not: it would hold what others wait for, and count seconds without end."""
    deaf = "trap '' TERM; exec sh local/quietly 'Installing it' true"
    done = subprocess.run(  # noqa: S603 - our own
        ["/bin/sh", "-c", deaf], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "Installing it\n"
