"""Texts from logs, made harmless for what stores and carries them."""

import re

_UNSTORABLE = re.compile("[\ud800-\udfff\ufffe\uffff]")


def storable(text: str) -> str:
    """Replace halves of surrogate pairs, which no encoding has, and U+FFFE and U+FFFF by `?`.

    Azure's queues refuse these two as text (https://www.w3.org/TR/xml/#charsets); no name of a service holds any.
    """
    return text if text.isascii() else _UNSTORABLE.sub("?", text)
