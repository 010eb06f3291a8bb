"""How tests see a command line: the help of each command, and whether a call can be taken."""

from collections.abc import Iterator, Sequence

import click


def helps(program: click.Group) -> Iterator[tuple[str, str]]:
    """Yield the program's own help, and that of every command by its name."""
    context = click.Context(program, info_name="llm-detector")
    yield "", program.get_help(context)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        yield name, command.get_help(click.Context(command, parent=context, info_name=name))


def parsed(program: click.Group, words: Sequence[str]) -> dict[str, object]:
    """Return the arguments that a command would get. Raises `click.UsageError` for a call that cannot be taken."""
    context = click.Context(program, info_name="llm-detector")
    name, command, rest = program.resolve_command(context, list(words))
    assert command is not None
    return command.make_context(name, rest, parent=context).params
