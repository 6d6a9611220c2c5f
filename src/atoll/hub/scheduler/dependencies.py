"""What the jobs that a pending job depends on have come to, and who waits for whom in a circle. Pure.

What was seen is remembered in the job's own status: a dependency that has ended may be deleted, and what held holds.
"""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from atoll.federation.resources import FINISHED_JOB_PHASES, Job, resolve
from atoll.federation.resources.job import DependencyStatus, JobDependency
from atoll.federation.tasks import Tasks
from atoll.hub.arrays import all_tasks, released

_ENDS: Mapping[str, frozenset[str]] = {
    "Succeeded": frozenset({"Succeeded"}),
    "Failed": frozenset({"Failed", "Cancelled"}),
    "Finished": FINISHED_JOB_PHASES,
}


def dependency_key(job: Job, dependency: JobDependency) -> str:
    """Name the job that is depended on as `namespace/name`."""
    return "/".join(resolve(dependency.job, job.metadata.namespace or "default"))


def awaited(job: Job) -> tuple[str, ...]:
    """Name the jobs that a job still depends on; once it was placed, those only that let its tasks go one by one."""
    if not job.spec.depends_on or job.status.phase != "Pending":
        return ()
    asked = [each for each in job.spec.depends_on if each.per_task or not job.status.attempts]
    return tuple(dict.fromkeys(dependency_key(job, each) for each in asked))


def judged(job: Job, jobs: Mapping[str, Job]) -> Job:
    """See a pending job with what its dependencies have come to by now; `jobs` has all of them that exist."""
    is_settled = job.status.attempts and not job.spec.is_per_task
    if is_settled or not (job.spec.depends_on or job.status.dependencies):
        return job
    known = {(each.job, each.condition, each.per_task): each for each in job.status.dependencies}
    standings: list[DependencyStatus] = []
    for dependency in job.spec.depends_on:
        key = dependency_key(job, dependency)
        before = known.get((key, dependency.condition, dependency.per_task))
        if dependency.per_task:
            standings.append(_judge_tasks(job, dependency, jobs.get(key), before))
        else:
            standings.append(_judge(dependency, key, jobs.get(key), before))
    return job.model_copy(update={"status": job.status.model_copy(update={"dependencies": tuple(standings)})})


def _judge_tasks(
    job: Job, dependency: JobDependency, found: Job | None, known: DependencyStatus | None
) -> DependencyStatus:
    """Judge which tasks another array lets go. What it has let go stays so, even once it is deleted."""
    wanted, key = all_tasks(job), dependency_key(job, dependency)
    free = Tasks.parse(known.tasks or "") if known is not None else Tasks()
    has_ended, phase = False, found.status.phase if found is not None else None
    if found is not None and found.spec.array is not None and all_tasks(found) == wanted:
        free, has_ended = free | released(found, dependency.condition), phase in FINISHED_JOB_PHASES
    elif found is not None:
        has_ended = True  # it is no array of as many tasks: it lets none go, now or later
    else:
        has_ended = known is not None and known.state != "Missing"
    if not wanted - free:
        state = "Holds"
    elif has_ended:
        state = "Never"
    else:
        state = "Missing" if found is None else "Waiting"
    told = {"job": key, "condition": dependency.condition, "state": state, "phase": phase, "tasks": str(free)}
    return DependencyStatus.model_validate({**told, "per_task": True})


def _judge(dependency: JobDependency, key: str, found: Job | None, known: DependencyStatus | None) -> DependencyStatus:
    """Judge one dependency. One that was deleted may be made anew under its name: then that one counts."""
    condition = dependency.condition
    if known is not None and known.state == "Holds":
        return known
    if found is None:
        was_there = known is not None and known.state != "Missing"
        return DependencyStatus(job=key, condition=condition, state="Never" if was_there else "Missing")
    phase = found.status.phase
    if phase not in FINISHED_JOB_PHASES:
        return DependencyStatus(job=key, condition=condition, state="Waiting", phase=phase)
    state = "Holds" if phase in _ENDS[condition] else "Never"
    return DependencyStatus.model_validate({"job": key, "condition": condition, "state": state, "phase": phase})


def circles(jobs: Iterable[Job]) -> Mapping[str, tuple[str, ...]]:
    """Find judged jobs that wait for each other, each with its circle: who waits for the next, back to the first.

    Admission refuses the last of a circle; only two that are written at the same moment pass it.
    """
    graph = {
        job.key: {each.job for each in job.status.dependencies if each.state == "Waiting"}
        for job in jobs
        if awaited(job)
    }
    found: dict[str, tuple[str, ...]] = {}
    while graph:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = tuple(reversed(error.args[1]))  # it names who is waited for before who waits
            found.update(dict.fromkeys(circle, circle))
            graph = {key: waits for key, waits in graph.items() if key not in found}
        else:
            break
    return found
