"""Makes content.bicep, by which Bicep knows the YAML files; `python -m infra.sentinel.analytic_rules` writes it."""  # noqa: INP001

from pathlib import Path

HERE = Path(__file__).parent
FILE = HERE / "content.bicep"
LISTS = {
    "rules": ("analyticsRule", "analytic-rules"),
    "huntingQueries": ("huntingQuery", "hunting-queries"),
}
"""Variables of content.bicep: the type of their members in types.bicep, and the folder of their files."""


def render() -> str:
    """Return the files' contents as typed lists, in order of the files' names."""
    head = [
        "// The analytics rules and hunting queries. Written by `python -m infra.sentinel.analytic_rules`.",
        "",
        f"import {{ {', '.join(sorted(kind for kind, _ in LISTS.values()))} }} from '../types.bicep'",
    ]
    return "\n".join([*head, *(_list(name, kind, folder) for name, (kind, folder) in LISTS.items())]) + "\n"


def _list(name: str, kind: str, folder: str) -> str:
    files = sorted(path.name for path in (HERE / folder).glob("*.yaml"))
    loaded = "".join(f"  loadYamlContent('{folder}/{file}')\n" for file in files)
    return f"\n@export()\nvar {name} {kind}[] = [\n{loaded}]"
