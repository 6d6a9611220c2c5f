"""Inputs that are worth moving move while the job waits: Transfers for jobs that wait for room on a cluster.

Owns the Transfers that are made before there is a Run. They bear the names that the run's own would bear, so it finds
them, running or done. The decisions are in prefetch_plan.py.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from atoll.federation.errors import Conflict
from atoll.federation.placement import DatasetKey, input_keys
from atoll.federation.queueing import lineage
from atoll.federation.resources import Cluster, Dataset, Job, Queue, Transfer
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.copy_sources import unheard_holders
from atoll.hub.controllers.prefetch_plan import PrefetchScope, plan_prefetch, selected_of
from atoll.hub.controllers.runtime import DONE, Key, Objects, Outcome, RequeueAfter, Source
from atoll.hub.scheduler.snapshot import as_reported

_FINISHED_TRANSFERS = frozenset({"Succeeded", "Failed"})


class PrefetchController:
    """Begins copies for jobs that wait."""

    name = "prefetches"

    def __init__(self, context: Context, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._context, self._monotonic = context, monotonic
        # Since when each waiting job's decision has selected the same cluster.
        self._selected: dict[Key, tuple[str, float]] = {}

    def sources(self) -> Sequence[Source]:
        """Watch jobs: their statuses say what they wait for."""
        return (Objects(self._context.client, Job, self._if_waiting, skips_ended=True),)

    async def _if_waiting(self, job: Job) -> Iterable[Key]:
        key = (job.metadata.namespace or "", job.metadata.name)
        return [key] if selected_of(job) is not None or key in self._selected else []

    async def reconcile(self, key: Key) -> Outcome:
        """Begin what is worth moving for one job."""
        context, (namespace, name) = self._context, key
        job = await context.client.get(Job, namespace, name)
        selected = selected_of(job) if job is not None else None
        if job is None or selected is None:
            self._selected.pop(key, None)
            return DONE
        plan = plan_prefetch(await self._scope(job, selected, self._since(key, selected)), context.clock())
        for transfer in plan.transfers:
            try:
                await context.client.create(transfer)
            except Conflict:
                continue  # a run that needs the same began to copy it a moment ago
            await context.events.record(job, "Prefetching", _told(transfer))
        return RequeueAfter(plan.again_seconds) if plan.again_seconds is not None else DONE

    def _since(self, key: Key, selected: str) -> float:
        """Give for how many seconds the same cluster has been selected."""
        known, now = self._selected.get(key), self._monotonic()
        if known is None or known[0] != selected:
            self._selected[key] = known = (selected, now)
        return now - known[1]

    async def _scope(self, job: Job, selected: str, seconds: float) -> PrefetchScope:
        context, client = self._context, self._context.client
        cluster = await client.get(Cluster, None, selected)
        datasets = await self._datasets(job)
        # By its destination's name at the end: the transfers that exist of the versions that it may need.
        known = [
            transfer.key
            for each in datasets.values()
            for transfer in await client.list(
                Transfer, each.metadata.namespace, name_prefix=f"{each.metadata.name}.v{each.status.version}."
            )
        ]
        return PrefetchScope(
            job=job,
            destination=as_reported(cluster, context.inventories.of(selected)) if cluster is not None else None,
            selected_for_seconds=seconds,
            datasets=datasets,
            unheard=await self._unheard(datasets.values()),
            moving=await client.list_unfinished(Transfer, _FINISHED_TRANSFERS),
            known=frozenset(known),
            pays_for_egress=await self._pays_for_egress(job.spec.queue),
        )

    async def _datasets(self, job: Job) -> dict[DatasetKey, Dataset]:
        keys = input_keys(job.spec, job.metadata.namespace or "")
        found = {key: await self._context.client.get(Dataset, *key) for key in keys}
        return {key: dataset for key, dataset in found.items() if dataset is not None}

    async def _unheard(self, datasets: Iterable[Dataset]) -> frozenset[str]:
        client = self._context.client
        found = [await unheard_holders(client, each, each.status.version) for each in datasets]
        return frozenset().union(*found)

    async def _pays_for_egress(self, queue: str) -> bool:
        queues = {each.metadata.name: each for each in await self._context.client.list(Queue)}
        if queue not in queues:
            return False
        line = [queues[name] for name in lineage(queue, queues) if name in queues]
        budgets = [budget for each in line for budget in each.spec.budgets]
        return any(each.egress_gib is not None or each.money is not None for each in budgets)


def _told(transfer: Transfer) -> str:
    spec = transfer.spec
    return f"copying {spec.dataset} version {spec.version} from {spec.source} to {spec.destination} while it waits"
