"""Small pieces of Markdown."""

import inspect
import re
from collections.abc import Iterable, Sequence

_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '\\|') for cell in line)} |" for line in lines)


def code(language: str, text: str) -> str:
    """Make a block of code."""
    return f"```{language}\n{text.strip()}\n```"


def marked(text: object) -> str:
    """Make a word of code; `none` for nothing."""
    return f"`{text}`" if str(text) else "none"


def lower_first(text: str) -> str:
    """Make the begin of a sentence its middle; names such as AWS stay."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def attributes(described: type) -> dict[str, str]:
    """Read what a class says of its attributes, by their names."""
    _, _, listed = (inspect.getdoc(described) or "").partition("\nAttributes:\n")
    return {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(listed)}
