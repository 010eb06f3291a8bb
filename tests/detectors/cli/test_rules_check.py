"""`rules check`: what is wrong with rule files, and whether rules do what their examples say."""

import os
from pathlib import Path

import pytest

from detectors.cli.main import main
from detectors.cli.rules_check import check
from detectors.errors import InputError
from detectors.rules.catalogue import CATALOGUE, HERE, RULES_FOLDER

GUESSED = """
id = "guessed_deployments"
name = "Azure OpenAI Deployments Guessed by One Caller"
description = "A caller who gets status 404 again and again guesses the names of an account's deployments."
version = 1
severity = "Low"
techniques = ["AML.T0040"]
[[select]]
source = "azure_openai"
category = "RequestResponse"
status = "404"
[group]
by = ["resource", "caller"]
[thresholds.count]
measure = "count"
at_least = 20
unit = "Requests for what is not there"
"""
FIRES = '[[example]]\nsays = "he tries again"\nfires = true\nevents = [{ times = 20, over_minutes = 60 }]\n'
FAILS = FIRES.replace("times = 20", "times = 19")
WRONGLY = FIRES.replace("true", "false")
NAMELESS = '[[example]]\nsays = "nobody"\nfires = false\nevents = [{ caller = { known = false } }]\n'


def _folder(path: Path, *examples: str) -> Path:
    (path / "guessed_deployments.toml").write_text(GUESSED + "".join(examples))
    return path


def _printed(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[int, list[str]]:
    code = main(["rules", "check", str(folder)])
    return code, capsys.readouterr().out.splitlines()


def test_rules_that_do_what_they_say_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each example of the folder's rules alone; exit code 0."""
    assert _printed(capsys, _folder(tmp_path, FIRES)) == (
        0,
        ["guessed_deployments", "  ok    fires                  he tries again"],
    )


def test_an_example_that_does_not_hold_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Either way; exit code 1. What was left uncounted is said, since it is often the reason."""
    assert _printed(capsys, _folder(tmp_path, FAILS, WRONGLY, NAMELESS)) == (
        1,
        [
            "guessed_deployments",
            "  FAIL  should fire, does not  he tries again",
            "  FAIL  fires, and should not  he tries again",
            "  ok    does not fire          nobody",
            "        records that were not counted, or not in full: no_caller",
        ],
    )


def test_all_that_is_wrong_with_any_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Next to the examples of the rules that can be read; exit code 1."""
    _folder(tmp_path, FIRES)
    (tmp_path / "broken.toml").write_text('id = "broken"\n')
    (tmp_path / "model_theft.toml").write_text((HERE / "model_theft.toml").read_text())
    code, printed = _printed(capsys, tmp_path)
    assert code == 1
    assert "broken.toml: group is missing: give it a table [group] with by, the fields to group by." in printed
    assert "model_theft.toml: there is a rule model_theft already: give it another id." in printed
    assert printed[-2:] == ["guessed_deployments", "  ok    fires                  he tries again"]


def test_a_rule_without_examples_is_pointed_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no mistake."""
    assert _printed(capsys, _folder(tmp_path)) == (0, ["guessed_deployments", "  no example: nothing was tried"])


def test_a_folder_that_is_none_cannot_be_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    with pytest.raises(InputError, match="is no folder"):
        check(tmp_path / "nowhere")
    assert main(["rules", "check", str(tmp_path / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    """Somebody named the wrong one."""
    assert check(tmp_path).problems == [f"{tmp_path} holds no rule: give it files such as my_rule.toml."]


@pytest.mark.parametrize("before", [None, "my-rules"])
def test_the_environment_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    """Only the process that plays the rules knows of the folder."""
    monkeypatch.delenv(RULES_FOLDER, raising=False)
    if before:
        monkeypatch.setenv(RULES_FOLDER, before)
    check(_folder(tmp_path, FIRES))
    assert os.environ.get(RULES_FOLDER) == before


def test_without_a_folder_the_catalogue_is_checked() -> None:
    """Every rule, and all of it sound."""
    checked = check()
    assert checked.is_sound
    assert [(one.rule_id, len(one.played)) for one in checked.rules] == [(r.id, len(r.examples)) for r in CATALOGUE]


def test_only_check_takes_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever names another command beside one means something else."""
    assert main(["rules", "model_theft", "my-rules"]) == 2
    assert "unexpected extra argument (my-rules)" in capsys.readouterr().err
