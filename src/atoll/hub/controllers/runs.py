"""Runs: a placed Run becomes copies of missing inputs, then an order to its cluster, then commits of its outputs.

Owns RunOrder, CommitOrder, the Transfers that stage inputs, and Run.status. The decisions are in run_plan.py; this file
reads, writes and keeps the order of writes: transfers before the order, the status last.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from atoll.federation.bus.data_messages import CommitOrder, DatasetReport
from atoll.federation.bus.messages import RunOrder, RunReport
from atoll.federation.errors import Conflict
from atoll.federation.resources import (
    FINISHED_JOB_PHASES,
    FINISHED_RUN_PHASES,
    Cluster,
    Dataset,
    Job,
    Run,
    RunInput,
    Transfer,
    run_prefix,
)
from atoll.federation.resources.run import PREEMPTED, RUN_FINALIZER, Preempted
from atoll.hub.accounting.closing import charge_of, has_told_the_end
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.copy_sources import unheard_holders
from atoll.hub.controllers.hearing import Hearing
from atoll.hub.controllers.run_plan import plan_run, staging_name
from atoll.hub.controllers.run_scope import Input, Output, RunPlan, RunScope
from atoll.hub.controllers.runtime import (
    DONE,
    ByKey,
    Key,
    Messages,
    Objects,
    Outcome,
    RequeueAfter,
    Source,
    own_key,
    topic_key,
)
from atoll.hub.members import Path


class RunController:
    """Keeps RunOrder, CommitOrder, staging Transfers and Run.status."""

    name = "runs"

    def __init__(self, context: Context) -> None:
        self._context = context
        # The version of an output is chosen from all orders that stand: two runs must not choose at once.
        self._choosing = asyncio.Lock()
        # By job, the generation that its runs were told of: what its status says is news to one that has siblings only.
        self._told: dict[Key, int | None] = {}
        # Runs that are not over, and where: few, where the finished ones of a namespace may be many.
        self._live: dict[Key, str] = {}
        self._hearing = Hearing(context.observed)
        self._drains: dict[str, tuple[bool, str]] = {}

    def sources(self) -> Sequence[Source]:
        """Watch runs, their orders and reports, and whatever they may wait for.

        What is left to do for a run that has ended is in its orders, which bring its key.
        """
        context = self._context
        return (
            Objects(context.client, Run, own_key, skips_ended=True),
            Objects(context.client, Job, self._runs_of_job, skips_ended=True),
            Objects(context.client, Transfer, ByKey(self._live_in_namespace)),
            Objects(context.client, Dataset, ByKey(self._live_in_namespace)),
            Messages(context.observed, topic_key("run")),
            Messages(context.observed, self._live_at_report),
            Messages(context.desired, topic_key("run")),
            Messages(context.desired, self._run_of_commit),
            Messages(context.observed, self._live_where_silence_ends),
            Objects(context.client, Cluster, self._live_where_drain_changes),
        )

    async def _runs_of_job(self, job: Job) -> Iterable[Key]:
        namespace, name, generation = job.metadata.namespace, job.metadata.name, job.metadata.generation
        runs = [_key(run) for run in await self._of_job(namespace, name)]
        key, is_there = (namespace or "", name), await self._context.client.get(Job, namespace, name) is not None
        if not is_there or job.status.phase in FINISHED_JOB_PHASES or not runs:
            self._told.pop(key, None)
            return runs
        is_told = self._told.get(key) == generation
        self._told[key] = generation
        return [] if is_told and len(runs) == 1 else runs

    async def _of_job(self, namespace: str | None, job: str) -> list[Run]:
        named = await self._context.client.list(Run, namespace, name_prefix=run_prefix(job))
        return [run for run in named if run.spec.job == job]

    def _live_in_namespace(self, changed: Key) -> Iterable[Key]:
        """Map what a run may wait for to the runs of the namespace that are not over."""
        return [key for key in self._live if key[0] == changed[0]]

    async def _run_of_commit(self, path: Path) -> Iterable[Key]:
        order = self._context.desired.read(CommitOrder, path) if path.topic == "commit" else None
        return [(order.namespace, order.run)] if order is not None else []

    async def _live_at_report(self, path: Path) -> Iterable[Key]:
        """Map a report of a dataset to the runs that are not over in that namespace: one may be committing it."""
        if path.topic != "dataset" or len(path.names) != 2:
            return []
        return [key for key in self._live if key[0] == path.names[0]]

    async def _live_where_silence_ends(self, path: Path) -> Iterable[Key]:
        """Map the first heartbeat after a silence that mattered to the runs of its cluster."""
        if path.kind != "cluster" or path.topic != "heartbeat" or not self._hearing.note(path.member):
            return []
        return [key for key, cluster in self._live.items() if cluster == path.member]

    async def _live_where_drain_changes(self, cluster: Cluster) -> Iterable[Key]:
        name, drain = cluster.metadata.name, (cluster.spec.draining, cluster.spec.evict)
        if self._drains.get(name, (False, "ByPolicy")) == drain:
            return []
        self._drains[name] = drain
        return [key for key, where in self._live.items() if where == name]

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one run closer to its end."""
        context, (namespace, name) = self._context, key
        run = await context.client.get(Run, namespace, name)
        if run is not None and run.status.phase not in FINISHED_RUN_PHASES:
            self._live[key] = run.spec.cluster
        else:
            self._live.pop(key, None)
        if run is None:
            return await self._remove_orders(namespace, name)
        if run.metadata.deletion_timestamp is not None:
            return await self._finalize(run)
        job = await context.client.get(Job, namespace, run.spec.job)
        if job is None:
            await context.client.delete(Run, namespace, name)
            return DONE
        if RUN_FINALIZER not in run.metadata.finalizers:
            run = await self._add_finalizer(run)
        async with self._choosing if job.spec.outputs else contextlib.nullcontext():
            scope = await self._scope(run, job)
            plan = plan_run(scope, context.clock())
            await self._apply(run, plan)
        await self._charge(scope, plan)
        return await self._write_status(run, plan)

    async def _scope(self, run: Run, job: Job) -> RunScope:
        context, namespace = self._context, run.metadata.namespace
        siblings = await self._of_job(namespace, run.spec.job)
        path = _order_path(run)
        newest = max(siblings, key=lambda other: other.spec.epoch, default=run)
        order = context.desired.read(RunOrder, path)  # before the silence is looked at: it may rely on what stands here
        return RunScope(
            run=run,
            job=job,
            cluster=await context.client.get(Cluster, None, run.spec.cluster),
            newest_epoch=newest.spec.epoch,
            order=order,
            report=context.observed.read(RunReport, path),
            inputs=tuple([await self._input(run, given) for given in run.spec.inputs]),
            outputs=tuple([await self._output(run, output.dataset) for output in job.spec.outputs]),
            newest_phase=newest.status.phase,
            silence_seconds=await self._silence(run, job, order),
            rules=context.loss_rules,
            pod_security=context.client.pod_security(namespace or "default"),
        )

    async def _silence(self, run: Run, job: Job, order: RunOrder | None) -> float | None:
        """Give how long the run's cluster has been silent, where anything follows from that."""
        lease = order.lease_seconds if order is not None else None
        is_over = run.status.phase in FINISHED_RUN_PHASES
        if is_over or (lease is None and job.spec.loss_policy == "Wait"):
            return None
        at_least = lease or self._context.loss_rules.timeout_seconds
        return await self._hearing.silence_seconds(run.spec.cluster, at_least=at_least)

    async def _input(self, run: Run, given: RunInput) -> Input:
        client = self._context.client
        dataset = await client.get(Dataset, given.namespace, given.dataset)
        transfer = await client.get(Transfer, given.namespace, staging_name(run, given))
        if dataset is None or not _needs_a_source(run, given, dataset, transfer):
            return Input(given, dataset, transfer)
        return Input(given, dataset, transfer, await unheard_holders(client, dataset, given.version))

    async def _output(self, run: Run, name: str) -> Output:
        context, namespace = self._context, run.metadata.namespace or ""
        path, rest = _commit_path(run, name), f"dataset/{namespace}/{name}"
        standing = context.desired.read(CommitOrder, path)
        writer = await context.client.get(Run, namespace, standing.run) if standing is not None else None
        orders = [context.desired.read(CommitOrder, p) for p in context.desired.everywhere("cluster", path.rest)]
        reports = [context.observed.read(DatasetReport, p) for p in context.observed.everywhere("cluster", rest)]
        dataset = await context.client.get(Dataset, namespace, name)
        taken = [found.version for found in (*orders, *reports) if found is not None]
        return Output(
            dataset=name,
            order=standing,
            is_busy=_is_busy(writer, run),
            report=context.observed.read(DatasetReport, Path("cluster", run.spec.cluster, rest)),
            newest_version=max([*taken, dataset.status.version if dataset is not None else 0]),
        )

    async def _apply(self, run: Run, plan: RunPlan) -> None:
        """Carry out a plan: old copies away, transfers, the order, commits."""
        context = self._context
        for stale in plan.discard:
            await context.client.delete(Transfer, stale.metadata.namespace, stale.metadata.name)
        for transfer in plan.transfers:
            try:
                await context.client.create(transfer)
            except Conflict:
                continue  # another run of this cluster stages the same version
        if plan.order is not None:
            await context.desired.put(_order_path(run), plan.order)
        for commit in plan.commits:
            await context.desired.put(_commit_path(run, commit.dataset), commit)
        for name in plan.done:
            await context.desired.remove(_commit_path(run, name))

    async def _charge(self, scope: RunScope, plan: RunPlan) -> None:
        """Charge a run that ends now. Its end is told after that: what has ended is always in the accounts."""
        context, run = self._context, scope.run
        if run.status.phase in FINISHED_RUN_PHASES or plan.status.phase not in FINISHED_RUN_PHASES:
            return
        copies = [given.transfer for given in scope.inputs if given.transfer is not None]
        ended = run.model_copy(update={"status": plan.status})
        is_told = has_told_the_end(scope.report, run)
        charge = await charge_of(context.client, ended, scope.job, copies, is_told=is_told, now=context.clock())
        await context.accounts.charge(charge)

    async def _write_status(self, run: Run, plan: RunPlan) -> Outcome:
        await self._context.client.update_status(run.model_copy(update={"status": plan.status}))
        if plan.status.phase == "Staging" and run.status.phase != "Staging":
            await self._context.events.record(run, "Staging", plan.status.message)
        if run.spec.preempted is not None and plan.status.is_displaced and not run.status.is_displaced:
            await self._tell_preempted(run, run.spec.preempted)
        return RequeueAfter(plan.again_seconds) if plan.again_seconds is not None else DONE

    async def _tell_preempted(self, run: Run, why: Preempted) -> None:
        """Tell of the run that it is stopped, and of the job that gets the room who makes it."""
        await self._context.events.record(run, PREEMPTED, why.message, is_warning=True)
        namespace, _, name = why.by.partition("/")
        taker = await self._context.client.get(Job, namespace, name)
        if taker is not None:
            message = f"run {run.key} is stopped on {run.spec.cluster} to make room for this job ({why.ground})"
            await self._context.events.record(taker, "Preempting", message)

    async def _add_finalizer(self, run: Run) -> Run:
        """The run's object must outlive its workload: the agent has to be told to remove that."""
        finalizers = (*run.metadata.finalizers, RUN_FINALIZER)
        metadata = run.metadata.model_copy(update={"finalizers": finalizers})
        return await self._context.client.update(run.model_copy(update={"metadata": metadata}))

    async def _finalize(self, run: Run) -> Outcome:
        """Take the orders back, and let the object go when its agent has nothing left to report of it."""
        context, path = self._context, _order_path(run)
        await self._remove_orders(run.metadata.namespace or "", run.metadata.name)
        cluster = await context.client.get(Cluster, None, run.spec.cluster)
        if cluster is not None and context.observed.held(path) is not None:
            return DONE  # the agent's withdrawal of its report wakes this key
        finalizers = tuple(name for name in run.metadata.finalizers if name != RUN_FINALIZER)
        if finalizers != run.metadata.finalizers:
            await self._charge_deleted(run)
            metadata = run.metadata.model_copy(update={"finalizers": finalizers})
            await context.client.update(run.model_copy(update={"metadata": metadata}))
        return DONE

    async def _charge_deleted(self, run: Run) -> None:
        """Charge a run that was deleted before it ended; its job may be gone."""
        if run.status.phase in FINISHED_RUN_PHASES:
            return
        context, namespace = self._context, run.metadata.namespace
        job = await context.client.get(Job, namespace, run.spec.job)
        inputs = [await self._input(run, given) for given in run.spec.inputs]
        copies = [given.transfer for given in inputs if given.transfer is not None]
        gone = run.model_copy(update={"status": run.status.model_copy(update={"reason": "Deleted"})})
        charge = await charge_of(context.client, gone, job, copies, is_told=False, now=context.clock())
        await context.accounts.charge(charge)

    async def _remove_orders(self, namespace: str, name: str) -> Outcome:
        desired = self._context.desired
        for path in list(desired.everywhere("cluster", f"run/{namespace}/{name}")):
            await desired.remove(path)
        for member in desired.members("cluster"):
            for path in list(desired.paths("cluster", member, "commit")):
                commit = desired.read(CommitOrder, path)
                if commit is not None and (commit.namespace, commit.run) == (namespace, name):
                    await desired.remove(path)
        return DONE


def _needs_a_source(run: Run, given: RunInput, dataset: Dataset, transfer: Transfer | None) -> bool:
    """Tell whether a copy may have to be begun: who is heard matters to nothing else, and is asked for nothing else."""
    is_copied = transfer is not None and transfer.status.phase != "Failed"
    there = (run.spec.cluster, given.version)
    return not is_copied and there not in {(each.cluster, each.version) for each in dataset.status.replicas}


def _key(run: Run) -> Key:
    return (run.metadata.namespace or "", run.metadata.name)


def _is_busy(writer: Run | None, run: Run) -> bool:
    """Tell whether another run's commit stands and that run is not over."""
    return writer is not None and writer.key != run.key and writer.status.phase not in FINISHED_RUN_PHASES


def _order_path(run: Run) -> Path:
    return Path("cluster", run.spec.cluster, f"run/{run.metadata.namespace}/{run.metadata.name}")


def _commit_path(run: Run, dataset: str) -> Path:
    return Path("cluster", run.spec.cluster, f"commit/{run.metadata.namespace}/{dataset}")
