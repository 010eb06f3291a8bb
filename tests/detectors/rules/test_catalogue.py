"""The catalogue: all rules of all folders, in their order, or every problem that they have."""

import re
from pathlib import Path

import pytest

from detectors.rules import catalogue
from detectors.rules.catalogue import BY_ID, CATALOGUE, HERE, PROBLEMS, RULES_FOLDER, guide, load

OWN = (HERE / "model_theft.toml").read_text(encoding="utf-8")


def _write(folder: Path, rule_id: str, text: str = OWN, *, order: int = 1) -> None:
    text = text.replace('id = "model_theft"', f'id = "{rule_id}"', 1)
    (folder / f"{rule_id}.toml").write_text(re.sub(r"(?m)^order = \d+$", f"order = {order}", text), encoding="utf-8")


def test_every_file_of_the_folder_is_a_rule_with_a_guide() -> None:
    """Nothing has to be added anywhere else."""
    assert PROBLEMS == []
    assert BY_ID.keys() == {path.stem for path in HERE.glob("*.toml")}
    assert all(guide(rule) for rule in CATALOGUE)


def test_rules_are_in_their_order_whatever_their_folder(tmp_path: Path) -> None:
    """And of equal order by name."""
    _write(tmp_path, "b_rule", order=1)
    _write(tmp_path, "a_rule", order=1)
    _write(tmp_path, "z_rule", order=10_000)
    rules, problems = load([HERE, tmp_path])
    assert problems == []
    assert [rule.id for rule in rules] == ["a_rule", "b_rule", *BY_ID, "z_rule"]


def test_a_rule_that_is_there_already_is_refused(tmp_path: Path) -> None:
    """It would share tallies and settings with the other."""
    _write(tmp_path, "model_theft")
    rules, problems = load([HERE, tmp_path])
    assert problems == ["model_theft.toml: there is a rule model_theft already: give it another id."]
    assert rules == CATALOGUE


def test_problems_of_all_files_come_at_once_and_sound_rules_are_still_there(tmp_path: Path) -> None:
    """An empty folder is one as well: its name may be misspelt."""
    _write(tmp_path, "sound")
    (tmp_path / "cut.toml").write_text("id = ", encoding="utf-8")
    (tmp_path / "empty.toml").write_text("", encoding="utf-8")
    nowhere = tmp_path / "nowhere"
    rules, problems = load([tmp_path, nowhere])
    assert [rule.id for rule in rules] == ["sound"]
    assert any(problem.startswith("cut.toml is no TOML") for problem in problems)
    assert any(problem.startswith("empty.toml") for problem in problems)
    assert f"{nowhere} holds no rule: give it files such as my_rule.toml." in problems


def test_the_guide_of_a_rule_of_ones_own_is_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is named from the app's; a rule without a guide has an empty one."""
    _write(tmp_path, "mine")
    monkeypatch.setattr(catalogue, "ROOT", tmp_path.parent)
    monkeypatch.setenv(RULES_FOLDER, tmp_path.name)
    (mine,), _ = load([tmp_path])
    assert guide(mine) == ""
    (tmp_path / "mine.md").write_text("\n# Mine\n", encoding="utf-8")
    assert guide(mine) == "# Mine"


@pytest.mark.parametrize("path", sorted(HERE.glob("*.toml")), ids=lambda path: str(path.stem))
def test_the_tables_of_a_file_stand_in_the_same_order_as_in_every_other(path: Path) -> None:
    """What it counts, when it fires, its examples, its alert: a reader of one file finds the way in all."""
    order = ["select", "upstream_select", "group", "thresholds", "example", "alert"]
    heads = re.findall(r"(?m)^\[+(\w+)", path.read_text(encoding="utf-8"))
    assert list(dict.fromkeys(heads)) == [name for name in order if name in heads]
    assert [order.index(name) for name in heads] == sorted(order.index(name) for name in heads)
