"""What rules group records by. Times are microseconds since 1970, None for a record that tells none."""

from functools import lru_cache

from detectors.callers import azure_caller
from detectors.records import Properties, Record
from detectors.resources import MAX_CHARACTERS, canonical
from detectors.rules.rule import Ungrouped
from detectors.tally import Group
from detectors.windows import from_microseconds

MINUTE_MICROSECONDS = 60 * 1_000_000


def by_resource(record: Record, _properties: Properties, _time: int | None) -> Group | Ungrouped:
    """The canonical id of the resource."""
    resource_id = record.resource_id
    if resource_id is None or len(resource_id) > MAX_CHARACTERS:  # a long one is not remembered
        return Ungrouped.NO_RESOURCE
    return _of_resource(resource_id)


def by_resource_and_minute(record: Record, properties: Properties, time: int | None) -> Group | Ungrouped:
    """The canonical id of the resource, and the minute of the record's own time."""
    group = by_resource(record, properties, time)
    if isinstance(group, Ungrouped):
        return group
    return Ungrouped.NO_TIME if time is None else (*group, minute_of(time // MINUTE_MICROSECONDS))


def by_resource_and_caller(record: Record, properties: Properties, time: int | None) -> Group | Ungrouped:
    """The canonical id of the resource, and the caller's object id."""
    group = by_resource(record, properties, time)
    return group if isinstance(group, Ungrouped) else (*group, azure_caller(record, properties))


@lru_cache(maxsize=8192)
def _of_resource(resource_id: str) -> Group | Ungrouped:
    canonical_id = canonical(resource_id)
    return Ungrouped.NO_RESOURCE if canonical_id is None else (canonical_id,)


@lru_cache(maxsize=4096)
def minute_of(minutes: int) -> str:
    """The name of a minute, given in minutes since 1970: `2026-11-23T08:00Z`, which sorts as time does."""
    return f"{from_microseconds(minutes * MINUTE_MICROSECONDS):%Y-%m-%dT%H:%MZ}"
