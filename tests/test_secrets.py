"""No file of the project holds what looks like a key, a token or a connection string with one."""

import re
import subprocess
from pathlib import Path

import pytest

from detectors.rules.catalogue import ROOT

LOOKS_LIKE_A_SECRET = re.compile(
    rb"""(?x)
    (?:AccountKey|SharedAccessKey|SharedAccessSignature)=(?!Eby8vdM02xNOcqF)[\w+/%-]{30,}  # a connection string
    | (?<!sha512-)(?<![\w+/])(?!Eby8vdM02xNOcqF)[\w+/]{86}==             # a key of storage; Azurite's is public
    | \bA(?:KIA|SIA)(?![A-Z0-9]{9}EXAMPLE)[A-Z0-9]{16}\b                 # a key of AWS, but for those of its manuals
    | -----BEGIN\ (?:[A-Z]+\ )*PRIVATE\ KEY-----
    | \beyJ[\w-]{20,}\.eyJ[\w-]{20,}\.                                   # a token of Entra ID
    | \b(?:sk|ghp|github_pat|xox[bp])[-_][A-Za-z0-9_]{30,}
    """
)


def _secrets(content: bytes) -> list[bytes]:
    return LOOKS_LIKE_A_SECRET.findall(content)


@pytest.mark.real
def test_no_file_holds_what_looks_like_a_secret() -> None:
    """Whoever copies a sample copies it with what is in it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)  # noqa: S607
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert len(files) > 100
    assert {str(file): found for file in files if file.is_file() and (found := _secrets(file.read_bytes()))} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "AccountKey=" + "a1B2c3D4" * 10 + "==",
        "Endpoint=sb://x/;SharedAccessKey=" + "Zz9+" * 11,
        "x" * 86 + "==",
        "AKIA" + "J7Q2M4X8K1L9P3R5",
        "-----BEGIN RSA PRIVATE " + "KEY-----",
        "eyJ" + "a" * 30 + ".eyJ" + "b" * 30 + ".c",
        "sk-" + "a" * 40,
    ],
)
def test_a_planted_secret_is_found(planted: str, tmp_path: Path) -> None:
    """Wherever it stands in a line."""
    file = tmp_path / "settings.json"
    file.write_text(f'{{"Value": "{planted}"}}')
    assert _secrets(file.read_bytes())
