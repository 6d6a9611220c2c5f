"""Who waits in which queue, and which runs go on: kept from change to change, so that a count reads no object twice.

Owns what of Jobs and Runs bears on the status of queues. A new one reads everything once; what it has then is the same
however it came about.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.federation.resources import FINISHED_RUN_PHASES, Job, Run
from atoll.hub.client import Client
from atoll.hub.scheduler.usage import Held, held_of

# Why a job waits that does not wait for room.
_BARRING = frozenset(
    {"Held", "WaitingForJobs", "DependencyNeverSatisfied", "RetryBackoff"}
    | {"NoFeasibleCluster", "PriorityNotAllowed", "BudgetSpent"}
)


@dataclass(frozen=True)
class Tallied:
    """How many jobs wait in each queue, the runs that have not ended with their jobs, and what they hold.

    `barred` are those of the jobs that wait which no room would let start.
    """

    pending: Mapping[str, int] = field(default_factory=dict)
    barred: Mapping[str, int] = field(default_factory=dict)
    going_on: Collection[tuple[Run, Job]] = ()
    held: Collection[Held] = ()


class QueueTally:
    """Follows Jobs and Runs. One reader at a time."""

    def __init__(self, client: Client) -> None:
        """Know nothing: the first look reads everything."""
        self._jobs, self._runs = client.follow(Job), client.follow(Run)
        self._queues: dict[str, str] = {}
        self._pending: Counter[str] = Counter()
        self._barred_in: dict[str, str] = {}
        self._live: dict[str, Run] = {}
        self._live_of: dict[str, set[str]] = defaultdict(set)
        self._going_on: dict[str, tuple[Run, Job]] = {}
        self._held: dict[str, Held] = {}

    async def take(self) -> Tallied:
        """Take in what has changed."""
        touched = {key async for key in self._changed_jobs()}
        touched |= {key async for key in self._changed_runs()}
        for job in touched:
            for key in self._live_of.get(job, ()):
                self._pair(key)
        barred = Counter(self._barred_in.values())
        return Tallied(+self._pending, barred, tuple(self._going_on.values()), tuple(self._held.values()))

    async def _changed_jobs(self) -> AsyncIterator[str]:
        if self._jobs.begin():
            for key in [key for key in self._queues if self._jobs.entry(key) is None]:
                self._wait(key, None)
            for key in tuple(self._live_of):
                yield key
        async for key, entry in self._jobs.changed():
            job = {} if entry is None else self._jobs.look(entry)
            self._wait(key, _queue_of_pending(job) if job else None, is_barred=bool(job) and is_barred(job))
            if key in self._live_of:
                yield key

    def _wait(self, key: str, queue: str | None, *, is_barred: bool = False) -> None:
        self._barred_in.pop(key, None)
        if queue is not None and is_barred:
            self._barred_in[key] = queue
        before = self._queues.pop(key, None)
        if before is not None:
            self._pending[before] -= 1
        if queue is not None:
            self._queues[key] = queue
            self._pending[queue] += 1

    async def _changed_runs(self) -> AsyncIterator[str]:
        if self._runs.begin():
            for key in [key for key in self._live if self._runs.entry(key) is None]:
                self._end(key)
        async for key, entry in self._runs.changed():
            is_over = entry is None or _phase(self._runs.look(entry)) in FINISHED_RUN_PHASES
            run = None if entry is None or is_over else self._runs.readable(entry)
            if run is None:
                self._end(key)
                continue
            self._live[key] = run
            job = f"{run.metadata.namespace}/{run.spec.job}"
            self._live_of[job].add(key)
            yield job

    def _end(self, key: str) -> None:
        self._going_on.pop(key, None)
        self._held.pop(key, None)
        run = self._live.pop(key, None)
        if run is None:
            return
        job = f"{run.metadata.namespace}/{run.spec.job}"
        self._live_of[job].discard(key)
        if not self._live_of[job]:
            del self._live_of[job]

    def _pair(self, key: str) -> None:
        """See a run beside its job as both are now."""
        run = self._live[key]
        self._going_on.pop(key, None)
        self._held.pop(key, None)
        entry = self._jobs.entry(f"{run.metadata.namespace}/{run.spec.job}")
        job = None if entry is None else self._jobs.readable(entry)
        if job is None:
            return
        self._going_on[key] = (run, job)
        held = held_of(run, job)
        if held is not None:
            self._held[key] = held


def is_barred(job: Mapping[str, Any]) -> bool:
    """Tell whether a job that waits would not start whatever room there were. Pure."""
    status = job.get("status") or {}
    if job["spec"].get("held") or status.get("reason") in _BARRING:
        return True
    limit = (status.get("decision") or {}).get("queue") or {}
    return bool(limit.get("asked", 0) > limit.get("limit", limit.get("asked", 0)))


def _queue_of_pending(job: Mapping[str, Any]) -> str | None:
    return str(job["spec"]["queue"]) if _phase(job) == "Pending" else None


def _phase(obj: Mapping[str, Any]) -> str:
    return str((obj.get("status") or {}).get("phase", "Pending"))
