"""What was generated, counted in plain loops apart from the detector's code.

Every record that is written leaves a fact here; which rules count it, and for whom, is told again in a few lines. So
the detector's counts and findings can be held against it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from local.samples import Attack, Kind

type Group = tuple[str, ...]
type Place = tuple[str, Group]
"""A rule's id and the group under which it counts."""

CHAT, LIST_KEY, BLOCKED = "ChatCompletions_Create", "ListKey", "blocked"
DENIED, INVALID = "AccessDeniedException", "ValidationException"


class Fact(NamedTuple):
    """What is known of a record because we made it so.

    Attributes:
        what: the operation; of Bedrock the error code, `blocked`, or nothing of note.
        whose: the canonical resource id; of Bedrock the user's ARN, the model and the account.
        second: the record's own time, in seconds since 1970.
        caller: the object id, or the masked address of a caller without one.
        status: of the answer, as text.
        request: bytes, None if the record does not tell.
        response: bytes, None if the record does not tell.
        policies: how many policies of a guardrail blocked it.
    """

    what: str
    whose: Group
    second: int
    caller: str = ""
    status: str = ""
    request: int | None = None
    response: int | None = None
    policies: int = 0


@dataclass(slots=True)
class Sum:
    """Records of one group: how many, how long, and whose. Lengths are bytes."""

    count: int = 0
    requests: int = 0
    request_bytes: int = 0
    longest: int | None = None
    callers: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)

    def add(self, fact: Fact) -> None:
        """Count one record."""
        self.count += 1
        self.callers[fact.caller] += 1
        if fact.request is not None:
            self.requests += 1
            self.request_bytes += fact.request
        if fact.response is not None:
            self.received[fact.caller] += fact.response
            if self.longest is None or fact.response > self.longest:
                self.longest = fact.response

    def take(self, other: "Sum") -> None:
        """Count what another has counted."""
        self.count += other.count
        self.requests += other.requests
        self.request_bytes += other.request_bytes
        self.callers.update(other.callers)
        self.received.update(other.received)
        if other.longest is not None:
            self.longest = max(other.longest, self.longest or 0)


@dataclass(slots=True)
class Truth:
    """The whole of what was generated.

    Attributes:
        attacked: the resource id, or the user's ARN, that each attack is about.
        messages: all of them.
        records: in sound messages.
        malformed: messages of each kind of damage.
        sums: by start of the 10-minute bucket of arrival and by place; certain records of damaged messages included.
    """

    attacked: dict[Attack, str]
    messages: int = 0
    records: int = 0
    malformed: Counter[Kind] = field(default_factory=Counter)
    sums: defaultdict[datetime, defaultdict[Place, Sum]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Sum))
    )

    def note(self, fact: Fact, bucket: datetime) -> None:
        """Count a record that arrived in a bucket, for every rule that does."""
        sums = self.sums[bucket]
        for place in places(fact):
            sums[place].add(fact)

    def counts(self) -> Counter[tuple[str, Group, datetime]]:
        """Return records by rule, group and bucket."""
        return Counter(
            {(*place, bucket): one.count for bucket, sums in self.sums.items() for place, one in sums.items()}
        )


def places(fact: Fact) -> Iterator[Place]:
    """Every rule that counts a record, and for whom."""
    what, whose = fact.what, fact.whose
    if what == LIST_KEY:
        yield "model_theft", whose
        if fact.caller:
            yield "new_key_lister", (*whose, fact.caller)
    elif what == DENIED:
        yield "bedrock_denied_models", whose
    elif what == INVALID:
        user, _, account = whose
        yield "bedrock_validation_exceptions", (user, account, _minute(fact.second // 60))
    elif what == BLOCKED:
        if fact.policies > 1:
            yield "bedrock_guardrail_violations", (*whose, str(fact.policies))
    elif fact.response is not None:
        yield "large_transfer", whose
    if what == CHAT:
        yield "denial_of_service", (*whose, _minute(fact.second // 60))
        if fact.status == "200" and fact.response == 0:
            yield "insecure_output", whose


@lru_cache(maxsize=4096)
def _minute(number: int) -> str:
    return datetime.fromtimestamp(number * 60, UTC).strftime("%Y-%m-%dT%H:%MZ")
