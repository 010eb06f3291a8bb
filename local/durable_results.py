"""Results that the Durable extension does not carry as they are: refused, where Azure would change them or stand still.

The host reads a result and writes it anew, as text of a queue message. What becomes of which value was recorded from
the extension, in tests/local/durable_facts.json.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NoReturn

type Kind = Literal["orchestration", "activity"]
type Encoding = Literal["UTF8", "Base64"]

MAX_DEPTH = 64
"""Arrays and objects within each other that the host reads in the result of an activity."""

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_NO_TEXT = re.compile("[\ufffe\uffff]")


class UnfitResultError(Exception):
    """A function gave a result that Azure would change, refuse or never deliver."""


def require_fit(name: str, kind: Kind, result: str, encoding: Encoding) -> None:
    """Hold a result, as JSON, against what becomes of it in Azure.

    Args:
        name: The function's name.
        kind: What it is; only the results of activities are messages of their own.
        result: What it returned.
        encoding: host.json's `queueClientMessageEncoding`.

    Raises:
        UnfitResultError: It would not arrive, or not as it is.
    """
    problems = list(_problems(result))
    if kind == "activity":
        problems += _problems_of_messages(result, encoding)
    if problems:
        raise UnfitResultError(f"the result of the {kind} '{name}' does not reach its reader: {problems[0]}")


def _problems(result: str) -> Iterator[str]:
    try:
        value = json.loads(result, parse_constant=_refuse)
    except _ConstantError as error:
        yield f"{error} becomes a text"
        return
    if _HALF_PAIR.search(json.dumps(value, ensure_ascii=False)):
        yield "half of a surrogate pair becomes U+FFFD"


def _problems_of_messages(result: str, encoding: Encoding) -> Iterator[str]:
    value = json.loads(result)
    if _depth(value) > MAX_DEPTH:
        yield f"the host reads no more than {MAX_DEPTH} arrays and objects within each other"
    if encoding != "Base64" and _NO_TEXT.search(json.dumps(value, ensure_ascii=False)):
        yield "no queue takes U+FFFE and U+FFFF as text: set queueClientMessageEncoding to Base64 in host.json"


class _ConstantError(Exception):
    """JSON that is none: NaN or an infinity."""


def _refuse(constant: str) -> NoReturn:
    raise _ConstantError(constant)


def _depth(value: Any) -> int:  # noqa: ANN401 - whatever JSON holds
    levels, depth = [value], 0
    while levels := [inner for outer in levels for inner in _inside(outer)]:
        depth += 1
    return depth


def _inside(value: Any) -> list[Any]:  # noqa: ANN401 - as above
    if isinstance(value, dict):
        return [*value.values(), None]  # an empty one is a level too
    return [*value, None] if isinstance(value, list) else []
