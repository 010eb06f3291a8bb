"""Where a command reads settings from: the environment, or a `local.settings.json` in its place."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from detectors.errors import DetectorError


class LocalSettingsError(DetectorError):
    """A `local.settings.json` is not there or cannot be read; the message names the file, the line and the fault."""


def environment(file: Path | None) -> Mapping[str, str]:
    """Return the settings in a file, or without one those of this process. The two are never mixed.

    Raises:
        LocalSettingsError: there is no such file, or it is none that Core Tools would take.
    """
    if file is None:
        return os.environ
    try:
        text = file.read_text(encoding="utf-8-sig")
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise LocalSettingsError(f"{file}, line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except OSError as error:
        raise LocalSettingsError(f"{file}: {error.strerror}.") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise LocalSettingsError(f"{file}: no text in UTF-8, or nested without end.") from error
    return _values(file, text, document)


def _values(file: Path, text: str, document: object) -> Mapping[str, str]:
    """Return the object `Values` of a file that is JSON."""
    values = document.get("Values") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(values, dict):
        raise LocalSettingsError(f'{file}: holds no object "Values", in which Core Tools keeps the settings.')
    if document.get("IsEncrypted") is True:
        raise LocalSettingsError(f"{file}: is encrypted; run `func settings decrypt`.")
    for name, value in values.items():
        if not isinstance(value, str):
            raise LocalSettingsError(f"{file}{_line(text, name)}: {name} is no text; put its value in double quotes.")
    return values


def _line(text: str, name: str) -> str:
    """Where a name stands in the file, as far as a look at the text tells."""
    found = re.search(rf"{re.escape(json.dumps(name))}\s*:", text)
    return f", line {text.count('\n', 0, found.start()) + 1}" if found else ""
