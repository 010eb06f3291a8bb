"""Path of an exported log -> what it tells: the time, and for a capture the partition."""

import re
from datetime import UTC, datetime
from pathlib import Path

from detectors.events import Source

DOMAIN = ".servicebus.windows.net"
"""Ends the host names of namespaces; in paths of captured files only the short name stands."""

_INSIGHTS = re.compile(r"/y=(\d{4})/m=(\d\d?)/d=(\d\d?)/h=(\d\d?)/m=(\d\d?)/", re.IGNORECASE)
_CAPTURE = re.compile(
    r"/(?P<namespace>[^/]+)/(?P<hub>[^/]+)/(?P<partition>\d+)"
    r"/(\d{4})/(\d\d?)/(\d\d?)/(\d\d?)/(\d\d?)/(\d\d?)(?:\.\w+)*$",
    re.ASCII,
)


def time_in(path: str) -> datetime | None:
    """When the file's records begin, as far as its path tells.

    Two layouts are known: the one of diagnostic settings with a storage account (`y=2026/m=10/d=01/h=00/m=00/`),
    and the default one of Event Hubs Capture. Both are in UTC.

    Sources: "Azure resource logs", Send to Azure Storage; "Capture events through Azure Event Hubs".
    """
    whole = str(Path(path).absolute())
    insights, capture = _INSIGHTS.search(whole), _CAPTURE.search(whole)
    if insights:
        return _time(*insights.groups())
    return _time(*capture.groups()[3:]) if capture else None


def source_in(path: str) -> Source:
    """The partition whose events the file holds; a path that does not tell stands for a partition of its own.

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
