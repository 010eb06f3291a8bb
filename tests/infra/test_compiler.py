"""The compiler is found where people have it, and has nothing to say of infra/."""

import json
from pathlib import Path

import pytest

from infra import bicep
from infra.bicep import INFRA
from tests.infra.compiler import Compiler
from tests.infra.deployments import DEPLOYMENTS, MANY_SETTINGS, account

MAIN = INFRA / "main.bicep"
MODULES = sorted((INFRA / "modules").glob("*.bicep"))


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Provide a compiler at each of the places where one may be, by the variable that leads there."""
    places = {
        "BICEP": tmp_path / "named" / "any-name",
        "PATH": tmp_path / "path" / "bicep",
        "HOME": tmp_path / "home" / ".azure" / "bin" / "bicep",
    }
    for file in places.values():
        file.parent.mkdir(parents=True)
        file.touch(mode=0o755)
    return places


def test_the_compiler_is_the_one_that_is_named_else_on_the_path_else_the_one_of_az(places: dict[str, Path]) -> None:
    """Without any of them there is none."""
    named, path, installed = places.values()
    environment = {"BICEP": f"{named}", "PATH": f"{path.parent}", "HOME": f"{installed.parents[2]}"}
    for found in (named, path, installed, None):
        assert bicep.find(environment) == found
        environment.pop(next(iter(environment), ""), None)


def test_a_compiler_that_is_named_and_not_there_is_an_error(places: dict[str, Path]) -> None:
    """To take another one would be a surprise."""
    environment = {"BICEP": "/nowhere/bicep", "PATH": f"{places['PATH'].parent}"}
    with pytest.raises(FileNotFoundError, match="BICEP is /nowhere/bicep, where no file is"):
        bicep.find(environment)


def test_a_rule_that_time_alone_breaks_breaks_nothing(tmp_path: Path) -> None:
    """It is told apart from the others, of which each is a fault."""
    compiler = tmp_path / "bicep"
    compiler.write_text(
        "#!/bin/sh\n"
        "echo '/a.bicep(1,2) : Warning use-recent-api-versions: 731 days old' >&2\n"
        "echo '/a.bicep(3,4) : Warning BCP081: no types' >&2\n"
    )
    compiler.chmod(0o755)
    said = bicep.run(compiler, "build", "a.bicep")
    assert said.diagnostics == "/a.bicep(3,4) : Warning BCP081: no types"
    assert said.aged == "/a.bicep(1,2) : Warning use-recent-api-versions: 731 days old"


def test_a_compiler_that_fails_without_a_word_is_a_fault(tmp_path: Path) -> None:
    """An empty answer is no approval."""
    compiler = tmp_path / "bicep"
    compiler.write_text("#!/bin/sh\nexit 3\n")
    compiler.chmod(0o755)
    assert bicep.run(compiler, "build", "a.bicep").diagnostics == "bicep build ended with 3"


def test_everything_compiles_without_a_word(compiler: Compiler) -> None:
    """The template, and the parameter files that people start from."""
    environment = {"AZURE_LOCATION": "westeurope", "OPENAI_ACCOUNT_IDS": f"{account('a')},{account('b')}"}
    sample, azd = INFRA / "sample.bicepparam", INFRA / "main.bicepparam"
    assert compiler.built(sample)[1] == ""
    parameters, said = compiler.built(azd, **environment)
    assert said == ""
    assert parameters["watchedAccountIds"] == [account("a"), account("b")]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_deployment_evaluates_without_a_word(name: str, compiler: Compiler) -> None:
    """Into resources, each of which stands once."""
    evaluated, said = compiler.deployed(name)
    assert said == ""
    ids = [resource["id"] for resource in evaluated.resources]
    assert len(set(ids)) == len(ids) > 25


def test_a_wrong_parameter_is_refused_before_anything_is_deployed(compiler: Compiler) -> None:
    """A number where the app takes texts; days that Log Analytics does not take; a tag that is no text."""
    wrong = {"settings": MANY_SETTINGS | {"MODEL_THEFT__COUNT": 30}, "findingsRetentionDays": 800, "tags": {"a": True}}
    errors = compiler.refused("wrong", wrong)
    assert [("MODEL_THEFT__COUNT" in error, "800" in error, "true" in error) for error in errors] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


def test_every_output_of_a_module_is_used(compiler: Compiler) -> None:
    """What nobody reads is left out."""
    template = compiler.template()
    text = json.dumps(template)
    modules = {symbol: module["properties"]["template"] for symbol, module in template["resources"].items()}
    outputs = [(symbol, name) for symbol, module in modules.items() for name in module.get("outputs", {})]
    assert outputs
    assert [output for output in outputs if f"reference('{output[0]}').outputs.{output[1]}.value" not in text] == []


def test_parameters_and_outputs_are_described(compiler: Compiler) -> None:
    """In a sentence, those of modules too."""
    template = compiler.template()
    nested = [module["properties"]["template"] for module in template["resources"].values()]
    for part in (template, *nested):
        for name, declared in (part["parameters"] | part.get("outputs", {})).items():
            assert len(declared["metadata"]["description"]) > 10, name


def test_a_file_says_first_what_it_is_for() -> None:
    """And no module lies around unused."""
    files = [MAIN, INFRA / "types.bicep", *MODULES]
    assert [path.name for path in files if not path.read_text().startswith("// ")] == []
    assert [path.name for path in MODULES if f"'modules/{path.name}'" not in MAIN.read_text()] == []
