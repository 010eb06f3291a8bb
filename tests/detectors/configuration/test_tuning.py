"""The tuning file: what it says is what holds, and nothing that it misspells goes unnoticed."""

import json
import re
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.configuration import tuning
from detectors.configuration.settings import TUNING_FILE
from detectors.evaluation.policy import EffectiveThresholds, Policy, PolicyChange
from detectors.evaluation.suppressions import EVERY, Scope, SuppressionRule
from detectors.reporting.heartbeat import RunProgress, WindowHealth, heartbeat
from detectors.rules.catalogue import BY_ID, CATALOGUE, ROOT
from detectors.rules.counters import Counters
from detectors.rules.rule import Rule
from detectors.rules.tally import Key
from tests.builders import PIPELINE, START, canonical_id

SHIPPED = ROOT / TUNING_FILE
RESOURCE = 'rule = "model_theft"\nresource = "*/accounts/ci-*"\nreason = "Tests."\n'
EXCEPTION = f"""rule = "model_theft"
resource = "*/accounts/prod"
callers = ["{PIPELINE.upper()}"]
reason = "Rotation."
owner = "platform team"
expires = 2027-03-31
"""


def _problems(text: str) -> tuple[str, ...]:
    """Return what is wrong, without the lines: they have a test of their own."""
    return tuple(re.sub(r", line \d+(?=: )", "", problem) for problem in tuning.parse(text, "tuning.toml").problems)


def _problem(text: str) -> str:
    (problem,) = _problems(text)
    return problem


def _with(entry: str, name: str, value: str | None) -> str:
    """Return an entry with one value changed, added or (None) left out."""
    lines = [line for line in entry.splitlines() if not line.startswith(f"{name} ")]
    return "\n".join(lines if value is None else [*lines, f"{name} = {value}"])


def test_every_value_of_the_file_is_read() -> None:
    """Tables of rules first, then those of resources, each with its place."""
    text = f"""
    [[resources]]
    rule = "*"
    resource = "arn:aws:iam::*:user/ci-*"
    severity = "Low"
    reason = "Tests."
    [rules.model_theft]
    enabled = false
    severity = "High"
    count = 7
    response_length = 2_000
    [[exceptions]]
    {EXCEPTION}
    [[exceptions]]
    rule = "*"
    callers = ["arn:aws:sts::210987654321:assumed-role/Ci/run-1", "{PIPELINE}"]
    reason = "Both."
    owner = "us"
    expires = 2026-11-23
    """
    assert tuning.parse(text, "tuning.toml") == tuning.Tuning(
        changes=(
            PolicyChange(
                "tuning.toml [rules.model_theft]",
                Scope("model_theft"),
                enabled=False,
                severity="High",
                thresholds={"count": 7, "response_length": 2_000},
            ),
            PolicyChange(
                "tuning.toml [[resources]] 1", Scope(EVERY, "arn:aws:iam::*:user/ci-*"), severity="Low", reason="Tests."
            ),
        ),
        suppression_rules=(
            SuppressionRule(
                Scope("model_theft", "*/accounts/prod"),
                frozenset({PIPELINE}),
                "Rotation.",
                "platform team",
                date(2027, 3, 31),
            ),
            SuppressionRule(
                Scope(EVERY, EVERY),
                frozenset({"arn:aws:sts::210987654321:assumed-role/ci/run-1", PIPELINE}),
                "Both.",
                "us",
                date(2026, 11, 23),
            ),
        ),
    )


def test_the_shipped_file_changes_nothing() -> None:
    """A deployment that nobody tuned holds the catalogue's numbers."""
    assert tuning.read(SHIPPED, "tuning.toml") == tuning.Tuning()


def test_the_examples_in_the_shipped_file_can_be_taken() -> None:
    """With the # taken away they show a rule as the catalogue has it, an entry of each kind, and no mistake."""
    examples = re.sub(r"^#(?! |$)", "", SHIPPED.read_text(), flags=re.MULTILINE)
    found = tuning.parse(examples, "tuning.toml")
    assert found.problems == ()
    rules = {change.scope.rule: change for change in found.changes if change.scope.resource == EVERY}
    assert list(rules) == ["model_theft"]
    rule, change = BY_ID["model_theft"], rules["model_theft"]
    assert (change.enabled, change.severity) == (True, rule.severity)
    assert change.thresholds == {threshold.name: threshold.at_least for threshold in rule.thresholds}


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: str(rule.id))
def test_every_rule_and_number_of_the_catalogue_can_be_tuned(rule: Rule) -> None:
    """Under the names that its file gives them."""
    numbers = {threshold.name: threshold.at_least + 1 for threshold in rule.thresholds}
    text = "\n".join([f"[rules.{rule.id}]", *(f"{name} = {number}" for name, number in numbers.items())])
    (change,) = tuning.parse(text, "tuning.toml").changes
    assert (change.scope.rule, change.thresholds) == (rule.id, numbers)


def test_the_shipped_file_shows_an_entry_of_each_kind() -> None:
    """A resource, everything of a resource, and an exception."""
    examples = re.sub(r"^#(?! |$)", "", SHIPPED.read_text(), flags=re.MULTILINE)
    found = tuning.parse(examples, "tuning.toml")
    assert [change.scope.rule for change in found.changes if change.reason] == ["model_theft", EVERY]
    assert [bool(suppression_rule.callers) for suppression_rule in found.suppression_rules] == [True]


def test_prose_in_the_shipped_file_is_no_example() -> None:
    """Whoever takes away every # at the line's begin gets a file that starts the app."""
    prose = [line for line in SHIPPED.read_text().splitlines() if line.startswith("# ")]
    assert prose
    assert [line for line in prose if re.match(r"# \[|# \w+ = ", line)] == []


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = = 1", "line 1"), ("\n\n[rules", "line 3"), ("[rules.model_theft]\ncount = 1\ncount = 2", "line 3")],
)
def test_what_is_no_toml_is_refused_with_its_line(text: str, line: str) -> None:
    """And with the name of the file."""
    problem = _problem(text)
    assert problem.startswith("tuning.toml is no TOML: ")
    assert line in problem


def test_a_number_that_no_file_should_hold_is_no_crash() -> None:
    """Python refuses to read whole numbers of more than 4,300 digits."""
    assert _problem(f"[rules.model_theft]\ncount = {'9' * 5_000}").startswith("tuning.toml is no TOML: ")


@pytest.mark.parametrize(
    ("text", "place", "fix"),
    [
        ("[rule.model_theft]", "tuning.toml: rule is not known", "did you mean rules? There is rules, resources, exc"),
        ("rules = 5", "tuning.toml: rules is 5", "[rules.model_theft]"),
        ("rules.model_theft = 5", "tuning.toml: [rules.model_theft] is 5", "values below [rules.model_theft]"),
        ("[[rules.model_theft]]", "tuning.toml: [rules.model_theft] is [{}]", "values below [rules.model_theft]"),
        ("[rules.model_thft]", "tuning.toml: [rules.model_thft] is no rule", "did you mean model_theft? There is "),
        ("[rules.xyz]", "tuning.toml: [rules.xyz] is no rule", ": there is model_theft, bedrock_logging_disabled, "),
        ("[resources]", "tuning.toml: resources is {}", "each below [[resources]]"),
        ("exceptions = [5]", "tuning.toml: [[exceptions]] 1 is 5", "each below [[exceptions]]"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(text: str, place: str, fix: str) -> None:
    """Each with its place, and once."""
    problem = _problem(text)
    assert problem.startswith(place)
    assert fix in problem


@pytest.mark.parametrize(
    ("values", "fix"),
    [
        (
            "cuont = 5",
            "cuont is not known: did you mean count? There is enabled, ",
        ),
        (
            "caller_bytes = 5",
            "caller_bytes is not known: there is enabled, severity, count, response_length, ",
        ),
        ("reason = 'x'", "reason is not known"),
        ("count = '5'", "count is '5': give it a whole number from 1 to 9007199254740992."),
        ("count = 5.0", "count is 5.0: give it a whole number"),
        ("count = true", "count is True: give it a whole number"),
        ("count = 0", "count is 0: give it a whole number"),
        ("count = -5", "count is -5: give it a whole number"),
        ("count = 9007199254740993", "count is 9007199254740993: give it a whole number"),
        ("enabled = 1", "enabled is 1: give it true or false."),
        ("enabled = 'no'", "enabled is 'no': give it true or false."),
        (
            "severity = 'medium'",
            "severity is 'medium': did you mean Medium? There is Informational, Low, Medium, High.",
        ),
        ("severity = 'Critical'", "severity is 'Critical': there is Informational, Low, Medium, High."),
        ("severity = 3", "severity is 3: give it one of Informational, Low, Medium, High."),
        (f"severity = '{'x' * 99}'", f"severity is '{'x' * 59}…: there is"),
    ],
)
def test_a_value_of_a_rule_that_cannot_be_right_is_refused(values: str, fix: str) -> None:
    """The same in a table of the rule and in an entry for resources, but for the reason, which only that one has."""
    assert _problem(f"[rules.model_theft]\n{values}").startswith(f"tuning.toml [rules.model_theft]: {fix}")
    if not values.startswith("reason"):
        problem = _problem(f"[[resources]]\n{RESOURCE}severity = 'Low'\n[[resources]]\n{RESOURCE}\n{values}")
        assert problem.startswith(
            "tuning.toml [[resources]] 2: " + fix.split(" There is", maxsplit=1)[0].split(": there is", maxsplit=1)[0]
        )


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.id)
def test_only_a_rule_with_an_upstream_rule_can_count_as_that_one_does(rule: Rule) -> None:
    """For another it would silently change nothing, or turn off what is usual."""
    text = f"[rules.{rule.id}]\nas_upstream = true\n"
    if rule.source_id:
        (change,) = tuning.parse(text, "tuning.toml").changes
        assert change.as_upstream
    else:
        assert f"{rule.id} has no upstream rule" in _problem(text)


@pytest.mark.parametrize("value", ["1", "9007199254740992", "1_000"])
def test_numbers_up_to_the_edges_are_taken(value: str) -> None:
    """The limits themselves are inside."""
    (change,) = tuning.parse(f"[rules.model_theft]\ncount = {value}", "tuning.toml").changes
    assert change.thresholds == {"count": int(value)}


@pytest.mark.parametrize(
    ("kind", "entry", "name", "value", "fix"),
    [
        ("resources", RESOURCE, "rule", None, "rule is missing: give it the id of a rule, or"),
        ("resources", RESOURCE, "rule", "'model_thft'", "rule is 'model_thft': did you mean model_theft?"),
        ("resources", RESOURCE, "rule", "5", "rule is 5: give it one of model_theft, "),
        ("resources", RESOURCE, "resource", None, "resource is missing: give it a pattern"),
        ("resources", RESOURCE, "resource", "''", "resource is '': give it a text of one line"),
        ("resources", RESOURCE, "resource", "'ci-*'", "resource 'ci-*' fits no id"),
        ("resources", RESOURCE, "resource", "'/subscription/x'", "resource '/subscription/x' fits no id"),
        ("resources", RESOURCE, "reason", None, "reason is missing: give it the reason"),
        ("resources", RESOURCE, "reason", "' '", "reason is ' ': give it a text of one line"),
        ("resources", RESOURCE, "reason", "'''a\nb'''", r"reason is 'a\nb': give it a text of one line"),
        ("resources", RESOURCE, "reason", f"'{'x' * 301}'", "reason is 'xxxxx"),
        ("resources", RESOURCE, "owner", "'us'", "owner is not known"),
        ("exceptions", EXCEPTION, "rule", None, "rule is missing: give it the id of a rule, or"),
        ("exceptions", EXCEPTION, "rule", "'theft'", "rule is 'theft'"),
        ("exceptions", EXCEPTION, "resource", f"'*{'x' * 500}'", "resource is '*xxxxx"),
        ("exceptions", EXCEPTION, "resource", "5", "resource is 5: give it a text of one line"),
        (
            "exceptions",
            EXCEPTION,
            "resource",
            "'prod'",
            "resource 'prod' fits no id: ids begin with /subscriptions/ or",
        ),
        ("exceptions", EXCEPTION, "reason", None, "reason is missing: give it the reason"),
        ("exceptions", EXCEPTION, "owner", None, "owner is missing: give it whom to ask"),
        ("exceptions", EXCEPTION, "owner", f"'{'x' * 101}'", "owner is 'xxxxx"),
        ("exceptions", EXCEPTION, "expires", None, "expires is missing: give it the last day"),
        ("exceptions", EXCEPTION, "expires", "'2027-03-31'", "expires is '2027-03-31': give it the last day"),
        ("exceptions", EXCEPTION, "expires", "2027-03-31T00:00:00Z", "expires is 2027-03-31 00:00:00+00:00: give it"),
        ("exceptions", EXCEPTION, "callers", "[]", "callers is empty: give it a list of object ids"),
        ("exceptions", EXCEPTION, "callers", f"'{PIPELINE}'", f"callers is '{PIPELINE}': give it a list"),
        ("exceptions", EXCEPTION, "callers", f"['{PIPELINE}', 'ci-bot']", "callers holds 'ci-bot': give it a list"),
        ("exceptions", EXCEPTION, "callers", "['81.2.69.***']", "callers holds '81.2.69.***': give it a list"),
        ("exceptions", EXCEPTION, "callers", f"['{PIPELINE}0']", f"callers holds '{PIPELINE}0': give it a list"),
        ("exceptions", EXCEPTION, "callers", "[5]", "callers holds 5: give it a list"),
        ("exceptions", EXCEPTION, "count", "5", "count is not known: there is rule, resource, callers, reason, "),
        ("exceptions", EXCEPTION, "expire", "5", "expire is not known: did you mean expires? There is rule, "),
    ],
)
def test_an_entry_that_cannot_be_right_is_refused(
    kind: str, entry: str, name: str, value: str | None, fix: str
) -> None:
    """With its number among its kind, and once."""
    right = f"[[{kind}]]\n{entry}severity = 'Low'\n" if kind == "resources" else f"[[{kind}]]\n{entry}\n"
    assert _problems(right) == ()
    problem = _problem(f"{right}[[{kind}]]\n{_with(right.partition('\n')[2], name, value)}")
    assert problem.startswith(f"tuning.toml [[{kind}]] 2: {fix}")


@pytest.mark.parametrize(
    "resource", ["*", "*x", "?subscriptions/*", "/", "/SUB*", "/subscriptions/s/*", "arn:aws:*", "a*"]
)
def test_a_pattern_that_may_fit_an_id_is_taken(resource: str) -> None:
    """Whatever its case."""
    assert _problems(f"[[resources]]\n{_with(RESOURCE, 'resource', repr(resource))}\nseverity = 'Low'") == ()


def test_an_entry_that_changes_nothing_is_refused() -> None:
    """Somebody forgot what it was for."""
    assert _problem(f"[[resources]]\n{RESOURCE}").startswith(
        "tuning.toml [[resources]] 1: it changes nothing: give it "
    )


def test_an_exception_for_everybody_everywhere_is_refused() -> None:
    """It needs a resource or callers; either is enough, and a resource may be every one if that is said."""
    neither = _with(_with(EXCEPTION, "resource", None), "callers", None)
    assert _problem(f"[[exceptions]]\n{neither}").startswith("tuning.toml [[exceptions]] 1: it would explain every ")
    for one in ("resource", "callers"):
        assert _problems(f"[[exceptions]]\n{_with(EXCEPTION, one, None)}") == ()
    assert _problems(f"[[exceptions]]\n{neither}\nresource = '*'") == ()


def test_an_entry_about_every_rule_takes_every_threshold() -> None:
    """And refuses what no rule knows."""
    every = _with(RESOURCE, "rule", "'*'")
    names = {threshold.name for rule in CATALOGUE for threshold in rule.thresholds}
    numbers = "\n".join(f"{name} = 5" for name in names)
    (change,) = tuning.parse(f"[[resources]]\n{every}\n{numbers}", "tuning.toml").changes
    assert change.thresholds == dict.fromkeys(names, 5)
    assert "counts is not known: did you mean count?" in _problem(f"[[resources]]\n{every}\ncounts = 5")


def test_all_problems_are_found_at_once() -> None:
    """In all tables, and several in one."""
    text = f"""
    [rules.model_theft]
    count = 0
    severity = "medium"
    [rules.other]
    size = 5
    [[resources]]
    rule = "model_theft"
    resource = "ci"
    [[exceptions]]
    {_with(EXCEPTION, "owner", None)}
    [[exceptions]]
    callers = []
    [other]
    """
    places = [re.sub(r"(:| is no).*", "", problem) for problem in _problems(text)]
    assert sorted(places) == sorted(
        ["tuning.toml [rules.model_theft]"] * 2
        + ["tuning.toml"] * 2  # [rules.other] and [other]
        + ["tuning.toml [rules.other]"]
        + ["tuning.toml [[resources]] 1"] * 3  # the pattern, the reason, and nothing to change
        + ["tuning.toml [[exceptions]] 1"]
        + ["tuning.toml [[exceptions]] 2"] * 5  # rule, callers, reason, owner, expires
    )


def test_each_problem_is_told_with_its_line() -> None:
    """That of the value, or of the table where the value is missing."""
    text = """# ours
[rules.model_theft]
severity = "medium"
count = 0

[[exceptions]]
rule = "model_theft"
callers = []
reason = "Rotation."
expires = 2027-03-31
"""
    lines = [re.search(r", line (\d+): (\w+)", problem) for problem in tuning.parse(text, "tuning.toml").problems]
    assert [line and line.groups() for line in lines] == [
        ("3", "severity"),
        ("4", "count"),
        ("8", "callers"),
        ("6", "owner"),
    ]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As the setting names it, not as the machine does."""
    (problem,) = tuning.read(tmp_path / "none.toml", "my/none.toml").problems
    assert problem.startswith("TUNING_FILE names my/none.toml, which cannot be read (No such file or directory): ")
    (problem,) = tuning.read(tmp_path, "my").problems
    assert problem.startswith("TUNING_FILE names my, which cannot be read (Is a directory)")


def test_a_file_of_another_encoding_is_named_and_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    """Editors on Windows leave either."""
    path = tmp_path / "tuning.toml"
    path.write_bytes("[rules.model_theft]\r\ncount = 5 # größer\r\n".encode("utf-8-sig"))
    (change,) = tuning.read(path, "tuning.toml").changes
    assert change.thresholds == {"count": 5}
    path.write_bytes("[rules.model_theft] # größer".encode("latin-1"))
    (problem,) = tuning.read(path, "tuning.toml").problems
    assert problem.startswith("tuning.toml is not UTF-8 (invalid start byte at byte 24)")


def test_what_findings_and_heartbeats_show_of_exceptions_fits_a_column() -> None:
    """The longest texts, in the widest letters, and more exceptions than are listed."""
    entry = f"""rule = "bedrock_validation_exceptions"
    resource = "*{"𐐷" * 499}"
    reason = "{"𐐷" * 300}"
    owner = "{"𐐷" * 100}"
    expires = 2020-01-01
    """
    found = tuning.parse(f"[[exceptions]]\n{entry}" * 30, "tuning.toml")
    assert found.problems == ()
    beat = heartbeat(
        START,
        START,
        WindowHealth(Counters(), []),
        RunProgress(),
        resources_seen=0,
        findings=0,
        open_episodes=0,
        expired=Policy(suppression_rules=found.suppression_rules).expired(START),
    )
    assert len(beat.expired_exceptions) == 20
    assert len(json.dumps(beat.expired_exceptions, ensure_ascii=False).encode()) < 64 * 1024


NUMBERS = st.integers(1, 999)
PATTERNS = st.sampled_from(["*", "*-ci-*", "*/ACCOUNTS/A*", "*prod", canonical_id("aoai-ci-1"), "/subscriptions/*-?"])
NAMES = st.sampled_from(["aoai-ci-1", "aoai-ci-22", "prod", "aprod", "x-2"])
VALUES = st.fixed_dictionaries(
    {}, optional={"enabled": st.booleans(), "severity": st.sampled_from(["Low", "Medium", "High"])}
)


def _numbers(rule_id: str) -> st.SearchStrategy[dict[str, int]]:
    rules = [BY_ID[rule_id]] if rule_id in BY_ID else CATALOGUE
    names = {threshold.name for rule in rules for threshold in rule.thresholds}
    return st.fixed_dictionaries({}, optional=dict.fromkeys(sorted(names), NUMBERS))


@st.composite
def _entry(draw: st.DrawFn) -> dict[str, Any]:
    rule_id = draw(st.sampled_from([*BY_ID, EVERY]))
    values = {**draw(VALUES), **draw(_numbers(rule_id))} or {"enabled": True}
    return {"rule": rule_id, "resource": draw(PATTERNS), "reason": "Some.", **values}


@st.composite
def _file(draw: st.DrawFn) -> dict[str, Any]:
    named = draw(st.sets(st.sampled_from(sorted(BY_ID))))
    rules = {rule_id: {**draw(VALUES), **draw(_numbers(rule_id))} for rule_id in sorted(named)}
    return {"rules": rules, "resources": draw(st.lists(_entry(), max_size=6))}


def _toml(file: Mapping[str, Any]) -> str:
    """Return the file as TOML, whose plain values are written as in JSON."""
    tables = [(f"[rules.{rule_id}]", values) for rule_id, values in file["rules"].items()]
    tables += [("[[resources]]", values) for values in file["resources"]]
    return "\n".join(
        "\n".join([title, *(f"{name} = {json.dumps(value)}" for name, value in values.items())])
        for title, values in tables
    )


def _naive(file: Mapping[str, Any], rule_id: str, entity: str) -> EffectiveThresholds | None:
    """Return what the file says, put together by hand."""
    rule = BY_ID[rule_id]
    numbers: dict[str, Any] = {threshold.name: threshold.at_least for threshold in rule.thresholds}
    found = {"enabled": True, "severity": rule.severity, **numbers, **file["rules"].get(rule_id, {})}
    for entry in file["resources"]:
        if entry["rule"] in (rule_id, "*") and fnmatchcase(entity.lower(), entry["resource"].lower()):
            found.update({name: value for name, value in entry.items() if name in found})
    return EffectiveThresholds({name: found[name] for name in numbers}, found["severity"]) if found["enabled"] else None


@given(file=_file(), name=NAMES)
def test_what_holds_is_what_the_file_says(file: dict[str, Any], name: str) -> None:
    """For every rule; and a rule that holds for a resource is among those that are counted."""
    found = tuning.parse(_toml(file), "tuning.toml")
    assert found.problems == ()
    policy = Policy(changes=found.changes)
    for rule in CATALOGUE:
        effective = policy.effective(Key(rule.id, (canonical_id(name), "something")))
        assert effective == _naive(file, rule.id, canonical_id(name))
        assert effective is None or rule in policy.rules
