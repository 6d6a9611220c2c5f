"""The fence that a workload carries itself: a Job deadline that ends with the lease, which Kubernetes keeps. Pure.

If the agent dies, nobody prolongs `activeDeadlineSeconds`, and the Job controller kills the pods (batch/v1 Job,
"Job termination and cleanup"). The field counts from `status.startTime`; the agent counts from when it first saw that
start, which was later, so a deadline is always early and no clocks are compared (docs/adr/0021).
"""

import math
from dataclasses import dataclass, replace

from atoll.edge.member.run_status import RunState
from atoll.federation.bus.messages import RunOrder
from atoll.federation.resources.run import LEASE_ENDED

# What a prolongation must gain, as a part of the lease: each is a write. Larger, and a slow one comes too late.
_LEAST_GAIN = 1 / 6


@dataclass(frozen=True)
class Start:
    """A start of a Job as its status names it, and when the agent first saw it, on the lease's clock."""

    named: str
    seen_at: float


def own_limit(order: RunOrder) -> int | None:
    """Give the deadline that the job's author set."""
    limits = [
        (manifest.get("spec") or {}).get("activeDeadlineSeconds")
        for manifest in order.manifests
        if (manifest.get("apiVersion"), manifest.get("kind")) == ("batch/v1", "Job")
    ]
    return next((int(limit) for limit in limits if limit is not None), None)


def deadline(order: RunOrder, remaining: float, *, start: Start | None, now: float) -> int:
    """Give the deadline that ends no later than the lease, and not later than the author's own."""
    passed = now - start.seen_at if start is not None else 0.0
    fence, limit = max(1, math.floor(passed + remaining)), own_limit(order)
    return fence if limit is None else min(fence, limit)


def is_worth_writing(wanted: int, standing: int | None, *, lease_seconds: float) -> bool:
    """Tell whether a deadline should be prolonged now; it is never shortened, since the lease that it kept was held."""
    return standing is None or wanted - standing >= max(1.0, lease_seconds * _LEAST_GAIN)


def told_apart(order: RunOrder, state: RunState) -> RunState:
    """Name a kill by the fence as such: the Job controller says DeadlineExceeded of either limit."""
    is_own = state.deadline_seconds == own_limit(order)
    if order.lease_seconds is None or state.reason != "DeadlineExceeded" or is_own:
        return state
    message = "its lease was not prolonged in time, so that the cluster itself ended it"
    return replace(state, reason=LEASE_ENDED, message=message)
