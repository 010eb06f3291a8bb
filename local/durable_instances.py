"""The instances of a task hub and the rules by which they come and go.

The rules are those of the Durable Functions extension over Azure Storage, with its default of
overwriting only instances that do not run (`overridableExistingInstanceStates`).
"""

import itertools
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType


class Status(StrEnum):
    """The state of an instance, of those that occur here."""

    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"


UNFINISHED = frozenset({Status.PENDING, Status.RUNNING})


@dataclass(frozen=True, slots=True)
class InstanceResult:
    """An instance as a status query shows it.

    Attributes:
        instance_id: The id its starter chose, or a random one.
        name: The orchestrator's name.
        status: Where it stands.
        input: The JSON of its input, None without one.
        output: What the orchestrator returned, or the message of its failure.
        created_at: When it was created; a continue-as-new counts as creation.
        updated_at: When its status last changed.
        execution: Tells the executions under one id apart.
    """

    instance_id: str
    name: str
    status: Status
    input: str | None
    output: object
    created_at: datetime
    updated_at: datetime
    execution: int


class InstanceExistsError(Exception):
    """An instance of that id has not finished, so no other can take its place."""


class Instances:
    """All instances of the hub, by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, InstanceResult] = {}
        self._executions = itertools.count(1)

    @property
    def view(self) -> Mapping[str, InstanceResult]:
        """Give all instances, in the order of their creation, read-only."""
        return MappingProxyType(self._by_id)

    def create(self, name: str, instance_id: str | None, input_json: str | None, now: datetime) -> str:
        """Add a pending instance and give its id; a finished one of that id is overwritten.

        Raises:
            InstanceExistsError: The one of that id is pending or running.
        """
        instance_id = instance_id or uuid.uuid4().hex
        known = self._by_id.get(instance_id)
        if known and known.status in UNFINISHED:
            raise InstanceExistsError(f"An Orchestration instance with the status {known.status} already exists.")
        self.purge([instance_id])
        self._by_id[instance_id] = InstanceResult(
            instance_id, name, Status.PENDING, input_json, None, now, now, next(self._executions)
        )
        return instance_id

    def update(self, instance_id: str, status: Status, output: object, now: datetime) -> None:
        """Move an instance on."""
        known = self._by_id[instance_id]
        self._by_id[instance_id] = replace(known, status=status, output=output, updated_at=now)

    def restart(self, instance_id: str, input_json: str, now: datetime) -> None:
        """Begin a new execution of an instance that continues as new.

        Azure Storage writes the time of creation anew, which a purge by that time goes by.
        """
        self._by_id[instance_id] = replace(
            self._by_id[instance_id],
            input=input_json,
            created_at=now,
            updated_at=now,
            execution=next(self._executions),
        )

    def purge(self, instance_ids: Collection[str]) -> int:
        """Remove instances, whatever their status, and give how many there were."""
        return len([self._by_id.pop(key) for key in list(instance_ids) if key in self._by_id])

    def created_between(self, earliest: datetime, latest: datetime, statuses: Collection[str] | None) -> list[str]:
        """Give the ids of the instances a purge by time finds, both ends included.

        Azure Storage ignores unfinished statuses in the filter, but without a filter it takes
        instances of every status, running ones too.
        """
        wanted = set(Status) if statuses is None else {Status(s) for s in statuses if s in set(Status)} - UNFINISHED
        return [
            known.instance_id
            for known in self._by_id.values()
            if earliest <= known.created_at <= latest and known.status in wanted
        ]
