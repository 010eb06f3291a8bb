"""What is locked is what pyproject.toml asks for, no more and no less, and these tests run on it."""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution, distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from generate.packages import licences
from local.host import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
EVERYTHING = RUNTIME + [Requirement(text) for extra in PROJECT["optional-dependencies"].values() for text in extra]
LOCAL = RUNTIME + [Requirement(text) for text in PROJECT["optional-dependencies"]["local"]]
LOCKS = {"requirements.txt": RUNTIME, "local/requirements.txt": LOCAL, "requirements-dev.txt": EVERYTHING}
SET_UP = {"pip", PROJECT["name"]}
"""What `make setup` installs besides a lock."""

locks = pytest.mark.parametrize("name", LOCKS)


def _blocks(name: str) -> dict[str, str]:
    """Return the lines of a lock file that belong to a package, by its name."""
    text = re.sub(r"(?m)^ *#.*\n?", "", (ROOT / name).read_text())
    blocks = re.split(r"(?m)^(?=\S)", text)
    return {canonicalize_name(_pin(block).name): block for block in blocks if block.strip()}


def _pin(block: str) -> Requirement:
    return Requirement(block.split("\\", 1)[0])


def _versions(name: str) -> dict[str, str]:
    """Return the versions that a lock file installs on this machine, by name."""
    pins = [_pin(block) for block in _blocks(name).values()]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def _needed(wanted: Iterable[Requirement]) -> set[str]:
    """Return the names of packages that requirements need on this machine, by what is installed."""
    waiting = [(requirement, "") for requirement in wanted]
    done: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for asked in {(name, asked) for asked in ("", *requirement.extras)} - done:
            done.add(asked)
            waiting += [(Requirement(text), asked[1]) for text in distribution(name).requires or []]
    return {name for name, _ in done}


@locks
def test_every_direct_requirement_is_locked_at_a_version_that_it_allows(name: str) -> None:
    """A range that was raised by hand needs `make lock`."""
    locked = _versions(name)
    assert [
        str(requirement)
        for requirement in LOCKS[name]
        if not requirement.specifier.contains(Version(locked.get(canonicalize_name(requirement.name), "0")))
    ] == []


@locks
def test_a_lock_holds_what_its_requirements_need_and_nothing_else(name: str) -> None:
    """A requirement that was taken out or put in needs `make lock`."""
    assert set(_versions(name)) == _needed(LOCKS[name])


@locks
def test_every_locked_package_is_held_by_hashes_and_comes_from_no_named_place(name: str) -> None:
    """Whoever installs chooses the index; a file that was swapped there is refused."""
    for block in _blocks(name).values():
        pin, *rest = (line.strip(" \\") for line in block.splitlines())
        assert re.fullmatch(r"[a-z0-9.-]+==[^\s;]+( ; .+)?", pin), pin
        assert rest
        assert [line for line in rest if not re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line)] == []


@pytest.mark.parametrize(
    ("part", "whole"),
    [("requirements.txt", "local/requirements.txt"), ("local/requirements.txt", "requirements-dev.txt")],
)
def test_who_has_more_has_all_of_who_has_less(part: str, whole: str) -> None:
    """What runs in Azure, in a local run and at a developer's: the same versions, and the same files for them."""
    more = _blocks(whole)
    assert [name for name, block in _blocks(part).items() if more.get(name) != block] == []


def test_these_tests_run_on_what_is_locked() -> None:
    """Otherwise `make setup`: it installs the lock anew."""
    installed = {canonicalize_name(found.name): found.version for found in distributions() if found.name}
    assert {name: version for name, version in installed.items() if name not in SET_UP} == _versions(
        "requirements-dev.txt"
    )


@pytest.mark.parametrize("requirement", EVERYTHING, ids=str)
def test_every_direct_requirement_says_which_versions_will_do(requirement: Requirement) -> None:
    """A name alone would let `make upgrade` take any."""
    assert requirement.specifier


PERMISSIVE = re.compile(r"\b(MIT(-0)?|Apache|BSD|PSF|Python Software Foundation|MPL|Unlicense)\b")
"""Licences under which anybody may run a package, and hand out what uses it."""


def test_what_runs_in_azure_may_be_used_by_anybody() -> None:
    """Nothing asks for the source of what stands beside it, and nothing is without a licence."""
    assert {name: told for name, told in licences().items() if not PERMISSIVE.search(told) or "GPL" in told} == {}
    assert licences().keys() == _needed(RUNTIME)
