"""Known mistakes, planted one at a time: each must be found, or the twin sees nothing.

Each replaces one decision of the real code by the mistake that it was written against.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from atoll.edge.member import policy_objects
from atoll.edge.member.lease import Lease
from atoll.federation.bus import table
from atoll.federation.resources.run import LOST
from atoll.hub.controllers import fence, run_plan
from atoll.hub.controllers.fence import STAYS, Displacement
from twin.nats_server import Server
from twin.programs import TIMEOUT_SECONDS


@dataclass(frozen=True)
class Bug:
    """A mistake: what is replaced by what, which guarantee it breaks, and a seed whose history shows that."""

    breaks: str
    place: Any
    name: str
    mistake: Any
    seed: int

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


BUGS = {
    "the hub does not wait for the fence": Bug("G1", fence, "_fenced", _no_fence, 298),
    "the agent's lease never ends": Bug("G1", Lease, "remaining", _endless, 346),
    "writes carry no guard": Bug("G1", table, "_guard", _no_guard, 163),
    "work that should wait is stopped when the hub is not heard": Bug("G2", run_plan, "RunOrder", _leased, 117),
    "what is others' is pruned": Bug("G4", policy_objects, "was_applied_by", _anybodys, 5),
    "NATS acknowledges before it syncs": Bug("G5", Server, "syncs_late_seconds", 2.0, 10),
}
