"""Writes tables.json, from which Bicep takes the columns: `python -m infra.tables` after a change of columns."""  # noqa: INP001

import json
from pathlib import Path

import msgspec

from detectors.findings import Finding, columns
from detectors.health import Heartbeat

TABLES: dict[str, type[msgspec.Struct]] = {"LlmThreatFindings_CL": Finding, "LlmDetectorHealth_CL": Heartbeat}
FILE = Path(__file__).with_name("tables.json")


def render() -> str:
    """The tables' columns as JSON, a column on each line."""
    tables = [
        f'  "{name}": [\n'
        + ",\n".join(f"    {json.dumps({'name': column, 'type': kql})}" for column, kql in columns(table).items())
        + "\n  ]"
        for name, table in TABLES.items()
    ]
    return "{\n" + ",\n".join(tables) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(render())
