"""The columns of the tables in Log Analytics."""

import msgspec

from detectors.reporting.finding import Finding, columns
from detectors.reporting.heartbeat import Heartbeat
from generate.markdown import attributes, marked, table


def findings() -> str:
    """Make the table of a finding's columns."""
    return _columns(Finding)


def heartbeats() -> str:
    """Make the table of a heartbeat's columns."""
    return _columns(Heartbeat)


def _columns(row: type[msgspec.Struct]) -> str:
    """Make the table of a row's columns.

    Raises:
        KeyError: its class does not describe one of them.
    """
    said = attributes(row)
    described = {field.encode_name: said[field.name] for field in msgspec.structs.fields(row)}
    return table(
        ("Column", "Type", "What it says"),
        ((marked(name), kql, described[name]) for name, kql in columns(row).items()),
    )
