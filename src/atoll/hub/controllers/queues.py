"""Queues: counts what waits and runs in each. Owns Queue.status."""

from collections.abc import Iterable, Sequence

from atoll.federation.resources import FINISHED_JOB_PHASES, Job, Queue, QueueStatus
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import DONE, Key, Objects, Outcome, Source, own_key


def count(queue: Queue, jobs: Iterable[Job]) -> QueueStatus:
    """Count a queue's jobs and the GPUs that the placed ones hold."""
    mine = [job for job in jobs if job.spec.queue == queue.metadata.name]
    placed = [job for job in mine if job.status.phase != "Pending" and job.status.phase not in FINISHED_JOB_PHASES]
    return queue.status.model_copy(
        update={
            "pending": sum(job.status.phase == "Pending" for job in mine),
            "running": len(placed),
            "used_gpus": sum(_gpus(job) for job in placed),
            "observed_generation": queue.metadata.generation,
        }
    )


def _gpus(job: Job) -> int:
    parallel = job.spec.workload.spec.get("parallelism")
    pods = parallel if isinstance(parallel, int) and parallel > 0 else 1
    return job.spec.gpu.count * pods if job.spec.gpu is not None else 0


class QueueController:
    """Keeps Queue.status."""

    name = "queues"

    def __init__(self, context: Context) -> None:
        self._context = context

    def sources(self) -> Sequence[Source]:
        """Watch queues and jobs."""
        context = self._context
        return (Objects(context.client, Queue, own_key), Objects(context.client, Job, _queue_of))

    async def reconcile(self, key: Key) -> Outcome:
        """Count one queue."""
        client = self._context.client
        queue = await client.get(Queue, None, key[1])
        if queue is not None:
            status = count(queue, await client.list_unfinished(Job, FINISHED_JOB_PHASES))
            await client.update_status(queue.model_copy(update={"status": status}))
        return DONE


async def _queue_of(job: Job) -> Iterable[Key]:
    return [("", job.spec.queue)]
