"""Clusters: what agents reported becomes Cluster.status, with its age.

Owns phase, lostSince and conditions of a Cluster. Nothing is called Ready on evidence older than the heartbeat
time-out, and the phase is looked at again when that time is over, not only when something is heard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from atoll.federation.bus.inventory_messages import NetworkReport
from atoll.federation.bus.mesh_messages import MeshServicesReport
from atoll.federation.bus.messages import Heartbeat, InventoryReport, MeshReport
from atoll.federation.resources import Cluster, ClusterStatus
from atoll.federation.resources.cluster import ClusterPhase
from atoll.hub.conditions import with_condition
from atoll.hub.controllers import meshes
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.meshes import MeshEvidence
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source, own_key
from atoll.hub.members import STORE_MARK, Path, proven_at

# `lastProvenAt` is written this much apart at most: each write is an fsync and wakes every watcher, and the phase is
# decided from the report itself, not from what was written.
_PROOF_STEP = timedelta(seconds=5)


@dataclass(frozen=True)
class Evidence:
    """The newest reports of one cluster, the instant that its heartbeat proves, and when that was heard live."""

    heartbeat: Heartbeat | None = None
    inventory: InventoryReport | None = None
    mesh: MeshEvidence | None = None
    proven_at: datetime | None = None
    received_at: datetime | None = None


@dataclass(frozen=True)
class Judgement:
    """A cluster's phase with its reason, and when it must be judged again if nothing is heard."""

    phase: ClusterPhase
    reason: str
    message: str
    stale_in_seconds: float | None = None


def judge(evidence: Evidence, now: datetime, *, timeout_seconds: float) -> Judgement:
    """Decide a cluster's phase from what is known and how old it is."""
    beat = evidence.heartbeat
    if beat is None or evidence.proven_at is None:
        return Judgement("Pending", "NotJoined", "no agent of this cluster has been heard yet")
    left = timeout_seconds - (now - evidence.proven_at).total_seconds()
    if left <= 0:
        return _stale(evidence, now, timeout_seconds)
    if not beat.api_reachable:
        message = beat.message or "the agent cannot read the cluster's API server"
        return Judgement("Degraded", "ApiUnreachable", message, left)
    if evidence.inventory is None:
        return Judgement("Pending", "NoInventory", "the agent has not reported the cluster's nodes yet", left)
    inventory = evidence.inventory.inventory
    if inventory.nodes_ready == 0:
        return Judgement("Degraded", "NoNodeReady", f"none of {inventory.nodes} nodes is ready", left)
    return Judgement("Ready", "Proven", f"{inventory.nodes_ready} of {inventory.nodes} nodes are ready", left)


def _stale(evidence: Evidence, now: datetime, timeout_seconds: float) -> Judgement:
    """Tell a silent agent from one whose clock is behind: that one is heard, and dates nothing that can be believed."""
    heard = evidence.received_at
    left = timeout_seconds - (now - heard).total_seconds() if heard is not None else 0.0
    if heard is None or evidence.proven_at is None or left <= 0:
        return Judgement("Unreachable", "HeartbeatStale", f"nothing was heard for more than {timeout_seconds:g} s")
    behind = (heard - evidence.proven_at).total_seconds()
    message = f"heartbeats arrive dated {behind:.0f} s ago: set the clock of the agent's machine"
    return Judgement("Degraded", "ClockBehind", message, left)


def plan_status(
    old: ClusterStatus, evidence: Evidence, *, judgement: Judgement, now: datetime, generation: int | None
) -> ClusterStatus:
    """Give the status that a judgement and its evidence make."""
    is_lost = judgement.phase == "Unreachable"
    claim = {"Ready": True, "Pending": None}.get(judgement.phase, False)
    conditions = with_condition(
        old.conditions, "Ready", claim, reason=judgement.reason, message=judgement.message, now=now
    )
    mesh = evidence.mesh or MeshEvidence()
    return old.model_copy(
        update={
            "phase": judgement.phase,
            "inventory": evidence.inventory.inventory if evidence.inventory is not None else old.inventory,
            "links": meshes.links_of(mesh),
            "mesh": meshes.facts_of(mesh),
            "conditions": meshes.with_mesh_condition(conditions, mesh, now, is_lost=is_lost),
            "last_proven_at": _stepped(old.last_proven_at, evidence.proven_at),
            "lost_since": (old.lost_since or evidence.proven_at) if is_lost else None,
            "agent_version": evidence.heartbeat.agent_version if evidence.heartbeat is not None else "",
            "observed_generation": generation,
        }
    )


def _stepped(old: datetime | None, new: datetime | None) -> datetime | None:
    """Keep the written instant while the new one is only little newer."""
    if old is not None and new is not None and timedelta() <= new - old < _PROOF_STEP:
        return old
    return new or old


class ClusterController:
    """Keeps Cluster.status."""

    name = "clusters"

    def __init__(self, context: Context) -> None:
        self._context = context

    def sources(self) -> Sequence[Source]:
        """Watch clusters and what their agents report of themselves."""
        context = self._context
        return (Objects(context.client, Cluster, own_key), Messages(context.observed, _report_key))

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one Cluster's status up to date, or take back all orders of one that was deleted."""
        context, name = self._context, key[1]
        cluster = await context.client.get(Cluster, None, name)
        if cluster is None:
            return await self._forget(name)
        now = context.clock()
        evidence = self._evidence(cluster, now)
        judgement = judge(evidence, now, timeout_seconds=context.heartbeat_timeout_seconds)
        status = plan_status(
            cluster.status, evidence, judgement=judgement, now=now, generation=cluster.metadata.generation
        )
        await context.client.update_status(cluster.model_copy(update={"status": status}))
        if status.phase != cluster.status.phase:
            await context.events.record(
                cluster,
                f"Cluster{status.phase}",
                judgement.message,
                is_warning=status.phase in ("Degraded", "Unreachable"),
            )
        return RequeueAfter(judgement.stale_in_seconds) if judgement.stale_in_seconds is not None else DONE

    def _evidence(self, cluster: Cluster, now: datetime) -> Evidence:
        observed, name = self._context.observed, cluster.metadata.name
        path = Path("cluster", name, "heartbeat")
        heartbeat, held = observed.read(Heartbeat, path), observed.held(path)
        proven = proven_at(held, heartbeat.at if heartbeat is not None else None, now)
        return Evidence(
            heartbeat,
            observed.read(InventoryReport, Path("cluster", name, "inventory")),
            self._mesh_evidence(name, now),
            proven or cluster.status.last_proven_at,
            held.received_at if held is not None else None,
        )

    def _mesh_evidence(self, name: str, now: datetime) -> MeshEvidence:
        observed, path = self._context.observed, Path("cluster", name, "mesh")
        report = observed.read(MeshReport, path)
        return MeshEvidence(
            report,
            proven_at(observed.held(path), report.at if report is not None else None, now),
            observed.read(NetworkReport, Path("cluster", name, "inventory/network")),
            observed.read(MeshServicesReport, Path("cluster", name, "mesh/services")),
        )

    async def _forget(self, name: str) -> Outcome:
        # The mark stays: without it an agent that was away would take the store for another one, and keep all orders.
        for path in list(self._context.desired.of_member("cluster", name)):
            if path.rest != STORE_MARK:
                await self._context.desired.remove(path)
        return DONE


async def _report_key(path: Path) -> Iterable[Key]:
    is_ours = path.kind == "cluster" and path.topic in ("heartbeat", "inventory", "mesh")
    return [("", path.member)] if is_ours else []
