"""Queues: what waits, runs and is held in each, what it held until now, and whether its guarantees are backed.

Owns Queue.status. All queues are counted at once: what one holds, those above it hold, too. A status is written when
something was placed, ended or began to wait; what a queue held on average is exact in between (queueing/shares.py).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.queueing import (
    Measure,
    QueueTree,
    borrowed,
    fair_shares,
    held,
    past_at,
    past_use,
    share,
    soundness,
)
from atoll.federation.resources import (
    FINISHED_JOB_PHASES,
    FINISHED_RUN_PHASES,
    Cluster,
    Job,
    Queue,
    QueueStatus,
    Run,
)
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import ByKey, Key, Objects, Outcome, RequeueAfter, Source
from atoll.hub.scheduler.snapshot import job_key
from atoll.hub.scheduler.usage import NOT_HOLDING, capacity, hold

SOUND = "Sound"
_ALL: Key = ("", "")
# Shares are of what clusters have, which changes without any job. Shorter: all is counted for nothing. Longer: people
# read shares of a cluster that has gone.
_COUNT_AGAIN_SECONDS = 60.0
_SHARE_DIGITS = 4


@dataclass(frozen=True)
class Census:
    """Everything that a count of the queues reads, at one moment."""

    queues: Mapping[str, Queue]
    jobs: Mapping[str, Job]
    runs: Sequence[Run]
    clusters: Collection[Cluster]
    now: datetime
    half_life_seconds: float


def count(census: Census) -> dict[str, QueueStatus]:
    """Give every queue's status."""
    tree = QueueTree.of(census.queues)
    for run in census.runs:
        job = census.jobs.get(job_key(run))
        if job is not None and run.status.phase not in NOT_HOLDING:
            hold(tree, run, job)
    statuses = _held(tree, Measure(capacity(census.clusters)), census)
    pending = Counter[str]()
    for job in census.jobs.values():
        if job.status.phase == "Pending":
            pending.update(tree.lines.get(job.spec.queue, ()))
    parents = {name: queue.spec.parent for name, queue in census.queues.items()}
    for name, status in statuses.items():
        verdict = soundness(tree, name, parents)
        conditions = with_condition(
            status.conditions, SOUND, verdict.is_sound, reason=verdict.reason, message=verdict.message, now=census.now
        )
        statuses[name] = status.model_copy(update={"pending": pending[name], "conditions": conditions})
    return statuses


def _held(tree: QueueTree, measure: Measure, census: Census) -> dict[str, QueueStatus]:
    """Say in every status what is held, which share that is, and what was held until now."""
    fair, beyond, statuses = fair_shares(tree), borrowed(tree), {}
    for name, queue in census.queues.items():
        amounts = held(tree, name)
        counted = {
            "running": tree.running[name],
            "used": amounts,
            "used_gpus": amounts.gpus,
            "borrowed": beyond[name],
            "share": round(share(tree, name, measure), _SHARE_DIGITS),
            "fair_share": round(fair[name], _SHARE_DIGITS),
            "observed_generation": queue.metadata.generation,
        }
        statuses[name] = _with_past(queue.status, queue.status.model_copy(update=counted), census)
    return statuses


def _with_past(old: QueueStatus, new: QueueStatus, census: Census) -> QueueStatus:
    """Sum up what was held until now, when something else begins to be held or is to be forgotten otherwise."""
    is_as_before = new.used == old.used
    is_same_rate = old.past is None or old.past.half_life_seconds == census.half_life_seconds
    if is_as_before and is_same_rate:
        return new
    past = past_use(past_at(old, census.now), census.now, census.half_life_seconds)
    return new.model_copy(update={"past": past})


class QueueController:
    """Keeps Queue.status."""

    name = "queues"

    def __init__(self, context: Context) -> None:
        self._context = context

    def sources(self) -> Sequence[Source]:
        """Watch queues, jobs and runs."""
        return tuple(Objects(self._context.client, model, ByKey(lambda _key: (_ALL,))) for model in (Queue, Job, Run))

    async def reconcile(self, key: Key) -> Outcome:  # noqa: ARG002 - there is one key: all queues
        """Count all queues."""
        client, census = self._context.client, await self._census()
        for name, status in count(census).items():
            if status != census.queues[name].status:
                await client.update_status(census.queues[name].model_copy(update={"status": status}))
        return RequeueAfter(_COUNT_AGAIN_SECONDS)

    async def _census(self) -> Census:
        client = self._context.client
        jobs = {job.key: job for job in await client.list_unfinished(Job, FINISHED_JOB_PHASES)}
        runs = await client.list_unfinished(Run, FINISHED_RUN_PHASES)
        for run in runs:
            if job_key(run) not in jobs and (ended := await client.get(Job, run.metadata.namespace, run.spec.job)):
                jobs[ended.key] = ended
        queues = {queue.metadata.name: queue for queue in await client.list(Queue)}
        clusters = await client.list(Cluster)
        half_life_seconds = self._context.queue_half_life_seconds
        return Census(queues, jobs, runs, clusters, self._context.clock(), half_life_seconds)
