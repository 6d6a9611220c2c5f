"""What the scheduler knows of Jobs and Runs, kept from cycle to cycle: only what changed is read.

Owns which runs bear on a cycle, and the jobs as a cycle sees them: as they were when it began, each parsed only when
somebody asks for that very one. What is known to be unreadable is left out. It must not decide anything, nor write. A
cycle that follows a lost history, and the first one of a hub that begins to lead, is fed with everything.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from atoll.federation.placement import record_of
from atoll.federation.resources import FINISHED_JOB_PHASES, FINISHED_RUN_PHASES, Job, Resource, Run, run_prefix
from atoll.hub.following import Follower
from atoll.hub.scheduler.book import Book
from atoll.kubeapi.bucket import Entry

R = TypeVar("R", bound=Resource)


class Following(Protocol):
    """Follows the objects of a kind; the hub's Client does."""

    def follow(self, model: type[R]) -> Follower[R]:
        """Begin to follow a kind."""


class Jobs(Mapping[str, Job]):
    """Jobs by `namespace/name`, parsed when they are asked for. Those that have not ended are as they were at the look.

    To go through them parses them all. Parsed ones are kept while somebody holds them, or asks for them in each cycle:
    of most jobs that wait, nothing is ever asked. Who asks for one that cannot be read, as the first, meets Unreadable.
    """

    def __init__(self, follower: Follower[Job]) -> None:
        """Know no job."""
        self.held: dict[str, Entry] = {}
        self._follower = follower
        self._alive: WeakValueDictionary[str, Job] = WeakValueDictionary()
        self._asked: dict[str, Job] = {}
        self._asked_before: dict[str, Job] = {}

    def turn(self) -> None:
        """Begin a cycle."""
        self._asked_before, self._asked = self._asked, {}

    def __getitem__(self, key: str) -> Job:
        entry = self.held.get(key)
        if entry is None:
            entry = self._follower.entry(key)
            if entry is None or self._follower.is_refused(entry):
                raise KeyError(key)
        job = self._alive.get(key)
        if job is None or job.metadata.resource_version != str(entry.revision):
            job = self._alive[key] = self._follower.parse_apart(entry)
        self._asked[key] = job
        return job

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


class Feed:
    """Follows Jobs and Runs, and tells a book what has changed. `take` may run while no cycle reads."""

    def __init__(self, client: Following) -> None:
        """Know nothing: the first look reads everything."""
        self._job_changes, self._run_changes = client.follow(Job), client.follow(Run)
        self.jobs = Jobs(self._job_changes)
        self._runs: dict[str, Run] = {}
        self._runs_of: dict[str, set[str]] = defaultdict(set)
        self._order: list[str] = []

    @property
    def runs(self) -> tuple[Run, ...]:
        """Give the runs that have not ended, and those of jobs that have not ended, by name."""
        return tuple(self._runs[key] for key in self._order)

    def note(self) -> None:
        """Take down what has changed; it is read at the next look."""
        self._job_changes.note()
        self._run_changes.note()

    async def take(self, book: Book) -> None:
        """Take in what has changed. Jobs go before runs, so that a run created meanwhile is seen beside its job."""
        await self._take_jobs(book)
        await self._take_runs(book)

    async def _take_jobs(self, book: Book) -> None:
        changes = self._job_changes
        if changes.begin():
            for key in {*self.jobs.held, *book.awaited}:
                if changes.entry(key) is None:
                    self._put(key, None, book)
        async for key, entry in changes.changed():
            held = self.jobs.held.get(key)
            if held is None or entry is None or held.revision != entry.revision:
                self._put(key, entry, book)

    def _put(self, key: str, entry: Entry | None, book: Book) -> None:
        if entry is not None and self._job_changes.is_refused(entry):
            entry = None
        obj = None if entry is None else self._job_changes.look(entry)
        book.put(key, obj)
        was_live, is_live = key in self.jobs.held, obj is not None and _phase(obj) not in FINISHED_JOB_PHASES
        if is_live and entry is not None:
            self.jobs.held[key] = entry
        else:
            self.jobs.held.pop(key, None)
        if is_live != was_live:  # runs that have ended begin to matter, or matter no more
            for run in {*self._attempts(key), *self._runs_of.get(key, ())}:
                self._put_run(run, self._run_changes.entry(run), book)

    def _attempts(self, key: str) -> Iterator[str]:
        """Name the runs of a job by their names: `<job>-<epoch>`."""
        prefix = run_prefix(key)
        return (name for name in self._run_changes.names(prefix) if name.removeprefix(prefix).isdigit())

    async def _take_runs(self, book: Book) -> None:
        changes = self._run_changes
        if changes.begin():
            for key in [key for key in self._order if changes.entry(key) is None]:
                self._put_run(key, None, book)
        async for key, entry in changes.changed():
            self._put_run(key, entry, book)

    def _put_run(self, key: str, entry: Entry | None, book: Book) -> None:
        known = self._runs.get(key)
        matters = entry is not None and self._matters(self._run_changes.look(entry))
        # Without a run that cannot be read, its job has no second one either: that would have the same name.
        found = self._run_changes.readable(entry) if entry is not None and matters else None
        if found is None:
            self._drop_run(key, book)
        elif known is None or known.metadata.resource_version != found.metadata.resource_version:
            if known is None:
                insort(self._order, key)
            self._runs[key] = run = _slim(found)
            self._runs_of[_job_of(run.spec.job, key)].add(key)
            book.put_run(key, run)

    def _matters(self, obj: Mapping[str, Any]) -> bool:
        if _phase(obj) not in FINISHED_RUN_PHASES:
            return True
        return _job_of(obj["spec"]["job"], obj["metadata"]["namespace"] + "/") in self.jobs.held

    def _drop_run(self, key: str, book: Book) -> None:
        run = self._runs.pop(key, None)
        if run is None:
            return
        book.put_run(key, None)
        del self._order[bisect_left(self._order, key)]
        job = _job_of(run.spec.job, key)
        self._runs_of[job].discard(key)
        if not self._runs_of[job]:
            del self._runs_of[job]


def _slim(run: Run) -> Run:
    """Keep of a run's decision only what was found about its own cluster: of all others there are some ten kilobytes,
    which nobody asks for while it goes on. Who writes a run reads it anew."""
    decision = record_of(run.spec.decision, run.spec.cluster)
    return run.model_copy(update={"spec": run.spec.model_copy(update={"decision": decision})})


def _phase(obj: Mapping[str, Any]) -> str:
    return str((obj.get("status") or {}).get("phase", "Pending"))


def _job_of(job: str, run_key: str) -> str:
    return f"{run_key.partition('/')[0]}/{job}"
