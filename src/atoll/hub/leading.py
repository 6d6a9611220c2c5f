"""What there must be one of: the controllers, the accounts and the scheduler of the hub that leads.

Owns which they are, how long changes gather before each looks, and how many keys each works on at once. What every hub
runs, and that this one leads, is app.py's.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from atoll.hub.accounting.daily import DailyCharges
from atoll.hub.controllers.clusters import ClusterController
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.datasets import DatasetController
from atoll.hub.controllers.departures import ClusterDepartureController, GatewayDepartureController
from atoll.hub.controllers.finished import FinishedSweeper, Keep
from atoll.hub.controllers.gateways import GatewayController
from atoll.hub.controllers.jobs import JobController
from atoll.hub.controllers.lab_files import LabFileController
from atoll.hub.controllers.lab_logs import LabLogController
from atoll.hub.controllers.namespaces import NamespaceController
from atoll.hub.controllers.policysets import PolicyMemory, PolicySetController
from atoll.hub.controllers.prefetches import PrefetchController
from atoll.hub.controllers.queues import QueueController
from atoll.hub.controllers.reservations import ReservationController
from atoll.hub.controllers.runs import RunController
from atoll.hub.controllers.runtime import Controller, Reconciler
from atoll.hub.controllers.services import ServiceController
from atoll.hub.controllers.streams import StreamController
from atoll.hub.controllers.transfers import TransferController
from atoll.hub.controllers.triggers import TriggerController
from atoll.hub.estimates import Knowledge, RunTimeLearner
from atoll.hub.field.desk import Desk
from atoll.hub.metrics import Metrics
from atoll.hub.scheduler.loop import SchedulerLoop
from atoll.hub.scheduler.waking import wakers
from atoll.kubeapi.gc import GarbageCollector


class _Part(NamedTuple):
    """A controller, how long changes gather before it looks at them, and how many keys it works on at once."""

    make: Callable[[Context], Reconciler]
    settle_seconds: float = 0.0
    workers: int = 4


# Changes gather where each concerns much: a cluster's every heartbeat concerns all policy sets, a sink commits twice a
# second, and counting a queue or finding who needs a service reads many objects. Longer, and a person waits for what
# one change means. Clusters, runs and jobs are many at once: every step of theirs waits for a write, and writes that
# are asked for together share a commit.
_CONTROLLERS: Sequence[_Part] = (
    _Part(ClusterController, workers=32),
    _Part(GatewayController),
    _Part(LabLogController, settle_seconds=0.5),
    _Part(LabFileController, settle_seconds=0.5),
    _Part(StreamController),
    _Part(ServiceController, settle_seconds=0.1),
    _Part(DatasetController),
    _Part(TransferController),
    _Part(TriggerController),
    _Part(RunController, workers=32),
    _Part(JobController, workers=32),
    _Part(PrefetchController, settle_seconds=0.5),
    _Part(NamespaceController),
    _Part(QueueController, settle_seconds=0.5),
    _Part(ReservationController, settle_seconds=0.5),
)


@dataclass(frozen=True)
class Leading:
    """Runs them, each time that this hub's turn has come; `policies` is what one turn leaves to the next."""

    context: Context
    metrics: Metrics
    knowledge: Knowledge
    policies: PolicyMemory
    keep: Keep
    desk: Desk | None = None

    async def run(self) -> None:
        """Run everything of which there must be one, until cancelled."""
        context = self.context
        await context.observed.synced.wait()
        await context.desired.synced.wait()
        self.metrics.leads(True)
        try:
            async with asyncio.TaskGroup() as group:
                for controller in self._controllers():
                    group.create_task(controller.run())
                await self._keep_accounts(group)
                group.create_task(context.events.run())
                group.create_task(GarbageCollector(context.client.store).run())
                group.create_task(FinishedSweeper(context.client, self.keep, clock=context.clock).run())
                scheduler = scheduler_of(context, self.knowledge)
                group.create_task(scheduler.run(), name="hub-scheduler")
                for waker in wakers(scheduler, context.client, context.observed):
                    group.create_task(waker)
        finally:
            self.metrics.leads(False)

    def _controllers(self) -> list[Controller]:
        leave = self.desk.leave if self.desk is not None else None
        parts = [
            *((make(self.context), settle_seconds, workers) for make, settle_seconds, workers in _CONTROLLERS),
            (PolicySetController(self.context, self.policies), 0.2, 4),
            (ClusterDepartureController(self.context, leave), 0.0, 4),
            (GatewayDepartureController(self.context, leave), 0.0, 4),
            (RunTimeLearner(self.context, self.knowledge.histories), 0.0, 4),
        ]
        return [
            Controller(reconciler, metrics=self.metrics, settle_seconds=settle_seconds, workers=workers)
            for reconciler, settle_seconds, workers in parts
        ]

    async def _keep_accounts(self, group: asyncio.TaskGroup) -> None:
        """Keep what runs took; return when it is known what was spent, on which budgets rely."""
        context, accounts = self.context, self.context.accounts
        accounts.loaded.clear()
        group.create_task(accounts.run(), name="hub-accounts")
        daily = DailyCharges(context.client, accounts, clock=context.clock)
        group.create_task(daily.run(), name="hub-daily-charges")
        await accounts.loaded.wait()


def scheduler_of(context: Context, knowledge: Knowledge) -> SchedulerLoop:
    """Make what decides, and what answers how it would decide: both see the same."""
    return SchedulerLoop(
        context.client,
        clock=context.clock,
        inventories=context.inventories.of,
        estimates=knowledge.estimates,
        charged=context.accounts.charged,
    )
