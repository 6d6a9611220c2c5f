"""Jobs: the newest Run of a Job becomes Job.status; a failed run is retried while the Job allows it.

Owns Job.status.phase and what follows from runs. The scheduler owns reason, message and decision of a pending Job, and
makes the Runs: a Job whose phase is Pending is the scheduler's. Both write guarded, and each its own fields.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from atoll.federation.resources import FINISHED_JOB_PHASES, Cluster, Job, JobStatus, Run, run_prefix
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.job_plan import AGAIN, JobPlan, plan_job
from atoll.hub.controllers.job_silence import CLUSTER_SILENT, with_silence
from atoll.hub.controllers.runtime import DONE, Key, Objects, Outcome, RequeueAfter, Source, own_key

# Event reasons by the phase that a job enters.
_EVENTS = {
    "Placed": "Placed",
    "Running": "Started",
    "Succeeded": "Completed",
    "Failed": "Failed",
    "Cancelled": "Cancelled",
}
# What the scheduler and this controller write of a job comes back here, mostly with more behind it. Longer, and a job
# that is cancelled is felt to linger.
_SETTLE_SECONDS = 0.2


class JobController:
    """Keeps Job.status, and stops the runs of cancelled jobs."""

    name = "jobs"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._placed: dict[Key, str] = {}
        self._silent: set[str] = set()
        # When the backoffs end that this hub has seen begin, by its own clock, each with the attempt before it.
        self._due: dict[Key, tuple[int, datetime]] = {}

    def sources(self) -> Sequence[Source]:
        """Watch jobs, runs, and whether clusters are heard; an ended job keeps its phase, so nothing is left to do."""
        client = self._context.client
        return (
            Objects(client, Job, own_key, skips_ended=True, settle_seconds=_SETTLE_SECONDS),
            Objects(client, Run, _job_of, skips_ended=True),
            Objects(client, Cluster, self._placed_where_silence_changes),
        )

    async def _placed_where_silence_changes(self, cluster: Cluster) -> Iterable[Key]:
        name, is_silent = cluster.metadata.name, cluster.status.is_silent
        if is_silent == (name in self._silent):
            return []
        (self._silent.add if is_silent else self._silent.discard)(name)
        return [key for key, where in self._placed.items() if where == name]

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one job's status up to date."""
        context, (namespace, name) = self._context, key
        job = await context.client.get(Job, namespace, name)
        if job is None or job.metadata.deletion_timestamp is not None:
            self._placed.pop(key, None)
            self._due.pop(key, None)
            return DONE
        named = await context.client.list(Run, namespace, name_prefix=run_prefix(name), all_or_none=True)
        runs = [run for run in named if _is_of(run, job)]
        plan = self._plan(key, job, runs)
        if plan.stop is not None:
            await context.client.update(plan.stop)
        status = with_silence(job, plan.status, await self._cluster_of(key, plan.status))
        await context.client.update_status(job.model_copy(update={"status": status}))
        await self._tell(job, status)
        return RequeueAfter(plan.again_seconds) if plan.again_seconds is not None else DONE

    def _plan(self, key: Key, job: Job, runs: Sequence[Run]) -> JobPlan:
        """Decide, and remember until when the job waits: that instant is of this hub's clock alone."""
        epoch, due = self._due.get(key, (0, None))
        newest = max((run.spec.epoch for run in runs), default=0)
        plan = plan_job(job, runs, self._context.clock(), due=due if epoch == newest else None)
        if plan.again_seconds is not None and plan.status.retry_at is not None:
            self._due[key] = (newest, plan.status.retry_at)
        else:
            self._due.pop(key, None)
        return plan

    async def _cluster_of(self, key: Key, status: JobStatus) -> Cluster | None:
        """Read the cluster of a placed job, which is noted first: a silence that begins now is not missed."""
        if status.cluster is None or status.phase in FINISHED_JOB_PHASES:
            self._placed.pop(key, None)
            return None
        self._placed[key] = status.cluster
        return await self._context.client.get(Cluster, None, status.cluster)

    async def _tell(self, job: Job, status: JobStatus) -> None:
        """Record what the job has entered, and that its cluster is not heard any more."""
        if status.reason == CLUSTER_SILENT != job.status.reason:
            await self._context.events.record(job, CLUSTER_SILENT, status.message, is_warning=True)
        if status.phase == job.status.phase:
            return
        is_again = status.phase == "Pending" and status.reason in AGAIN
        reason = status.reason if is_again else _EVENTS.get(status.phase)
        if reason is None:
            return
        where = f"on {status.cluster}" if status.cluster else ""
        message = status.message or f"run {status.run} {where}".strip()
        is_warning = reason == "Failed" or is_again
        await self._context.events.record(job, reason, message, is_warning=is_warning)


def _is_of(run: Run, job: Job) -> bool:
    """Tell whether a run is of this very job, and not of a deleted one of the same name."""
    owners = [owner.uid for owner in run.metadata.owner_references if owner.kind == "Job"]
    return run.spec.job == job.metadata.name and (not owners or job.metadata.uid in owners)


async def _job_of(run: Run) -> Iterable[Key]:
    return [(run.metadata.namespace or "", run.spec.job)]
