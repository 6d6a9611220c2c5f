"""Faults as values: what each is called, what it says, and which of them together mean what. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from atoll.federation.errors import InvalidInput


class FaultKind(StrEnum):
    """What can be broken."""

    CUT_LINK = "CutLink"
    CUT_HUB = "CutHub"
    KILL_AGENT = "KillAgent"
    KILL_API_SERVER = "KillApiServer"
    SLOW_API_SERVER = "SlowApiServer"
    SLOW_HUB = "SlowHub"


_WITH_DELAY = (FaultKind.SLOW_API_SERVER, FaultKind.SLOW_HUB)
LONGEST_DELAY_SECONDS = 600.0


@dataclass(frozen=True)
class Fault:
    """One fault. `peer` is the other end of a cut link, `one_way` says that only `cluster` has lost it."""

    kind: FaultKind
    cluster: str
    peer: str = ""
    one_way: bool = False
    delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what makes no sense. Raises InvalidInput."""
        if bool(self.peer) != (self.kind is FaultKind.CUT_LINK):
            raise InvalidInput(f"peer: {self.kind} {'needs' if not self.peer else 'has no'} other end")
        if self.peer == self.cluster:
            raise InvalidInput(f"peer: {self.cluster} has no link to itself")
        if (self.kind in _WITH_DELAY) != (self.delay_seconds > 0) or self.delay_seconds > LONGEST_DELAY_SECONDS:
            raise InvalidInput(f"delaySeconds: must be above 0 and at most {LONGEST_DELAY_SECONDS:.0f}")

    @property
    def place(self) -> tuple[object, ...]:
        """Where it takes hold: two faults of one place are the same, and the later one changes how strong it is."""
        ends = (self.cluster, self.peer) if self.one_way else tuple(sorted((self.cluster, self.peer)))
        return self.kind, self.one_way, ends

    @property
    def clusters(self) -> tuple[str, ...]:
        """The clusters that it concerns."""
        return tuple(filter(None, (self.cluster, self.peer)))

    def directions(self) -> tuple[tuple[str, str], ...]:
        """The directions of the mesh that it cuts: who sees whom no more."""
        if self.kind is not FaultKind.CUT_LINK:
            return ()
        there = (self.cluster, self.peer)
        return (there,) if self.one_way else (there, there[::-1])

    def text(self) -> str:
        """Say what is broken."""
        cluster, delay = self.cluster, f"{self.delay_seconds:g} s"
        match self.kind:
            case FaultKind.CUT_LINK:
                return f"{cluster} {'sees no more of' if self.one_way else 'and'} {self.peer}" + (
                    "" if self.one_way else " are cut off from each other"
                )
            case FaultKind.CUT_HUB:
                return f"{cluster} is cut off from the hub"
            case FaultKind.KILL_AGENT:
                return f"the agent of {cluster} is down"
            case FaultKind.KILL_API_SERVER:
                return f"the API server of {cluster} is down"
            case FaultKind.SLOW_API_SERVER:
                return f"the API server of {cluster} answers {delay} late"
            case FaultKind.SLOW_HUB:
                return f"the way between {cluster} and the hub takes {delay} longer"

    def wire(self) -> dict[str, Any]:
        """Give the fault as JSON has it."""
        ends = {"peer": self.peer, "oneWay": self.one_way} if self.peer else {}
        delay = {"delaySeconds": self.delay_seconds} if self.delay_seconds else {}
        return {"kind": str(self.kind), "cluster": self.cluster, **ends, **delay}


@dataclass(frozen=True)
class Standing:
    """A fault that stands, and since when."""

    fault: Fault
    since: datetime


def delay_of(kind: FaultKind, cluster: str, standing: Iterable[Standing]) -> float:
    """Give the delay that stands at a place, 0 if none does."""
    return max((each.fault.delay_seconds for each in standing if _is(each.fault, kind, cluster)), default=0.0)


def stands(kind: FaultKind, cluster: str, standing: Iterable[Standing]) -> bool:
    """Tell whether a fault of this kind stands at a cluster."""
    return any(_is(each.fault, kind, cluster) for each in standing)


def cut_directions(standing: Iterable[Standing]) -> frozenset[tuple[str, str]]:
    """Give every direction of the mesh that is cut."""
    return frozenset(direction for each in standing for direction in each.fault.directions())


def _is(fault: Fault, kind: FaultKind, cluster: str) -> bool:
    return fault.kind is kind and fault.cluster == cluster
