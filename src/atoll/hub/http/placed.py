"""Where the runs of a job are, and whether it can be reached: what logs and commands have to know first."""

from atoll.federation.capacity import format_duration
from atoll.federation.resources import API_GROUP, FINISHED_RUN_PHASES, Cluster, Job, Run, run_prefix
from atoll.hub.arrays import has_task
from atoll.hub.client import Client
from atoll.kubeapi.errors import BadRequest, NotFound, Unavailable

_TOLD_RUNS = 10


async def newest_run(client: Client, namespace: str, name: str) -> Run:
    """Find the newest run of a job. Raises NotFound; BadRequest if it has none."""
    return (await _runs(client, namespace, name))[-1]


async def run_of_attempt(client: Client, namespace: str, name: str, attempt: int) -> Run:
    """Find the run of a job by its number. Raises NotFound; BadRequest if there is none of that number."""
    runs = await _runs(client, namespace, name)
    found = next((run for run in runs if run.spec.epoch == attempt), None)
    if found is None:
        known = ", ".join(f"{run.spec.epoch} ({run.status.reason or run.status.phase})" for run in runs[-_TOLD_RUNS:])
        raise BadRequest(f"job {name!r} has no attempt {attempt}; it has {known}")
    return found


async def _runs(client: Client, namespace: str, name: str) -> list[Run]:
    """Find the runs of a job, the newest last."""
    job = await client.get(Job, namespace, name)
    if job is None:
        raise NotFound.of(API_GROUP, "jobs", name)
    named = await client.list(Run, namespace, name_prefix=run_prefix(name))
    runs = [run for run in named if run.spec.job == name]
    if not runs:
        why = f": {job.status.message}" if job.status.message else ""
        raise BadRequest(f"job {name!r} has no run yet: it is {job.status.phase}{why}")
    return sorted(runs, key=lambda run: run.spec.epoch)


async def run_of_task(client: Client, namespace: str, name: str, task: int) -> Run:
    """Find the newest run that a task of an array is part of. Raises NotFound; BadRequest if there is no such task."""
    runs = await _runs(client, namespace, name)
    job = await client.get(Job, namespace, name)
    if job is None or job.spec.array is None:
        raise BadRequest(f"job {name!r} is no array: leave the task out")
    if task >= job.spec.array.count:
        raise BadRequest(f"job {name!r} has the tasks 0 to {job.spec.array.count - 1}, and no task {task}")
    having = [run for run in runs if has_task(job, run, task)]
    if not having:
        raise BadRequest(f"task {task} of job {name!r} has not begun: attempt {runs[-1].spec.epoch} is without it")
    return having[-1]


async def check_heard(client: Client, name: str, *, what: str) -> None:
    """Say of a cluster that is not heard that it is not, rather than wait for its agent. Raises Unavailable.

    Args:
        what: what can be done once it is heard, such as `its logs can be read`.
    """
    cluster = await client.get(Cluster, None, name)
    since = cluster.status.silent_since if cluster is not None else None
    if since is not None:
        silence = format_duration(max(0, int((client.store.clock() - since).total_seconds())))
        message = f"cluster {name} has not been heard for {silence}: {what} when it is heard again"
        raise Unavailable(message, retry_after_seconds=5)


async def goes_on(client: Client, run: Run) -> bool:
    """Tell whether more may come of a run: it is not over and its cluster is heard."""
    current = await client.get(Run, run.metadata.namespace, run.metadata.name)
    cluster = await client.get(Cluster, None, run.spec.cluster)
    is_over = current is None or current.status.phase in FINISHED_RUN_PHASES
    return not is_over and cluster is not None and not cluster.status.is_silent
