"""Known mistakes, planted one at a time: each must be found, or the twin sees nothing.

Each replaces one decision of the real code by the mistake that it was written against.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.recent import RecentPackets
from atoll.edge.member import policy_objects
from atoll.edge.member.lease import Lease
from atoll.edge.sink import volume
from atoll.edge.sink.shelf import Shelf
from atoll.federation.bus import table
from atoll.federation.resources.run import LOST
from atoll.hub.controllers import fence, run_plan
from atoll.hub.controllers.fence import STAYS, Displacement
from twin.nats_server import Server
from twin.programs import TIMEOUT_SECONDS


@dataclass(frozen=True)
class Bug:
    """A mistake: what is replaced by what, which guarantee it breaks, and a seed of a kind whose history
    shows that."""

    breaks: str
    place: Any
    name: str
    mistake: Any
    seed: int
    kind: str = "federation"

    @contextlib.contextmanager
    def planted(self) -> Iterator[None]:
        """Make it for the time of a block."""
        right = getattr(self.place, self.name)
        setattr(self.place, self.name, self.mistake)
        try:
            yield
        finally:
            setattr(self.place, self.name, right)


def _no_fence(_order: Any, silence: float, _policy: Any, cluster: str) -> Displacement:
    """A cluster that is not heard counts as stopped."""
    if silence < TIMEOUT_SECONDS:
        return replace(STAYS, again_seconds=1.0)
    return Displacement(LOST, f"cluster {cluster} is not heard any more", is_over=True)


def _endless(_self: Lease, seconds: float) -> float:
    return seconds


def _no_guard(_write: Any) -> dict[str, str]:
    return {}


def _anybodys(_obj: Any, _manager: str) -> bool:
    return True


_right_order = run_plan.RunOrder


def _leased(**fields: Any) -> Any:
    """Every run has a lease, whatever its job says of losses."""
    return _right_order(**{**fields, "lease_seconds": fields.get("lease_seconds") or 20.0})


async def _hasty(self: Intake, source: Any) -> None:
    """Readings are acknowledged when they have come."""
    while True:
        batch = await self._next(source)
        source.acknowledge(batch.messages)
        await self._store(self._packer.pack(batch.messages, now=time.monotonic()))


def _never_seen(_self: RecentPackets, _packet: Any) -> bool:
    return False


def _all_taken(self: Shelf, gateway: str, stream: str) -> Any:
    """What is held back for a segment counts as if it were in a file."""
    return self.progress(gateway, stream)


def _unsynced(_folder: Any) -> None:
    """A name is there as soon as it can be seen."""


BUGS = {
    "the hub does not wait for the fence": Bug("G1", fence, "_fenced", _no_fence, 298),
    "the agent's lease never ends": Bug("G1", Lease, "remaining", _endless, 346),
    "writes carry no guard": Bug("G2", table, "_guard", _no_guard, 125),
    "work that should wait is stopped when the hub is not heard": Bug("G2", run_plan, "RunOrder", _leased, 117),
    "what is others' is pruned": Bug("G4", policy_objects, "was_applied_by", _anybodys, 5),
    "NATS acknowledges before it syncs": Bug("G5", Server, "syncs_late_seconds", 2.0, 10),
    "the gateway acknowledges before it stores": Bug("G3", Intake, "run", _hasty, 62, "readings"),
    "the gateway does not know again what it was sent": Bug("G3", RecentPackets, "has", _never_seen, 7, "readings"),
    "the sink says of what it holds back that it is in files": Bug(
        "promise", Shelf, "committed", _all_taken, 14, "readings"
    ),
    "the sink does not sync the name of its ledger": Bug("promise", volume, "sync_folder", _unsynced, 2, "readings"),
}
