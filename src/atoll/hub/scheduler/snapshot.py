"""What a cycle sees: every object that bears on placement, at one moment."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from atoll.federation.placement import DatasetKey
from atoll.federation.resources import (
    FINISHED_JOB_PHASES,
    FINISHED_RUN_PHASES,
    Cluster,
    Dataset,
    Job,
    Queue,
    Resource,
    Run,
    run_prefix,
)

R = TypeVar("R", bound=Resource)


class Reader(Protocol):
    """Lists typed objects; the hub's Client is one."""

    async def get(self, model: type[R], namespace: str | None, name: str) -> R | None:
        """Read one object; None if it does not exist."""

    async def list_unfinished(self, model: type[R], ends: Collection[str]) -> list[R]:
        """List the objects of a kind whose phase is none of `ends`."""

    async def list(self, model: type[R], namespace: str | None = None, *, name_prefix: str = "") -> list[R]:
        """List the objects of a kind, in one namespace or in all, or those whose names begin so."""


@dataclass(frozen=True)
class Snapshot:
    """Frozen objects by name. Everything that a cycle decides, it decides from this.

    Jobs that have ended are left out, and their runs, unless one still goes on: there are more of them every day.
    """

    taken_at: datetime
    jobs: Mapping[str, Job]
    runs: tuple[Run, ...]
    clusters: tuple[Cluster, ...]
    queues: Mapping[str, Queue]
    datasets: Mapping[DatasetKey, Dataset]

    def job_of(self, run: Run) -> Job | None:
        """Find the job that a run is an attempt of."""
        return self.jobs.get(job_key(run))

    def active_runs(self) -> tuple[Run, ...]:
        """Give the runs that have not ended."""
        return tuple(run for run in self.runs if run.status.phase not in FINISHED_RUN_PHASES)


def job_key(run: Run) -> str:
    """Name the job of a run as `namespace/name`."""
    return f"{run.metadata.namespace}/{run.spec.job}"


async def take_snapshot(client: Reader, now: datetime) -> Snapshot:
    """Read everything. Jobs are read before runs, so that a run created meanwhile is seen beside its job."""
    jobs = {job.key: job for job in await client.list_unfinished(Job, FINISHED_JOB_PHASES)}
    runs = {run.key: run for run in await client.list_unfinished(Run, FINISHED_RUN_PHASES)}
    for job in tuple(jobs.values()):
        for run in await client.list(Run, job.metadata.namespace, name_prefix=run_prefix(job.metadata.name)):
            runs[run.key] = run
    for run in runs.values():
        if job_key(run) not in jobs and (ended := await client.get(Job, run.metadata.namespace, run.spec.job)):
            jobs[ended.key] = ended
    clusters = await client.list(Cluster)
    queues = await client.list(Queue)
    datasets = await client.list(Dataset)
    return Snapshot(
        taken_at=now,
        jobs=jobs,
        runs=tuple(runs[key] for key in sorted(runs)),
        clusters=tuple(sorted(clusters, key=lambda cluster: cluster.metadata.name)),
        queues={queue.metadata.name: queue for queue in queues},
        datasets={(dataset.metadata.namespace or "", dataset.metadata.name): dataset for dataset in datasets},
    )
