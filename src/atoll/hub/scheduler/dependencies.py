"""What the jobs that a pending job depends on have come to, and who waits for whom in a circle. Pure.

What was seen is remembered in the job's own status: a dependency that has ended may be deleted, and what held holds.
"""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from atoll.federation.resources import FINISHED_JOB_PHASES, Job, resolve
from atoll.federation.resources.job import DependencyStatus, JobDependency

_ENDS: Mapping[str, frozenset[str]] = {
    "Succeeded": frozenset({"Succeeded"}),
    "Failed": frozenset({"Failed", "Cancelled"}),
    "Finished": FINISHED_JOB_PHASES,
}


def dependency_key(job: Job, dependency: JobDependency) -> str:
    """Name the job that is depended on as `namespace/name`."""
    return "/".join(resolve(dependency.job, job.metadata.namespace or "default"))


def awaited(job: Job) -> tuple[str, ...]:
    """Name the jobs that a job still depends on; nobody once it was placed: a further attempt asks for nothing anew."""
    if not job.spec.depends_on or job.status.phase != "Pending" or job.status.attempts:
        return ()
    return tuple(dict.fromkeys(dependency_key(job, each) for each in job.spec.depends_on))


def judged(job: Job, jobs: Mapping[str, Job]) -> Job:
    """See a pending job with what its dependencies have come to by now; `jobs` has all of them that exist."""
    if job.status.attempts or not (job.spec.depends_on or job.status.dependencies):
        return job
    known = {(each.job, each.condition): each for each in job.status.dependencies}
    standings = tuple(
        _judge(dependency, key, jobs.get(key), known.get((key, dependency.condition)))
        for dependency in job.spec.depends_on
        for key in (dependency_key(job, dependency),)
    )
    return job.model_copy(update={"status": job.status.model_copy(update={"dependencies": standings})})


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
