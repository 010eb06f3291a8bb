"""Rule files: what they mean, and that everything wrong with one is said at once, with its line and a way out."""

from pathlib import Path

import pytest

from detectors.rules import reading
from detectors.rules.catalogue import CATALOGUE, HERE, PROBLEMS, load
from detectors.rules.rule import Condition, Hunt, Rule, Selection, Threshold
from detectors.sources.catalogue import BY_NAME

SOUND = """
id = "mine"
name = "Mine"
description = "What nobody else looks for."
version = 2
severity = "High"
risk_score = 70
techniques = ["AML.T0044"]
fires = "all"

[[select]]
source = "azure_openai"
category = "Audit"
operation = ["ListKey", "GetKey"]
status = { not = "200" }
response_length = { at_least = 5 }

[[select]]
source = "azure_openai"
status = { known = false }

[group]
by = ["resource", "caller"]
first_seen = "caller"

[thresholds.count]
measure = "count"
at_least = 3
unit = "Key listings"
"""


def _read(text: str, folder: Path, name: str = "mine.toml") -> tuple[Rule | None, list[str]]:
    problems: list[str] = []
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return reading.read(path, problems), problems


def test_a_number_may_go_by_what_is_usual(tmp_path: Path) -> None:
    """And say what is true of who is not known."""
    rule, problems = _read(SOUND + 'usual = true\nunknown = "unusual"\n', tmp_path)
    assert rule
    assert problems == []
    assert rule.thresholds == (Threshold("count", "count", 3, "Key listings", usual=True, unknown_is_unusual=True),)
    _, problems = _read(SOUND + 'unknown = "unusual"\n', tmp_path)
    assert [problem.split(": ", 1)[1] for problem in problems] == ["unknown goes with usual = true."]


def test_a_file_is_a_rule(tmp_path: Path) -> None:
    """Each word of it has its place in the rule."""
    rule, problems = _read(SOUND, tmp_path)
    assert problems == []
    assert rule == Rule(
        id="mine",
        name="Mine",
        version=2,
        source_id="",
        severity="High",
        risk_score=70,
        techniques=("AML.T0044",),
        select=(
            Selection(
                "azure_openai",
                (
                    Condition("category", "is", ("Audit",)),
                    Condition("operation", "is", ("ListKey", "GetKey")),
                    Condition("status", "is_not", ("200",)),
                ),
                (Condition("response_length", "at_least", (5,)),),
            ),
            Selection("azure_openai", (Condition("status", "known", (False,)),)),
        ),
        group_by=("resource", "caller"),
        group_fields=("ResourceId", "Caller"),
        thresholds=(Threshold("count", "count", 3, "Key listings"),),
        requires="all",
        first_seen_only=True,
        description="What nobody else looks for.",
    )


@pytest.mark.parametrize(
    ("was", "becomes", "problem"),
    [
        ('id = "mine"', 'id = "yours"', "mine.toml, line 2: id is 'yours': give it the name of the file, mine."),
        ('name = "Mine"', "", "mine.toml: name is missing: give it a name for people."),
        (
            'severity = "High"',
            'severity = "high"',
            "mine.toml, line 6: severity is 'high': did you mean High? There is",
        ),
        ("risk_score = 70", "risk_score = 101", "line 7: risk_score is 101: give it a whole number from 0 to 100."),
        ('techniques = ["AML.T0044"]', "techniques = [44]", "line 8: techniques is [44]: give it a list of texts"),
        ('fires = "all"', 'fire = "all"', "line 9: fire is not known: did you mean fires? There is"),
        ('source = "azure_openai"\ncat', 'source = "azure"\ncat', "[[select]] 1, line 12: source is 'azure': there is"),
        (
            'category = "Audit"',
            'kategory = "Audit"',
            "[[select]] 1, line 13: kategory is not known: did you mean category?",
        ),
        ('{ not = "200" }', '{ nott = "200" }', "line 15: status is {'nott': '200'}: give it a text, a number, a list"),
        (
            "status = { known = false }",
            'caller = "eve"',
            "line 20: caller is many values, of which none is special: group by it",
        ),
        ("{ at_least = 5 }", '{ at_least = "5" }', "line 16: response_length is {'at_least': '5'}: give it a text"),
        ("{ known = false }", "{ known = 1 }", "[[select]] 2, line 20: status is {'known': 1}: give it"),
        ('by = ["resource", "caller"]', 'by = ["status"]', "[group], line 23: status is not known: there is resource"),
        (
            'first_seen = "caller"',
            'first_seen = "resource"',
            "line 24: first_seen is 'resource': give it the last field in by.",
        ),
        (
            'measure = "count"',
            'measure = "counts"',
            "[thresholds.count], line 27: measure is 'counts': did you mean count?",
        ),
        ("at_least = 3", "at_least = 0", "line 28: at_least is 0: give it a whole number from 1 to"),
        ('unit = "Key listings"', "", "[thresholds.count], line 26: unit is missing: give it what the number is"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_a_way_out(tmp_path: Path, was: str, becomes: str, problem: str) -> None:
    """A rule with a mistake is no rule."""
    assert was in SOUND
    rule, problems = _read(SOUND.replace(was, becomes, 1), tmp_path)
    assert rule is None
    assert problem in problems[0]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """So that nobody mends one, starts again, and finds the next."""
    _, problems = _read('id = "mine"\nversion = "1"\nextra = 1\n', tmp_path)
    wrong = {problem.split(": ", 1)[1].split(" is ")[0] for problem in problems}
    missing = {"select", "group", "thresholds", "name", "severity", "techniques", "description"}
    assert wrong == missing | {"version", "extra"}


def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    """As tomllib says it."""
    _, (problem,) = _read("id = \n", tmp_path)
    assert problem.startswith("mine.toml is no TOML: ")
    assert "line 1" in problem


def test_a_folder_of_rules_is_added_to_the_catalogue(tmp_path: Path) -> None:
    """In the order that their files ask for."""
    _read(SOUND + "\n", tmp_path)
    rules, problems = load([HERE, tmp_path])
    assert problems == PROBLEMS == []
    assert [rule.id for rule in rules] == [*(rule.id for rule in CATALOGUE), "mine"]


def test_two_rules_of_one_name_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    """Either would silently change what is looked for."""
    (tmp_path / "model_theft.toml").write_text((HERE / "model_theft.toml").read_text(), encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert load([HERE, tmp_path, empty])[1] == [
        "model_theft.toml: there is a rule model_theft already: give it another id.",
        f"{empty} holds no rule: give it files such as my_rule.toml.",
    ]


def test_every_field_that_the_rules_name_is_one_of_a_source() -> None:
    """The reader refuses others; here the shipped rules are held against the sources once more, without it."""
    for rule in CATALOGUE:
        for selection in rule.select:
            source = BY_NAME[selection.source]
            assert {one.field for one in selection.conditions} <= source.fields.keys()
            assert {one.field for one in selection.numbers} <= source.number_wire.keys()
            assert all(source.fields[name].column for name in rule.group_by)


def test_a_hunting_query_needs_an_id_a_name_and_a_version(tmp_path: Path) -> None:
    """And nothing else; the line is that of the table."""
    alert = '\n[alert]\nid = "1"\nversion = "1.0.0"\nsays = "…"\ntriage = "…"\nattack = { Impact = ["T1499"] }\n'
    sound = SOUND + alert + 'hunt = { id = "2", name = "Mine in raw logs", version = "1.0.0" }\n'
    rule, problems = _read(sound, tmp_path)
    assert problems == []
    assert rule
    assert rule.alert
    assert rule.alert.hunt == Hunt("2", "Mine in raw logs", "1.0.0")
    _, problems = _read(sound.replace('name = "Mine in raw logs"', 'nam = "Mine"'), tmp_path)
    line = sound[: sound.index("hunt = ")].count("\n") + 1
    assert problems == [
        f"mine.toml [alert] [hunt], line {line}: name is missing: give it a name.",
        f"mine.toml [alert] [hunt], line {line}: nam is not known: did you mean name? There is id, name, version.",
    ]
