"""When work that was left behind in a silent cluster cannot be running any more: the hub's half of G1. Pure.

The agent stops a run when its lease ends, and counts that from when it had *sent* its newest stored heartbeat; the hub
counts from when it *heard* that heartbeat, which was later. Each uses a clock of its own, so all that has to hold is
that their rates agree (docs/adr/0021).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from atoll.federation.bus.messages import RunOrder
from atoll.federation.resources import Cluster
from atoll.federation.resources.run import CLUSTER_GONE, DISPLACED, DRAINED, LOST, PREEMPTED, Run
from atoll.hub.controllers.loss_rules import FencePolicy
from atoll.hub.controllers.run_scope import RunScope

# Kubernetes gives a pod this long to end by itself unless it says otherwise (core/v1 PodSpec).
_DEFAULT_GRACE_SECONDS = 30
# Before these nothing was ordered.
_NOT_ORDERED_YET = frozenset({"Pending", "Staging"})


@dataclass(frozen=True)
class Displacement:
    """What the silence or the drain of its cluster, or a job that goes before it, means for a run.

    Attributes:
        reason: Lost, Drained, ClusterGone or Preempted; empty: nothing.
        message: why, for people.
        stops: its order is taken back.
        is_over: nothing of it can be running.
        again_seconds: when to look again if nothing is heard.
    """

    reason: str = ""
    message: str = ""
    stops: bool = False
    is_over: bool = False
    again_seconds: float | None = None


STAYS = Displacement()


def displacement(scope: RunScope) -> Displacement:
    """Decide whether a run that is not over, and not cancelled by its user, may stay where it is."""
    timeout_seconds = scope.rules.timeout_seconds
    if scope.order is None:
        return _gone(scope) if scope.cluster is None else _before_order(scope, scope.cluster, timeout_seconds)
    if scope.order.lease_seconds is not None and scope.silence_seconds is not None:
        lost = _fenced(scope.order, scope.silence_seconds, scope.rules.fence, scope.run.spec.cluster)
        if lost.reason:
            return lost
    elif scope.job.spec.loss_policy == "Duplicate" and _is_silent(scope, timeout_seconds):
        return Displacement(LOST, f"cluster {scope.run.spec.cluster} is not heard any more")
    again_seconds = _next_look(scope, timeout_seconds)
    if scope.run.spec.preempted is not None:
        return Displacement(PREEMPTED, scope.run.spec.preempted.message, stops=True, again_seconds=again_seconds)
    if scope.order.cancelled:  # it was heard again, or is no longer drained: what was taken back stays so
        reason, message = standing_reason(scope.run)
        return Displacement(reason, message, stops=True, again_seconds=again_seconds)
    drained = _drained(scope)
    return replace(drained, again_seconds=again_seconds)


def _gone(scope: RunScope) -> Displacement:
    """The orders went with the cluster: that it left is its operator's word, but Failover takes nobody's word for it.

    A cluster that leaves waits for this fence itself (departure_plan.py). Whoever takes the object's finalizer away
    by hand does not, and the order with its lease is gone: the lease is then the one that is given today.
    """
    message = f"cluster {scope.run.spec.cluster} is no longer part of the federation"
    if scope.job.spec.loss_policy != "Failover" or scope.run.status.phase in _NOT_ORDERED_YET:
        return Displacement(CLUSTER_GONE, message, is_over=True)
    policy, silence = scope.rules.fence, scope.silence_seconds or 0.0
    fence = policy.fence_seconds(policy.lease_seconds, _longest_grace([{"spec": scope.job.spec.workload.spec}]))
    if silence >= fence:
        return Displacement(CLUSTER_GONE, message, is_over=True)
    waits = f"{message}; the work goes elsewhere when nothing was heard of it there for {fence:g} s"
    return Displacement(CLUSTER_GONE, waits, again_seconds=max(0.1, fence - silence))


def _before_order(scope: RunScope, cluster: Cluster, timeout_seconds: float) -> Displacement:
    """What was never ordered runs nowhere: it goes elsewhere at once."""
    name = scope.run.spec.cluster
    if scope.run.spec.preempted is not None:
        return Displacement(PREEMPTED, f"{scope.run.spec.preempted.message}; nothing had begun", is_over=True)
    if cluster.spec.draining:
        return Displacement(DRAINED, f"cluster {name} is drained; nothing had begun", is_over=True)
    if scope.job.spec.loss_policy != "Wait" and _is_silent(scope, timeout_seconds):
        return Displacement(LOST, f"cluster {name} is not heard any more; nothing had begun", is_over=True)
    return Displacement(again_seconds=_next_look(scope, timeout_seconds))


def _fenced(order: RunOrder, silence: float, policy: FencePolicy, cluster: str) -> Displacement:
    """Take the order back when the lease should have ended; only then wait until it must have.

    In this order, since an agent that comes back reads its orders again before it begins anything: what it can read
    while the hub waits is an order that is taken back.
    """
    lease = order.lease_seconds or 0.0
    fence = policy.fence_seconds(lease, grace_seconds(order))
    if silence < lease:
        return STAYS
    message = f"cluster {cluster} is not heard any more"
    if order.cancelled and silence >= fence:
        return Displacement(LOST, message, is_over=True)
    waits = f"{message}; the work goes elsewhere when it must have ended there, {fence:g} s after the last heartbeat"
    return Displacement(LOST, waits, stops=True, again_seconds=max(0.0, fence - silence))


def grace_seconds(order: RunOrder) -> float:
    """Give how long the pods of an order may take to end when they are told to."""
    return _longest_grace(order.manifests)


def _longest_grace(manifests: Iterable[Mapping[str, Any]]) -> float:
    return max((float(value) for value in _graces(manifests)), default=_DEFAULT_GRACE_SECONDS)


def _graces(manifests: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
    for manifest in manifests:
        pod = ((manifest.get("spec") or {}).get("template") or {}).get("spec")
        if pod is not None:
            given = pod.get("terminationGracePeriodSeconds")
            yield _DEFAULT_GRACE_SECONDS if given is None else given


def _drained(scope: RunScope) -> Displacement:
    cluster, policy = scope.cluster, scope.job.spec.loss_policy
    if cluster is None or not cluster.spec.draining or (policy == "Wait" and cluster.spec.evict != "All"):
        return STAYS
    message = f"cluster {cluster.metadata.name} is drained"
    return Displacement(DRAINED, message, stops=policy != "Duplicate")


def standing_reason(run: Run) -> tuple[str, str]:
    """Give why a run has to go, and the sentence about it, as its status says."""
    standing = next((condition for condition in run.status.conditions if condition.type == DISPLACED), None)
    if standing is not None and standing.status == "True":
        return standing.reason, standing.message
    return (PREEMPTED, run.spec.preempted.message) if run.spec.preempted is not None else (LOST, "")


def _is_silent(scope: RunScope, timeout_seconds: float) -> bool:
    return scope.silence_seconds is not None and scope.silence_seconds >= timeout_seconds


def _next_look(scope: RunScope, timeout_seconds: float) -> float | None:
    """Give when a silence that lasts begins to mean something."""
    if scope.silence_seconds is None:
        return None
    lease = scope.order.lease_seconds if scope.order is not None else None
    return max(0.1, (lease or timeout_seconds) - scope.silence_seconds)
