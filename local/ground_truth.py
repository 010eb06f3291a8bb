"""What was generated, counted in plain loops apart from the detector's code.

Every record that is written leaves a fact here; which rules count it, and for whom, is told again from their files, in
a few lines. So the detector's counts and findings can be held against it.
"""

import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from detectors.rules.catalogue import folders
from local.samples import Kind

type Group = tuple[str, ...]
type Place = tuple[str, Group]
"""A rule's id and the group under which it counts."""

FILES: dict[str, dict[str, Any]] = {
    path.stem: tomllib.loads(path.read_text()) for folder in folders() for path in sorted(folder.glob("*.toml"))
}
"""The files of the rules, by id."""

DISTINCT = {rule_id: one["of"] for rule_id, rule in FILES.items() for one in rule["thresholds"].values() if "of" in one}
"""The field that a rule counts the distinct values of."""

ACCOUNTS_OF = "azure_openai"
"""The source whose records tell since when an account is known."""

NUMBERS = ("request_length", "response_length", "input_tokens", "output_tokens")

SELECTS = defaultdict[str, list[tuple[str, list[dict[str, Any]]]]](list)
"""By source, the rules that read it, each with its selections of that source."""
for _rule_id, _rule in FILES.items():
    for _source in sorted({select["source"] for select in _rule["select"]}):
        SELECTS[_source].append((_rule_id, [select for select in _rule["select"] if select["source"] == _source]))

MINUTE_RULES = {rule_id for rule_id, rule in FILES.items() if rule["group"].get("per") == "minute"}


class Fact(NamedTuple):
    """What is known of a record because we made it so.

    Attributes:
        source: the name of its log source.
        second: the record's own time, in seconds since 1970.
        fields: what it says, by the names of the source's fields and numbers; None for what it does not say. Ids are
            canonical, and a caller of whom only an address is known is `ip` and the address.
    """

    source: str
    second: int
    fields: Mapping[str, Any]


@dataclass(slots=True)
class Sum:
    """Records of one group: how many, how long, and whose.

    Attributes:
        numbers: what each number was, and how often, by its name: lengths in bytes, and tokens.
        members: values of the field that a rule counts the distinct values of.
    """

    count: int = 0
    numbers: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    callers: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    members: set[str] = field(default_factory=set)

    def add(self, fact: Fact, of: str | None) -> None:
        """Count one record, and its value of a field."""
        self.count += 1
        caller = fact.fields.get("caller") or ""
        self.callers[caller] += 1
        self.received[caller] += fact.fields.get("response_length") or 0
        self.members.update([str(fact.fields[of])] if of else [])
        for name in NUMBERS:
            if (number := fact.fields.get(name)) is not None:
                self.numbers[name][number] += 1

    def take(self, other: "Sum") -> None:
        """Count what another has counted."""
        self.count += other.count
        self.callers.update(other.callers)
        self.received.update(other.received)
        self.members |= other.members
        for name, numbers in other.numbers.items():
            self.numbers[name].update(numbers)


@dataclass(slots=True)
class Truth:
    """The whole of what was generated.

    Attributes:
        attacked: whom each rule's attack is about, by rule: the first field of its groups.
        resembling: the same of the look-alikes.
        messages: all of them.
        records: in sound messages.
        malformed: messages of each kind of damage.
        known: by account of Azure, the start of the bucket of the first record that any rule counts.
        sums: by start of the 10-minute bucket of arrival and by place; certain records of damaged messages included.
    """

    attacked: dict[str, str] = field(default_factory=dict)
    resembling: dict[str, str] = field(default_factory=dict)
    messages: int = 0
    records: int = 0
    malformed: Counter[Kind] = field(default_factory=Counter)
    known: dict[str, datetime] = field(default_factory=dict)
    sums: defaultdict[datetime, defaultdict[Place, Sum]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Sum))
    )

    def note(self, fact: Fact, bucket: datetime) -> None:
        """Count a record that arrived in a bucket, for every rule that does."""
        sums = self.sums[bucket]
        for place in places(fact):
            sums[place].add(fact, DISTINCT.get(place[0]))
            if fact.source == ACCOUNTS_OF:
                self.known.setdefault(str(fact.fields["resource"]), bucket)

    def counts(self) -> Counter[tuple[str, Group, datetime]]:
        """Return records by rule, group and bucket."""
        return Counter(
            {(*place, bucket): one.count for bucket, sums in self.sums.items() for place, one in sums.items()}
        )


def places(fact: Fact) -> Iterator[Place]:
    """Every rule that counts a record, and for whom."""
    for rule_id, selects in SELECTS[fact.source]:
        if any(_selects(select, fact) for select in selects):
            group = [fact.fields.get(name) for name in FILES[rule_id]["group"]["by"]]
            if None not in group and "" not in group:
                minute = (_minute(fact.second // 60),) if rule_id in MINUTE_RULES else ()
                yield rule_id, (*map(str, group), *minute)


def _selects(select: Mapping[str, Any], fact: Fact) -> bool:
    """Whether a table [[select]] of a rule's file accepts a record of its source."""
    return all(name == "source" or _holds(wanted, fact.fields.get(name)) for name, wanted in select.items())


def _holds(wanted: object, value: Any) -> bool:  # noqa: ANN401 - a field of any kind
    if isinstance(wanted, str):
        return bool(value == wanted)
    match wanted:
        case {"known": known}:
            return (value is not None) is known
        case {"not": unwanted}:
            return value is not None and not _holds(unwanted, value)
        case {"at_least": least}:
            return value is not None and bool(value >= least)
        case list():
            return value in wanted
    return bool(value == wanted)


@lru_cache(maxsize=4096)
def _minute(number: int) -> str:
    return datetime.fromtimestamp(number * 60, UTC).strftime("%Y-%m-%dT%H:%MZ")
