"""Composition root of the member agent: starts every part of it. How the parts are put together is wiring's."""

import asyncio
import gc
from collections.abc import Iterable
from functools import partial

import structlog

from atoll.edge.enrolment import Enrolled
from atoll.edge.member.commands import Commands
from atoll.edge.member.desired import POLICYSETS, RUNS, SERVICES
from atoll.edge.member.farewell import FarewellController, standing
from atoll.edge.member.kube import Kube
from atoll.edge.member.logs import Logs
from atoll.edge.member.pulse import Pulse
from atoll.edge.member.runs import recall
from atoll.edge.member.settings import MemberSettings
from atoll.edge.member.shelf import lock
from atoll.edge.member.uplink import Calls, Uplink
from atoll.edge.member.usage import UsageNow
from atoll.edge.member.wiring.parts import Parts, now
from atoll.edge.member.wiring.policies import keep_policies
from atoll.edge.member.wiring.runs import keep_runs
from atoll.edge.member.wiring.services import keep_services
from atoll.edge.member.work import Worker
from atoll.federation.bus.farewell import FAREWELL

log = structlog.get_logger(__name__)


async def run(settings: MemberSettings) -> None:
    """Run the agent until cancelled.

    Raises:
        InvalidInput: the kubeconfig or the state folder cannot be used. Conflict: another agent uses the state folder.
    """
    # An order of thousands of policies is hundreds of thousands of objects at once; the collector would see to each.
    gc.set_threshold(50_000, 20, 50)
    with lock(settings.state_dir):
        kube = await Kube.connect(settings.kubeconfig, settings.context)
        try:
            await _Agent(settings, kube).run()
        except ExceptionGroup as group:
            raise _first(group) from group
        finally:
            await kube.close()


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Give the first failure itself: whoever started the agent prints one line of it."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


class _Agent:
    """All parts of one agent."""

    def __init__(self, settings: MemberSettings, kube: Kube) -> None:
        self._settings, self._kube = settings, kube
        self._parts = parts = Parts(settings, kube)
        self._enrolled = Enrolled(
            settings.state_dir / "membership", settings.enrolment, kind="cluster", name=settings.cluster
        )
        self._commands = Commands(kube, parts.pods, is_allowed=settings.job_exec)
        self._pulse = Pulse(kube, parts.view, orders=parts.orders, reporter=parts.reporter, now=now)

    async def run(self) -> None:
        """Start every part; one that breaks ends all, and whoever supervises the process starts it anew."""
        parts, settings, uplink = self._parts, self._settings, self._uplink()
        structlog.contextvars.bind_contextvars(cluster=settings.cluster)
        log.info(
            "the agent has started",
            orders_on_disk=sum(len([*parts.orders.keys(k)]) for k in (RUNS, POLICYSETS, SERVICES)),
        )
        async with asyncio.TaskGroup() as group:
            for work in (keep_runs(parts), keep_policies(parts), keep_services(parts), self._farewell()):
                group.create_task(work)
            group.create_task(parts.view.run())
            group.create_task(parts.words.run())
            group.create_task(self._pulse.heartbeats(settings.heartbeat_seconds))
            group.create_task(self._pulse.kinds())
            group.create_task(self._pulse.inventories())
            group.create_task(self._mesh())
            group.create_task(uplink.run(self._enrolled))

    def _uplink(self) -> Uplink:
        parts = self._parts
        return Uplink(
            self._settings.cluster,
            parts.orders,
            reporter=parts.reporter,
            calls=Calls(
                streams={
                    "logs": Logs(self._kube, parts.pods, parts.known, kept=parts.kept_logs, words=parts.words).serve,
                    "exec": self._commands.serve,
                    "top": UsageNow(self._kube, parts.pods).serve,
                },
                answers={"exec-input": self._commands.type_in},
            ),
            recall=partial(recall, parts.run_records),
            data_credentials=parts.data_credentials,
            lease=parts.lease,
            recency=parts.recency,
        )

    async def _farewell(self) -> None:
        """Clear the cluster when it leaves; not before the hub has spoken, since it may have come back since."""
        parts = self._parts
        records: dict[str, Iterable[str]] = {
            RUNS: parts.run_records,
            POLICYSETS: parts.policy_records,
            SERVICES: parts.service_records,
        }
        controller = FarewellController(
            self._kube,
            parts.orders,
            standing=lambda: standing(parts.orders, records),
            reports=parts.reporter,
            now=now,
        )
        await parts.orders.has_synced.wait()
        worker = Worker("farewell", controller.reconcile)
        parts.orders.on_change(FAREWELL, worker.add)
        await worker.run()

    async def _mesh(self) -> None:
        """Report the mesh, as far as the agent was given a way to see it."""
        parts = self._parts
        try:
            await parts.mesh_pulse.run(
                self._settings.heartbeat_seconds, lambda version: parts.view.learn(cilium_version=version)
            )
        finally:
            if parts.mesh_source is not None:
                await parts.mesh_source.close()
