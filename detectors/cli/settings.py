"""`settings`: whether the app would start with its settings, and what would be in force."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from detectors.cli.environment import environment
from detectors.cli.exit_codes import DONE, NOT_IN_ORDER
from detectors.cli.layout import Rows, aligned, ndjson, write
from detectors.cli.options import format_option, settings_file_option
from detectors.errors import SettingsError

if TYPE_CHECKING:
    from detectors.cli.effective_settings import EffectiveSetting

EXAMPLES = """\b
Examples:
  llm-detector settings --file local.settings.json
  llm-detector settings                              # the environment of this shell
  llm-detector settings --file local.settings.sample.json --format ndjson
"""


@click.command(epilog=EXAMPLES)
@settings_file_option
@format_option("table", "ndjson")
def command(file: Path | None, form: str) -> int:
    """Check the app settings as the app does at start, and show what is in force and where it comes from.

    All problems are told at once, each with its fix. Of connections only account and endpoint are shown, never a key.

    Exit codes: 0 the app would start, 1 it would not, 2 the file cannot be read.
    """
    from detectors.cli.effective_settings import in_force  # noqa: PLC0415 - loads Azure's clients

    env = environment(file)
    try:
        found = in_force(env)
    except SettingsError as error:
        if form == "ndjson":
            write(ndjson({"problem": problem} for problem in error.problems))
        else:
            click.echo(f"{file or 'The environment'}: {error}", err=True)
        return NOT_IN_ORDER
    if form == "ndjson":
        write(ndjson({"setting": each.setting, "value": each.value, "from": each.origin} for each in found))
    else:
        write(aligned(_rows(found), text=(0, 1, 2)))
    return DONE


def _rows(found: "list[EffectiveSetting]") -> Rows:
    return [["Setting", "Value", "From"]] + [
        [each.setting, "none" if each.value is None else str(each.value), each.origin] for each in found
    ]
