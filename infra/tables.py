"""Writes tables.json and storage-tables.json for Bicep: `python -m infra.tables` after a change of columns, tables."""  # noqa: INP001

import json
from pathlib import Path

import msgspec

from detectors import detector
from detectors.reporting.finding import Finding, columns
from detectors.reporting.heartbeat import Heartbeat

TABLES: dict[str, type[msgspec.Struct]] = {"LlmThreatFindings_CL": Finding, "LlmDetectorHealth_CL": Heartbeat}
STORAGE_TABLES = sorted(name for constant, name in vars(detector).items() if constant.endswith("_TABLE"))
FILE = Path(__file__).with_name("tables.json")
STORAGE_FILE = Path(__file__).with_name("storage-tables.json")


def render() -> str:
    """Return the tables' columns as JSON, a column on each line."""
    tables = [
        f'  "{name}": [\n'
        + ",\n".join(f"    {json.dumps({'name': column, 'type': kql})}" for column, kql in columns(table).items())
        + "\n  ]"
        for name, table in TABLES.items()
    ]
    return "{\n" + ",\n".join(tables) + "\n}\n"


def render_storage() -> str:
    """Return the names of the storage account's tables as JSON."""
    return json.dumps(STORAGE_TABLES, indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(render())
    STORAGE_FILE.write_text(render_storage())
