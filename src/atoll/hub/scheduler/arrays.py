"""How many tasks of an array run at once: one to begin with, then what is left when all who wait had their turns. Pure.

Nothing is taken back: fewer tasks at once would mean that Kubernetes kills running ones (batch/v1 Job, "parallelism").
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from atoll.federation.capacity import room
from atoll.federation.errors import InvalidInput
from atoll.federation.placement import Claim, Claims, ClusterView, Occupation, PodDemand, broken, pods_of_job
from atoll.federation.queueing import QueueTree, UserTallies, Vector
from atoll.federation.resources import FINISHED_RUN_PHASES, Job, Run
from atoll.federation.resources.submitter import submitter_of
from atoll.hub.arrays import all_tasks, tasks_of, tasks_ready
from atoll.hub.scheduler.snapshot import Snapshot

Pods = tuple[tuple[PodDemand, int], ...]


@dataclass(frozen=True)
class Growth:
    """A run of an array that may have more tasks at once, and where it is among the views."""

    run: Run
    job: Job
    position: int

    @property
    def at_once(self) -> int:
        """How many tasks may run at once now."""
        return self.run.spec.parallelism or 1


def part_of(job: Job) -> dict[str, Any]:
    """Give what a new run says of an array: its tasks, where that is not all of them, and one at once to begin with."""
    if job.spec.array is None:
        return {}
    ready = tasks_ready(job)
    return {"tasks": "" if ready == all_tasks(job) else str(ready), "parallelism": 1}


def held_by(run: Run, job: Job) -> Pods:
    """Tell which pods a run holds room for: of an array, as many tasks as run at once.

    Raises:
        InvalidInput: the job was changed since it was placed: what its run asked for is not known.
    """
    pods = pods_of_job(job.spec)
    if job.spec.array is None:
        return pods
    array = job.status.array
    left = array.total - array.succeeded - array.failed if array is not None else job.spec.array.count
    return tuple((pod, max(1, min(run.spec.parallelism or 1, left))) for pod, _ in pods)


def may_grow(job: Job) -> bool:
    """Tell whether an array runs, has tasks that wait, and has begun all that it was allowed."""
    array = job.status.array
    if job.spec.array is None or array is None or job.status.phase != "Running":
        return False
    most = job.spec.array.max_parallel
    return array.waiting > 0 and array.running > 0 and (most is None or array.running < most)


def growing(snapshot: Snapshot, positions: Iterable[str]) -> list[Growth]:
    """Find the runs of arrays that may grow, the longest waiting job first; `positions` names the views in order."""
    at = {name: position for position, name in enumerate(positions)}
    found = []
    for run in snapshot.runs:
        job = snapshot.job_of(run)
        is_live = run.status.phase not in FINISHED_RUN_PHASES and not run.spec.cancelled
        if job is None or not is_live or not may_grow(job) or run.spec.cluster not in at:
            continue
        if run.status.running_tasks >= (run.spec.parallelism or 1):
            found.append(Growth(run, job, at[run.spec.cluster]))
    return sorted(found, key=lambda each: (-each.job.spec.priority, str(each.job.status.queued_at), each.run.key))


def grown(
    found: Iterable[Growth],
    views: list[ClusterView],
    tree: QueueTree,
    *,
    tallies: UserTallies | None = None,
    claims: Claims | None = None,
) -> Iterator[Run]:
    """Give the runs with as many tasks at once as fit; what each takes is taken from `views`, `tree` and `tallies`.

    Budgets are not asked: when an array began they were asked for all of its tasks, however many run at once.
    """
    tallies, claims = tallies or UserTallies(tree, {}), claims or Claims()
    for growth in found:
        view, spec, user = views[growth.position], growth.job.spec, submitter_of(growth.job)
        if spec.array is None or not view.is_ready or view.is_cordoned or view.is_leaving:
            continue
        try:
            pod, _ = pods_of_job(spec)[0]
        except InvalidInput:
            continue
        one = tree.axes.charge(pod, 1)
        most = min(spec.array.max_parallel or spec.array.count, len(tasks_of(growth.job, growth.run)))
        wanted = most - growth.at_once
        more = quota_left(tree, spec.queue, one, at_most=tallies.left(user, spec.queue, one, at_most=wanted))
        more = room(pod.resources, view.shapes, at_most=more, suits=pod.suits) if more > 0 else 0
        seconds = _remaining_seconds(growth.run, view)
        openness = claims.openness(growth.job.key, tree.lines.get(spec.queue, (spec.queue,)))
        more = beside(view, claims.against(openness).get(view.name, ()), pod, seconds, at_most=more)
        if more <= 0:
            continue
        taken = Occupation.of(growth.run.key, ((pod, more),), seconds, is_counted=False)
        views[growth.position] = view.occupied(taken)
        tree.hold(growth.job.key, spec.queue, tree.axes.charge(pod, more))
        tallies.hold(user, spec.queue, one, more)
        update = {"parallelism": growth.at_once + more}
        yield growth.run.model_copy(update={"spec": growth.run.spec.model_copy(update=update)})


def beside(view: ClusterView, claims: Sequence[Claim], pod: PodDemand, seconds: float, *, at_most: int) -> int:
    """Tell how many pods may start that run so long and take no room from a claim."""
    if at_most <= 0 or not claims:
        return at_most
    # The greatest count that breaks none: more pods never leave a claim more room.
    return bisect_left(range(1, at_most + 1), True, key=lambda count: _breaks(view, claims, ((pod, count),), seconds))


def _breaks(view: ClusterView, claims: Sequence[Claim], pods: Pods, seconds: float) -> bool:
    return broken(view, claims, pods, seconds) is not None


def _remaining_seconds(run: Run, view: ClusterView) -> float:
    """Tell how long the tasks of a run are expected to go on; for ever where nobody knows."""
    return max((held.ends_in_seconds for held in view.occupations if held.run == run.key), default=inf)


def quota_left(tree: QueueTree, queue: str, one: Vector, *, at_most: int) -> int:
    """Tell how many more tasks no limit of the queue's line forbids."""
    left = at_most
    for name in tree.lines.get(queue, ()):
        for limit, used, each in zip(tree.grants[name].limit, tree.used[name], one, strict=True):
            if limit is not None and each > 0:
                left = min(left, max(0, limit - used) // each)
    return left
