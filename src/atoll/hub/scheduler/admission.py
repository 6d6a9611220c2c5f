"""Why pending jobs may not be placed yet, before any limit or cluster is looked at. Pure."""

from collections.abc import Mapping

from atoll.federation.placement import DatasetKey, input_keys
from atoll.federation.resources import Dataset, Job
from atoll.federation.resources.job import DependencyStatus, JobInput
from atoll.federation.tasks import Tasks
from atoll.hub.arrays import tasks_ready
from atoll.hub.scheduler.brief import Block
from atoll.hub.scheduler.snapshot import Snapshot

# What a sentence names of many.
_MOST_NAMED = 5
_ENDINGS = {"Succeeded": "succeed", "Failed": "fail", "Finished": "end"}


def blocked_by_jobs(job: Job, circles: Mapping[str, tuple[str, ...]]) -> Block | None:
    """Look for dependencies of a judged job that do not hold yet, or never can."""
    if job.status.attempts and not job.spec.is_per_task:
        return None
    standings = job.status.dependencies
    if job.spec.is_per_task and all(each.per_task or each.state == "Holds" for each in standings) and tasks_ready(job):
        return None
    if never := [each for each in standings if each.state == "Never"]:
        why = _listed([_never(each) for each in never])
        return Block("DependencyNeverSatisfied", f"{why}: cancel this job, or take that out of spec.dependsOn")
    if circle := circles.get(job.key):
        return Block("DependencyNeverSatisfied", f"{' waits for '.join(circle)}: take one out of its spec.dependsOn")
    waits = [_awaited(each) for each in standings if each.state != "Holds"]
    return Block("WaitingForJobs", f"waits for {_listed(waits)}") if waits else None


def _never(standing: DependencyStatus) -> str:
    if standing.per_task and standing.phase:
        let_go = Tasks.parse(standing.tasks or "")
        return f"job {standing.job} is {standing.phase}, and lets no more tasks go than {let_go.shown() or 'none'}"
    what = f"is {standing.phase}" if standing.phase else "was deleted"
    return f"job {standing.job} {what} and should {_ENDINGS[standing.condition]}"


def _awaited(standing: DependencyStatus) -> str:
    state = f"it is {standing.phase}" if standing.phase else "it does not exist yet"
    if standing.per_task and standing.phase:
        return f"the tasks of job {standing.job} to {_ENDINGS[standing.condition]} one by one ({state})"
    return f"job {standing.job} to {_ENDINGS[standing.condition]} ({state})"


def _listed(items: list[str]) -> str:
    more = len(items) - _MOST_NAMED
    return ", ".join(items[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def blocked_by_objects(job: Job, snapshot: Snapshot) -> Block | None:
    """Look for a missing queue, or an input that is missing or not complete."""
    if job.spec.queue not in snapshot.queues:
        return Block("QueueNotFound", f"spec.queue: there is no queue {job.spec.queue}: create it or name another")
    found = [
        block
        for mount, key in zip(job.spec.inputs, input_keys(job.spec, job.metadata.namespace or ""), strict=True)
        if (block := _blocked_by_input(mount, key, snapshot.datasets)) is not None
    ]
    return found[0] if found else None


def _blocked_by_input(mount: JobInput, key: DatasetKey, datasets: Mapping[DatasetKey, Dataset]) -> Block | None:
    dataset, name = datasets.get(key), "/".join(key)
    if dataset is None:
        return Block("DatasetNotFound", f"input {name}: there is no such dataset yet")
    if mount.when == "Complete" and not dataset.status.complete:
        waits = "not complete yet: the run or the job that writes it has not ended"
        return Block("DatasetIncomplete", f"input {name}: version {dataset.status.version} is {waits}")
    if dataset.status.version == 0:
        return Block("DatasetIncomplete", f"input {name}: nothing of it has arrived yet")
    return None
