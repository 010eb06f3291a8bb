"""Microsoft's compiler as tests ask it: what a deployment would make, with no Azure, and each question once."""

import fcntl
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from infra import bicep
from infra.bicep import INFRA, Said
from tests.infra.deployments import DEPLOYMENTS, GROUP, LOG_TABLE, LOG_WORKSPACE, OWN, REGION, SOC, account

type Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a deployment would make."""

    resources: list[Resource]

    def of(self, kind: str) -> list[Resource]:
        """Return the resources of a type."""
        return [resource for resource in self.resources if resource["type"] == kind]

    def one(self, kind: str) -> Resource:
        """Return the only resource of a type."""
        (found,) = self.of(kind)
        return found


class Compiler:
    """The compiler, whose answers are kept on disk until a file of infra/ or the question changes.

    Args:
        path: where it is.
        kept: a folder for answers and questions; several processes may share it.
    """

    def __init__(self, path: Path, kept: Path) -> None:
        self._path, self._kept = path, kept
        _write(
            kept / "bicepconfig.json", '{"analyzers": {"core": {"enabled": false}}}'
        )  # what is made here has no style
        self._state = sha256(f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
        for file in sorted(INFRA.rglob("*")):
            if file.is_file() and not set(bicep.NOT_OURS) & set(file.relative_to(INFRA).parts):
                self._state.update(f"{file}\0".encode() + file.read_bytes())

    def built(self, file: Path, **environment: str) -> tuple[dict[str, Any], str]:
        """Return a parameter file as parameters, and what the compiler says of it and of the template."""
        said = self._ask(file.stem, "build-params", str(file), "--stdout", **environment)
        parameters = json.loads(json.loads(said.output)["parametersJson"])["parameters"] if said.output else {}
        return {name: given["value"] for name, given in parameters.items()}, said.diagnostics

    def template(self) -> dict[str, Any]:
        """main.bicep as an ARM template, with its modules in it."""
        sample = INFRA / "sample.bicepparam"
        said = self._ask(sample.stem, "build-params", str(sample), "--stdout")
        assert said.output, said.diagnostics
        template: dict[str, Any] = json.loads(json.loads(said.output)["templateJson"])
        return template

    def refused(self, name: str, parameters: dict[str, Any]) -> list[str]:
        """Return what the compiler has against parameters, a line for each fault."""
        return self.built(self._file(name, parameters))[1].splitlines()

    def deployed(self, name: str) -> tuple[Evaluated, str]:
        """One of `DEPLOYMENTS`, and what the compiler says of it."""
        file = self._file(name, DEPLOYMENTS[name])
        place = ("--subscription-id", OWN, "--resource-group", GROUP, "--location", REGION, "--tenant-id", SOC)
        said = self._ask(name, "snapshot", str(file), "--mode", "overwrite", *place, "--deployment-name", "detector")
        assert said.output, said.diagnostics
        snapshot = json.loads(said.output)
        diagnostics = [said.diagnostics, *map(str, snapshot["diagnostics"])]
        return Evaluated(snapshot["predictedResources"]), "\n".join(filter(None, diagnostics))

    def checked(self, name: str, text: str) -> Said:
        """Return what the compiler says of other Bicep: of its types alone."""
        file = self._kept / f"{name}.bicep"
        _write(file, text)
        return self._ask(name, "build", str(file), "--stdout")

    def _file(self, name: str, parameters: dict[str, Any]) -> Path:
        """Return a parameter file over a prefix and one account."""
        values = {"namePrefix": "llmabuse", "watchedAccountIds": [account("aoai-prod")]} | parameters
        file = self._kept / f"{name}.bicepparam"
        template = os.path.relpath(INFRA / "main.bicep", self._kept)
        lines = [f"using '{template}'", *(f"param {key} = {literal(value)}" for key, value in values.items())]
        _write(file, "\n".join(lines) + "\n")
        return file

    def _ask(self, name: str, *command: str, **environment: str) -> Said:
        """Return what was answered before, or is now."""
        file = Path(command[1])
        state = self._state.copy()
        state.update(repr((command, sorted(environment.items()), file.read_text())).encode())
        answer = self._kept / f"{name}.answer.json"
        with (self._kept / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be asking the same
            if answer.exists() and (known := json.loads(answer.read_text()))["state"] == state.hexdigest():
                return Said(*known["said"])
            said = bicep.run(self._path, *command, environment=dict(os.environ) | environment)
            if command[0] == "snapshot":
                made = file.with_suffix(".snapshot.json")
                said = said._replace(output=made.read_text() if made.exists() else "")
                made.unlink(missing_ok=True)
            _write(answer, json.dumps({"state": state.hexdigest(), "said": said}))
        return said


def _write(file: Path, text: str) -> None:
    """Write at once, as another process may be reading."""
    made = file.with_name(f"{file.name}.{os.getpid()}")
    made.write_text(text)
    made.replace(file)


_ESCAPED = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "${": "\\${"}


def literal(value: object) -> str:
    """Return a value as Bicep writes it."""
    match value:
        case str():
            return "'" + re.sub(r"[\\'\n\r\t]|\$\{", lambda found: _ESCAPED[found[0]], value) + "'"
        case Mapping():
            return "{\n" + "".join(f"{literal(key)}: {literal(item)}\n" for key, item in value.items()) + "}"
        case list():
            return "[\n" + "".join(f"{literal(item)}\n" for item in value) + "]"
    return json.dumps(value)


_EXTENSIONS = ("Microsoft.SecurityInsights/", "Microsoft.Insights/diagnosticSettings")
"""Types that exist on another resource only."""


def written_out(resources: list[Resource]) -> str:
    """Resources as Bicep of literals alone, each distinct one once, under names of its own."""
    (version,) = {one["apiVersion"] for one in resources if one["type"] == LOG_TABLE}
    parts = [f"resource place '{LOG_WORKSPACE}@{version}' existing = {{\nname: 'place'\n}}"]
    distinct = {json.dumps(resource, sort_keys=True): resource for resource in resources}.values()
    for number, resource in enumerate(distinct):
        kind, (_, *children) = resource["type"], resource["type"].split("/")[1:]
        names = resource["name"].split("/")
        name = "/".join([f"resource{number}", *names[len(names) - len(children) :]])
        body = {key: value for key, value in resource.items() if key not in {"id", "type", "apiVersion"}}
        text = literal(body | {"name": name})
        if kind.startswith(_EXTENSIONS):
            text = text.replace("{\n", "{\nscope: place\n", 1)
        parts.append(f"resource made{number} '{kind}@{resource['apiVersion']}' = {text}")
    return "\n".join(parts) + "\n"
