"""The packages that run in Azure, with the licence of each, as their own metadata says."""

import re
from importlib.metadata import PackageMetadata, distribution
from pathlib import Path

from generate.markdown import table

_LOCK = Path(__file__).parents[1] / "requirements.txt"
_PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)
_SHORT = 40
"""A licence field that is longer holds the text itself, or a copyright."""


def locked() -> dict[str, str]:
    """Return what is locked for Azure: versions by name."""
    return dict(_PIN.findall(_LOCK.read_text()))


def licences() -> dict[str, str]:
    """Return the licence of each package."""
    return {name: _licence(distribution(name).metadata) for name in locked()}


def _licence(metadata: PackageMetadata) -> str:
    classifiers = [one.rpartition(" :: ")[2] for one in metadata.get_all("Classifier", ()) if one.startswith("License")]
    told = [*metadata.get_all("License-Expression", ()), *metadata.get_all("License", ()), *classifiers]
    return next((one for one in told if len(one) < _SHORT and "\n" not in one), "")


def packages() -> str:
    """Make the table of packages."""
    versions = locked()
    return table(("Package", "Version", "Licence"), ((name, versions[name], told) for name, told in licences().items()))
