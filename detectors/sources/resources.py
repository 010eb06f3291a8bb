"""Azure resource ids: compared without regard to case, shown in one canonical form."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from detectors.sources.text import storable

MAX_CHARACTERS = 1024
MAX_ACCOUNT_BYTES = 400
_ACCOUNT = "/providers/microsoft.cognitiveservices/accounts/"

_PATTERN = re.compile(
    r"/?subscriptions/([^/\s]+)/resourcegroups/([^/\s]+)/providers/([^/\s]+)/([^/\s]+)/([^/\s]+)(?:/.*)?",
)


class Resource(NamedTuple):
    """The parts of a canonical resource id that a person asks for."""

    subscription_id: str
    resource_group: str
    name: str


def canonical(resource_id: str) -> str | None:
    """Find the top-level resource's id in lower case, as Log Analytics writes `_ResourceId`; None if it is none.

    Services write the same id in upper, lower and mixed case. A child (`.../deployments/x`) counts as its parent.
    """
    return _canonical(resource_id) if len(resource_id) <= MAX_CHARACTERS else None  # a long one is not remembered


@lru_cache(maxsize=8192)
def _canonical(resource_id: str) -> str | None:
    match = _PATTERN.fullmatch(storable(resource_id.strip().lower()))
    return "/subscriptions/{}/resourcegroups/{}/providers/{}/{}/{}".format(*match.groups()) if match else None


def parts(canonical_id: str) -> Resource:
    """Split an id made by `canonical` into subscription, resource group and name."""
    segments = canonical_id.split("/")
    return Resource(subscription_id=segments[2], resource_group=segments[4], name=segments[-1])


def kind_of(canonical_id: str) -> str:
    """Return the resource type in an id made by `canonical`: `microsoft.cognitiveservices/accounts`."""
    segments = canonical_id.split("/")
    return f"{segments[6]}/{segments[7]}"


def is_account(canonical_id: str) -> bool:
    """Tell whether an id made by `canonical` is that of an Azure AI account."""
    return _ACCOUNT in canonical_id


def openai_accounts(resource_ids: Iterable[str | None]) -> set[str]:
    """Find the canonical ids of Azure AI accounts among ids of any spelling and any service."""
    found = {canonical(resource_id) for resource_id in resource_ids if resource_id}
    accounts = {account for account in found if account and _ACCOUNT in account}
    return {account for account in accounts if len(account.encode()) <= MAX_ACCOUNT_BYTES}
