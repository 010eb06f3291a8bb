"""What it takes to write the records of a log source: the inverse of reading them.

A log source reads records in Azure, and is published; its writer is a module of the same name in this folder, and is
not. What a writer makes, the source reads as the same fields: that is tested for every source.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from detectors.sources.source import Value

Fields = Mapping[str, Value]
"""What a record says, by the names of its source's fields and numbers; None, or not there, for what it does not."""


@dataclass(frozen=True, slots=True)
class RecordWriter:
    """Writes records of one log source.

    Attributes:
        complete: adds what an ordinary record says besides, and makes short names, such as `caller = "a script"`, into
            values as the service has them. Of several customers with the same names, each has a number.
        write: a record as a JSON value, as the service writes it.
    """

    complete: Callable[[Fields, int], Fields]
    write: Callable[[Fields, datetime], dict[str, Any]]


def with_defaults(fields: Fields, defaults: Fields) -> dict[str, Value]:
    """Both, where fields that say None say so on purpose."""
    return {**defaults, **fields}


@lru_cache(10_000)
def guid_of(name: str) -> str:
    """Return a GUID that is always the same for a name."""
    return str(uuid5(NAMESPACE_URL, name))


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None."""
    return {name: value for name, value in values.items() if value is not None}


def account_of(resource: Value, customer: int, kind: str = "microsoft.cognitiveservices/accounts") -> Value:
    """Return the id of a resource in the customer's subscription for a short name; an id stays."""
    if not isinstance(resource, str) or "/" in resource:
        return resource
    group = f"/subscriptions/{guid_of(f'subscription {customer}')}/resourcegroups/rg-genai-prod"
    return f"{group}/providers/{kind}/{resource}"
