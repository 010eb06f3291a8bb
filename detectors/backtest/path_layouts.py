"""Reads the time, and for a capture the partition, from the path of an exported log."""

import re
from datetime import UTC, datetime
from pathlib import Path

from detectors.events import Source

DOMAIN = ".servicebus.windows.net"
"""The suffix of a namespace's host name; paths of captured files hold only the short name."""

_INSIGHTS = re.compile(r"/y=(\d{4})/m=(\d\d?)/d=(\d\d?)/h=(\d\d?)/m=(\d\d?)/", re.IGNORECASE)
_CAPTURE = re.compile(
    r"/(?P<namespace>[^/]+)/(?P<hub>[^/]+)/(?P<partition>\d+)"
    r"/(\d{4})/(\d\d?)/(\d\d?)/(\d\d?)/(\d\d?)/(\d\d?)(?:\.\w+)*$",
    re.ASCII,
)


def time_in(path: str) -> datetime | None:
    """Read when a file's records begin from its path; None if it does not say.

    Two layouts are known: that of diagnostic settings with a storage account (`y=2026/m=10/d=01/h=00/m=00/`),
    and the default of Event Hubs Capture. Both are in UTC.

    Sources: "Azure resource logs", Send to Azure Storage; "Capture events through Azure Event Hubs".
    """
    whole = str(Path(path).absolute())
    insights, capture = _INSIGHTS.search(whole), _CAPTURE.search(whole)
    if insights:
        return _time(*insights.groups())
    return _time(*capture.groups()[3:]) if capture else None


def source_in(path: str) -> Source:
    """Read a file's partition from its path; a path in another layout counts as its own partition.

    The namespace is as the deployed detector sees it, so that evidence is the same.
    """
    found = _CAPTURE.search(str(Path(path).absolute()))
    if not found:
        return Source("", path, "")
    namespace, hub, partition = (found[name].lower() for name in ("namespace", "hub", "partition"))
    return Source(namespace if "." in namespace else namespace + DOMAIN, hub, partition)


def _time(*numbers: str) -> datetime | None:
    year, month, day, hour, minute, second = (*map(int, numbers), 0)[:6]
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
