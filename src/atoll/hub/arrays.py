"""The tasks of an array: which are done, which are left, and which may begin. Pure.

Owns the sums over the runs of an array. An attempt runs what is left: tasks that have succeeded stay done, wherever
they ran (docs/adr/0028). Only where the array has outputs does each attempt run all of it: an output is one attempt's.
"""

from collections.abc import Iterable, Sequence

from atoll.federation.resources import FINISHED_RUN_PHASES, Job, Run
from atoll.federation.resources.job import ArrayStatus
from atoll.federation.tasks import Tasks


def all_tasks(job: Job) -> Tasks:
    """Give the tasks of an array; none of a job that is no array."""
    return Tasks.first(job.spec.array.count) if job.spec.array is not None else Tasks()


def array_status(job: Job, runs: Iterable[Run]) -> ArrayStatus | None:
    """Sum up what the runs of an array have come to; None for a job that is no array."""
    if job.spec.array is None:
        return None
    counted = sorted(_counted(job, runs), key=lambda run: run.spec.epoch)
    done = Tasks()
    for run in counted:
        done = done | _done(job, run)
    newest = counted[-1] if counted else None
    failed = Tasks.parse(newest.status.failed_tasks) - done if newest is not None else Tasks()
    is_live = newest is not None and newest.status.phase not in FINISHED_RUN_PHASES
    total = job.spec.array.count
    ended = len(done) + len(failed)
    running = min(newest.status.running_tasks, total - ended) if newest is not None and is_live else 0
    return ArrayStatus(
        progress=f"{len(done)}/{total}",
        total=total,
        waiting=max(0, total - ended - running),
        running=max(0, running),
        succeeded=len(done),
        failed=len(failed),
        succeeded_tasks=str(done),
        failed_tasks=str(failed),
    )


def tasks_left(job: Job) -> Tasks:
    """Give the tasks that the next attempt of an array has to run, whether they may begin or not."""
    if job.spec.outputs or job.status.array is None:
        return all_tasks(job)
    return all_tasks(job) - Tasks.parse(job.status.array.succeeded_tasks)


def tasks_ready(job: Job) -> Tasks:
    """Give those of the tasks left that no task of another array keeps waiting, as the job's status knows."""
    ready = tasks_left(job)
    for standing in job.status.dependencies:
        if standing.per_task:
            ready = ready & Tasks.parse(standing.tasks or "")
    return ready


def tasks_of(job: Job, run: Run) -> Tasks:
    """Give the tasks that a run is to do."""
    return Tasks.parse(run.spec.tasks) if run.spec.tasks else all_tasks(job)


def has_task(job: Job, run: Run, task: int) -> bool:
    """Tell whether a task is one of those that a run is to do."""
    return any(first <= task <= last for first, last in tasks_of(job, run).spans)


def released(given: Job, condition: str) -> Tasks:
    """Give the tasks of an array whose ends let the tasks of their number go in another one.

    That a task failed is known only when its array has ended: until then another attempt may mend it.
    """
    everything = all_tasks(given)
    done = Tasks.parse(given.status.array.succeeded_tasks) if given.status.array is not None else Tasks()
    has_ended = given.status.phase in ("Succeeded", "Failed", "Cancelled")
    if condition == "Succeeded":
        return done
    if not has_ended:
        return done if condition == "Finished" else Tasks()
    return everything - done if condition == "Failed" else everything


def _counted(job: Job, runs: Iterable[Run]) -> Sequence[Run]:
    found = [run for run in runs if run.spec.epoch > job.status.requeue.tasks_after]
    return sorted(found, key=lambda run: run.spec.epoch)[-1:] if job.spec.outputs else found


def _done(job: Job, run: Run) -> Tasks:
    return tasks_of(job, run) if run.status.phase == "Succeeded" else Tasks.parse(run.status.succeeded_tasks)
