"""Departures: a Cluster or Gateway that is deleted leaves in order, and goes when nothing of its membership is left.

Owns the end of their finalizer, the farewell order, and the condition Leaving. Whoever deletes the object starts it,
by `atoll cluster leave`, kubectl or Git; annotations say how. What is decided stands in departure_plan.py.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import structlog

from atoll.federation.bus.farewell import FAREWELL, FAREWELL_KEY, FarewellOrder, FarewellReport
from atoll.federation.bus.messages import RunOrder
from atoll.federation.bus.subjects import MemberKind
from atoll.federation.holdings import fed_by, holdings, of_fed
from atoll.federation.resources import FINISHED_RUN_PHASES, Cluster, Dataset, Gateway, Run, Stream
from atoll.hub.admission import MEMBERSHIP_FINALIZER
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.departure_plan import (
    FORCE_ANNOTATION,
    LEAVING,
    Departure,
    Step,
    plan_departure,
    warnings_of,
)
from atoll.hub.controllers.gateways import with_streams
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source, own_key
from atoll.hub.members import STORE_MARK, Path

log = structlog.get_logger(__name__)

SendAway = Callable[[MemberKind, str], Awaitable[bool]]
M = TypeVar("M", Cluster, Gateway)
_ORDERED = ("run", "policyset", "service")


class _Departing:
    """What both kinds need to leave."""

    def __init__(self, context: Context, send_away: SendAway | None) -> None:
        """Without `send_away` NATS knows no members: whoever reaches it is one."""
        self._context, self._send_away = context, send_away

    async def _release(self, member: M, kind: MemberKind) -> None:
        """Send the member away, and let its object go."""
        if self._send_away is not None:
            await self._send_away(kind, member.metadata.name)
        others = tuple(each for each in member.metadata.finalizers if each != MEMBERSHIP_FINALIZER)
        metadata = member.metadata.model_copy(update={"finalizers": others})
        await self._context.client.update(member.model_copy(update={"metadata": metadata}))
        log.info("a member has left", kind=kind, member=member.metadata.name)

    async def _purge(self, kind: MemberKind, name: str) -> None:
        """Forget what a member was told and has told; only once it is none, or it would tell it again."""
        context = self._context
        # The mark stays: without it an agent that was away would take the store for another one, and keep all orders.
        for path in context.desired.of_member(kind, name):
            if path.rest != STORE_MARK:
                await context.desired.remove(path)
        for path in context.observed.of_member(kind, name):
            await context.observed.remove(path)


class GatewayDepartureController(_Departing):
    """Lets gateways go that no Stream names. Readings that wait in a gateway's log outlive it: see lab_logs.py."""

    name = "gateway-departures"

    def sources(self) -> Sequence[Source]:
        """Watch gateways, and the streams that name them."""
        return with_streams(self._context)

    async def reconcile(self, key: Key) -> Outcome:
        """Send one gateway away once it is deleted; while streams name it, only by force, as a claim that pods use."""
        gateway = await self._context.client.get(Gateway, None, key[1])
        if gateway is not None and _is_leaving(gateway):
            names = fed_by(key[1], await self._context.client.list(Stream, all_or_none=True))
            if names and gateway.metadata.annotations.get(FORCE_ANNOTATION) != "true":
                await self._hold(gateway, names)
                return DONE
            await self._release(gateway, "gateway")
        if gateway is None or _is_leaving(gateway):
            await self._purge("gateway", key[1])
        return DONE

    async def _hold(self, gateway: Gateway, names: tuple[str, ...]) -> None:
        """Say what a deleted gateway waits for; it works on meanwhile."""
        message = (
            f"{of_fed(gateway.metadata.name, names)}: delete them or set their spec.gateway to another one, or run "
            f"'atoll gateway leave {gateway.metadata.name} --force'"
        )
        context = self._context
        conditions = with_condition(
            gateway.status.conditions, LEAVING, False, reason="InUse", message=message, now=context.clock()
        )
        if conditions != gateway.status.conditions:
            status = gateway.status.model_copy(update={"conditions": conditions})
            await context.client.update_status(gateway.model_copy(update={"status": status}))
            await context.events.record(gateway, "InUse", message, is_warning=True)


class ClusterDepartureController(_Departing):
    """Lets clusters go: their runs end, their orders are undone, the rest is cleared, then they are sent away."""

    name = "cluster-departures"

    def sources(self) -> Sequence[Source]:
        """Watch clusters, their runs and orders, and what a leaving one reports."""
        context = self._context
        return (
            Objects(context.client, Cluster, own_key),
            Objects(context.client, Run, self._cluster_of, skips_ended=True),
            Messages(context.desired, self._order_key),
            Messages(context.observed, self._report_key),
        )

    async def _cluster_of(self, run: Run) -> Iterable[Key]:
        return await self._if_on_its_way(run.spec.cluster)

    async def _order_key(self, path: Path) -> Iterable[Key]:
        is_order = path.kind == "cluster" and path.rest != STORE_MARK
        return await self._if_on_its_way(path.member) if is_order else []

    async def _report_key(self, path: Path) -> Iterable[Key]:
        is_farewell = path.kind == "cluster" and path.topic == FAREWELL
        return await self._if_on_its_way(path.member) if is_farewell else []

    async def _if_on_its_way(self, name: str) -> Iterable[Key]:
        """Give the key of a cluster that goes or is gone; of one that stays, nothing that happens there matters."""
        cluster = await self._context.client.get(Cluster, None, name)
        return [("", name)] if cluster is None or _is_leaving(cluster) else []

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one deleted cluster a step closer to its end."""
        context = self._context
        cluster = await context.client.get(Cluster, None, key[1])
        if cluster is None:
            await self._purge("cluster", key[1])
            return DONE
        if not _is_leaving(cluster):
            return DONE
        departure = await self._departure(cluster)
        if not any(each.type == LEAVING for each in cluster.status.conditions):
            for reason, message in warnings_of(departure):
                await context.events.record(cluster, reason, message, is_warning=True)
        return await self._take(cluster, plan_departure(departure, context.clock()))

    async def _departure(self, cluster: Cluster) -> Departure:
        context, name = self._context, cluster.metadata.name
        path = _farewell(name)
        unfinished = await context.client.list_unfinished(Run, FINISHED_RUN_PHASES, all_or_none=True)
        runs = [run for run in unfinished if run.spec.cluster == name]
        streams = await context.client.list(Stream, all_or_none=True)
        datasets = await context.client.list(Dataset, all_or_none=True)
        reported = [p for p in context.observed.of_member("cluster", name) if p.topic in _ORDERED]
        return Departure(
            cluster=cluster,
            runs=tuple(runs),
            leased=tuple(f"{run.metadata.namespace}/{run.metadata.name}" for run in runs if self._is_leased(run)),
            holdings=holdings(name, streams, datasets),
            orders=tuple(p.rest for p in context.desired.of_member("cluster", name) if p.topic in _ORDERED),
            reported=tuple(p.rest for p in reported),
            order=context.desired.read(FarewellOrder, path),
            report=context.observed.read(FarewellReport, path),
        )

    def _is_leased(self, run: Run) -> bool:
        """Tell whether a run may be running under a lease, and its job be placed again."""
        rest = f"run/{run.metadata.namespace}/{run.metadata.name}"
        order = self._context.desired.read(RunOrder, Path("cluster", run.spec.cluster, rest))
        is_going = run.status.phase != "Committing" and not run.spec.cancelled
        return is_going and order is not None and order.lease_seconds is not None

    async def _take(self, cluster: Cluster, step: Step) -> Outcome:
        """Carry out one step; what it waits for wakes the key, or its time does."""
        context, name = self._context, cluster.metadata.name
        if step.spec is not None:
            cluster = await context.client.update(cluster.model_copy(update={"spec": step.spec}))
        for rest in step.withdraw:
            await context.desired.remove(Path("cluster", name, rest))
        if step.order is not None:
            await context.desired.put(_farewell(name), step.order)
        if step.is_last:
            await self._end(cluster, step)
            return DONE
        await self._say(cluster, step)
        return RequeueAfter(step.again_seconds) if step.again_seconds is not None else DONE

    async def _say(self, cluster: Cluster, step: Step) -> None:
        now = self._context.clock()
        conditions = with_condition(
            cluster.status.conditions, LEAVING, True, reason=step.reason, message=step.message, now=now
        )
        status = cluster.status.model_copy(update={"conditions": conditions})
        await self._context.client.update_status(cluster.model_copy(update={"status": status}))

    async def _end(self, cluster: Cluster, step: Step) -> None:
        """Tell what stays, then let go. Runs that were given up end as ClusterGone (fence.py)."""
        context = self._context
        for left in step.kept:
            await context.events.record(cluster, "Kept", f"{left.what}: {left.why}", is_warning=True)
        await context.events.record(cluster, "Left", step.message)
        await self._release(cluster, "cluster")
        await self._purge("cluster", cluster.metadata.name)


def _is_leaving(member: Cluster | Gateway) -> bool:
    return member.metadata.deletion_timestamp is not None and MEMBERSHIP_FINALIZER in member.metadata.finalizers


def _farewell(cluster: str) -> Path:
    return Path("cluster", cluster, f"{FAREWELL}/{FAREWELL_KEY}")
