"""Clusters: what agents reported becomes Cluster.status, with its age.

Owns the writing of Cluster.status and the events of its phases. The phase is looked at again when its evidence is too
old or the schedule changes, not only when something is heard.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from atoll.federation.bus.inventory_messages import EventsReport, NetworkReport
from atoll.federation.bus.mesh_messages import MeshServicesReport
from atoll.federation.bus.messages import Heartbeat, MeshReport
from atoll.federation.resources import Cluster
from atoll.hub.controllers.cluster_phase import Evidence, Judgement, judge
from atoll.hub.controllers.cluster_status import Write, pace, plan_status, seconds_until_room
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.mesh_services import news_of, turned_services
from atoll.hub.controllers.meshes import MeshEvidence
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source, own_key
from atoll.hub.members import Path, proven_at
from atoll.hub.reports import Reports, newest_warnings

# A machine that was suspended, or whose clock was set, is late by no more than this for a change of a schedule.
_LONGEST_WAIT_SECONDS = 600.0
_WARNINGS = frozenset({"Degraded", "Unreachable"})


class ClusterController:
    """Keeps Cluster.status."""

    name = "clusters"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._links = Reports(context.observed, MeshReport, "mesh")
        self._networks = Reports(context.observed, NetworkReport, "inventory/network")
        self._services = Reports(context.observed, MeshServicesReport, "mesh/services")
        self._events = Reports(context.observed, EventsReport, "events")
        self._room_told_at: dict[str, datetime] = {}

    def sources(self) -> Sequence[Source]:
        """Watch clusters and what their agents report of themselves."""
        context = self._context
        return (Objects(context.client, Cluster, own_key), Messages(context.observed, _report_key))

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one Cluster's status up to date; what is left of one that is gone is its departure's to clear."""
        context, name = self._context, key[1]
        cluster = await context.client.get(Cluster, None, name)
        if cluster is None:
            self._room_told_at.pop(name, None)
            return DONE
        now, timeout = context.clock(), context.heartbeat_timeout_seconds
        evidence = self._evidence(cluster, now)
        judgement = judge(evidence, now, timeout_seconds=timeout, schedule=cluster.spec.schedule)
        status = plan_status(
            cluster.status, evidence, judgement=judgement, now=now, generation=cluster.metadata.generation
        )
        room_in = seconds_until_room(self._room_told_at.get(name), now)
        write = pace(cluster.status, status, room_in_seconds=room_in, timeout_seconds=timeout)
        await self._write(cluster, write, judgement, now=now)
        return _again(judgement, write)

    async def _write(self, cluster: Cluster, write: Write, judgement: Judgement, *, now: datetime) -> None:
        """Store a status, and tell of a new phase."""
        if write.status == cluster.status:
            return
        written = cluster.model_copy(update={"status": write.status})
        await self._context.client.update_status(written)
        await self._tell_of_services(cluster, written, now)
        if write.tells_room:
            self._room_told_at[cluster.metadata.name] = now
        if write.status.phase != cluster.status.phase:
            await self._context.events.record(
                cluster, f"Cluster{judgement.phase}", judgement.message, is_warning=judgement.phase in _WARNINGS
            )

    async def _tell_of_services(self, before: Cluster, after: Cluster, now: datetime) -> None:
        """Tell who serves what this cluster does not serve any more, or serves again."""
        turned = turned_services(before.status.mesh, after.status.mesh)
        if not turned:
            return
        name, others = after.metadata.name, await self._context.client.list(Cluster)
        for news in news_of(turned, [after, *(each for each in others if each.metadata.name != name)], now=now):
            await self._context.events.record(after, news.reason, news.message, is_warning=news.is_warning)

    def _evidence(self, cluster: Cluster, now: datetime) -> Evidence:
        observed, name = self._context.observed, cluster.metadata.name
        path = Path("cluster", name, "heartbeat")
        heartbeat, held = observed.read(Heartbeat, path), observed.held(path)
        report, events = self._context.inventories.digest(name), self._events.of(name)
        known = report.inventory if report is not None else cluster.status.inventory
        return Evidence(
            heartbeat,
            report,
            self._mesh_evidence(name, now),
            proven_at(held, heartbeat.at if heartbeat is not None else None, now) or cluster.status.last_proven_at,
            held.received_at if held is not None else None,
            known.form if known is not None else "Cluster",
            newest_warnings(events) if events is not None else None,
        )

    def _mesh_evidence(self, name: str, now: datetime) -> MeshEvidence:
        report, held = self._links.of(name), self._context.observed.held(Path("cluster", name, "mesh"))
        seen_at = proven_at(held, report.at if report is not None else None, now)
        return MeshEvidence(report, seen_at, self._networks.of(name), self._services.of(name))


async def _report_key(path: Path) -> Iterable[Key]:
    is_ours = path.kind == "cluster" and path.topic in ("heartbeat", "inventory", "mesh", "events")
    return [("", path.member)] if is_ours else []


def _again(judgement: Judgement, write: Write) -> Outcome:
    """Come back when the judgement or what was held back is due."""
    due = [seconds for seconds in (judgement.again_in_seconds, write.rest_in_seconds) if seconds is not None]
    return RequeueAfter(min(*due, _LONGEST_WAIT_SECONDS)) if due else DONE
