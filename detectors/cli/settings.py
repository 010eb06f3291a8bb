"""`settings`: whether the app would start with its settings, and what would be in force."""

import argparse
import sys
from typing import TYPE_CHECKING

from detectors.cli.arguments import add_settings_file
from detectors.cli.environment import environment
from detectors.cli.layout import Rows, aligned, ndjson, write
from detectors.cli.parser import FAILED, TAKEN, Commands, add_command, add_format
from detectors.errors import SettingsError

if TYPE_CHECKING:
    from detectors.cli.effective_settings import Resolved

ABOUT = """Checks the app settings as the app does at start, and shows what is in force and where it comes from.

All problems are told at once, each with its fix. Of connections only account and endpoint are shown, never a key.
Exit codes: 0 the app would start, 1 it would not, 2 the file cannot be read.
"""

EXAMPLES = """examples:
  python -m detectors settings --file local.settings.json
  python -m detectors settings                              # the environment of this shell
  python -m detectors settings --file local.settings.sample.json --format ndjson
"""


def add(commands: Commands) -> None:
    """Describe the command."""
    settings = add_command(
        commands,
        "settings",
        _run,
        summary="check the app settings, and show what is in force",
        about=ABOUT,
        examples=EXAMPLES,
    )
    add_settings_file(settings)
    add_format(settings, "table", "ndjson")


def _run(options: argparse.Namespace) -> int:
    from detectors.cli.effective_settings import in_force  # noqa: PLC0415 - loads Azure's clients

    env = environment(options.file)
    try:
        found = in_force(env)
    except SettingsError as error:
        if options.format == "ndjson":
            write(ndjson({"problem": problem} for problem in error.problems))
        else:
            sys.stderr.write(f"{options.file or 'The environment'}: {error}\n")
        return FAILED
    if options.format == "ndjson":
        write(ndjson({"setting": each.setting, "value": each.value, "from": each.origin} for each in found))
    else:
        write(aligned(_rows(found), text=(0, 1, 2)))
    return TAKEN


def _rows(found: "list[Resolved]") -> Rows:
    return [["Setting", "Value", "From"]] + [
        [each.setting, "none" if each.value is None else str(each.value), each.origin] for each in found
    ]
