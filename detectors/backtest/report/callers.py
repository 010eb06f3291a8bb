"""The callers of all episodes."""

from dataclasses import dataclass, field

from detectors.backtest.outcome import Outcome


@dataclass(slots=True)
class EpisodeCaller:
    """One caller: its object id or ARN, or its address, and its records and resources in episodes (by number)."""

    object_id: str
    address: str
    records: int = 0
    episodes: list[int] = field(default_factory=list)
    resources: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Its object id, ARN or address; empty if the caller is not named."""
        return self.object_id or self.address

    @property
    def kind(self) -> str:
        """The kind of that name."""
        if self.object_id:
            return "AWS identity" if self.object_id.startswith("arn:") else "object id"
        return "address" if self.address else "not named"


def callers(outcome: Outcome) -> list[EpisodeCaller]:
    """List the callers by object id and address, those with most records first."""
    known: dict[tuple[str, str], EpisodeCaller] = {}
    for index, summary in enumerate(outcome.episodes, start=1):
        for listed in summary.callers:
            identity = f"{listed['ObjectId']}", f"{listed['IpAddress']}"
            caller = known.setdefault(identity, EpisodeCaller(*identity))
            caller.records += int(listed["Count"])
            caller.episodes.append(index)
            caller.resources.add(summary.resource.partition(" ")[0])
    return sorted(known.values(), key=lambda caller: (-caller.records, caller.object_id, caller.address))
