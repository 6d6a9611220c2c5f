"""What runs hold, kept from cycle to cycle: of clusters, of queues, and for whom they leave.

Owns the sums, and the views of clusters that follow from them. It is told by the book whose runs have changed, and a
cycle costs by those, not by all that run. What it has after any history is the same as what it would have if it were
begun anew, and what usage.py reads out of a snapshot at once. Pure, and used by one cycle at a time.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from atoll.federation.capacity import ResourceVector
from atoll.federation.placement import Blocks, ClusterView, Pods, view_of_cluster
from atoll.federation.queueing import Axes, Holder, QueueTree, Vector, base_of
from atoll.federation.resources import Job, Queue, Run
from atoll.hub.scheduler.book import Book
from atoll.hub.scheduler.brief import Ask, Brief
from atoll.hub.scheduler.demands import specimen
from atoll.hub.scheduler.snapshot import Snapshot
from atoll.hub.scheduler.stays import Stays, Tenants
from atoll.hub.scheduler.usage import Held, Spoken, expected_of, held_of, is_holding, keeps_place, spoken_of

# What asks say that is remembered. More: memory. Fewer: that of many templates in turn is read anew.
_MOST_SPOKEN = 20_000


@dataclass
class _Sum:
    """What the runs of one queue hold."""

    vector: list[int]
    count: int = 0

    def add(self, vector: Vector, sign: int) -> None:
        self.count += sign
        for at, amount in enumerate(vector):
            self.vector[at] += sign * amount


@dataclass
class Standing:
    """What goes on.

    Attributes:
        held: what runs hold, by run.
        kept: runs that have failed, of which their jobs have not taken note: they hold their places in the queues.
    """

    held: dict[str, Held] = field(default_factory=dict)
    kept: dict[str, Held] = field(default_factory=dict)
    blocks: Blocks = field(default_factory=Blocks)
    _of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _on: dict[str, dict[str, Held]] = field(default_factory=lambda: defaultdict(dict))
    _for: dict[str, dict[str, Held]] = field(default_factory=lambda: defaultdict(dict))
    _priorities: Counter[int] = field(default_factory=Counter)
    _tenants: dict[str, Tenants] = field(default_factory=dict)
    _dirty: set[str] = field(default_factory=set)
    _spoken: dict[tuple[Ask, int | None], Spoken | None] = field(default_factory=dict)
    _axes: Axes = field(default_factory=Axes)
    _sums: dict[str, _Sum] = field(default_factory=dict)
    _charges: dict[Pods, Vector] = field(default_factory=dict)

    # --- what has changed

    def follow(self, book: Book, jobs: Mapping[str, Job]) -> None:
        """Take in the runs of all jobs of which the book says that something has changed."""
        attempted = book.attempted
        for job in [job for job in book.changed if job in self._of or job in attempted]:
            runs = book.attempts(job)
            for gone in self._of.pop(job, ()):
                self._remove(gone)
            names = tuple(key for run in runs if (key := self._add(run, job, book, jobs)) is not None)
            if names:
                self._of[job] = names

    def _add(self, run: Run, job: str, book: Book, jobs: Mapping[str, Job]) -> str | None:
        """Count what a run holds, and name it; None if it holds nothing."""
        held = self._read(run, job, book, jobs)
        if held is None:
            return None
        self._count(held, 1)
        if not is_holding(run):
            self.kept[held.key] = held
            return held.key
        self.held[held.key] = held
        self._on[run.spec.cluster][held.key] = held
        self._dirty.add(run.spec.cluster)
        self._priorities[held.priority] += 1
        if run.spec.preempted is not None:
            self._for[run.spec.preempted.by][held.key] = held
        return held.key

    def _remove(self, key: str) -> None:
        held = self.kept.pop(key, None)
        if held is not None:
            self._count(held, -1)
            return
        held = self.held.pop(key)
        self._count(held, -1)
        _drop(self._on, held.run.spec.cluster, key)
        self._dirty.add(held.run.spec.cluster)
        self._priorities[held.priority] -= 1
        if not self._priorities[held.priority]:
            del self._priorities[held.priority]
        if held.run.spec.preempted is not None:
            _drop(self._for, held.run.spec.preempted.by, key)

    def _read(self, run: Run, key: str, book: Book, jobs: Mapping[str, Job]) -> Held | None:
        """Tell what a run holds. Jobs that ask for the same are read once; only of a failed run, and of one whose job
        has ended, the job itself is looked at."""
        brief = book.brief(key)
        if is_holding(run):
            if brief is not None:
                return self._briefly(run, key, brief)
            job = jobs.get(key)
            return None if job is None else held_of(run, job)
        job = jobs.get(key) if run.status.phase == "Failed" and brief is not None and not brief.is_wanted else None
        if job is None or brief is None or not keeps_place(run, job):
            return None
        return self._briefly(run, key, brief)

    def _briefly(self, run: Run, key: str, brief: Brief) -> Held | None:
        ask = brief.ask
        known = (ask, run.spec.parallelism)
        if known not in self._spoken:
            if len(self._spoken) >= _MOST_SPOKEN:
                self._spoken = {}
            self._spoken[known] = spoken_of(run, specimen(ask, key))
        spoken = self._spoken[known]
        if spoken is None:
            return None
        of = (key, ask.queue, ask.priority, ask.submitter, brief.grace)
        return Held(run, run.key, *of, spoken, *expected_of(run, spoken))

    def _count(self, held: Held, sign: int) -> None:
        vector = self._charge(held.pods)
        found = self._sums.get(held.queue)
        if found is None:
            found = self._sums[held.queue] = _Sum([0] * len(vector))
        found.add(vector, sign)
        if not found.count:
            del self._sums[held.queue]

    def _charge(self, pods: Pods) -> Vector:
        vector = self._charges.get(pods)
        if vector is None:
            if len(self._charges) >= _MOST_SPOKEN:
                self._charges = {}
            vector = self._charges[pods] = self._axes.charge_all(pods)
        return vector

    # --- what follows from it

    def everybody(self) -> Iterator[Held]:
        """Give whatever counts in queues."""
        yield from self.held.values()
        yield from self.kept.values()

    def submitters(self) -> Mapping[str, str]:
        """Tell whose the jobs are that hold anything."""
        return {held.job: held.submitter for held in self.everybody()}

    def tree(self, queues: Mapping[str, Queue]) -> QueueTree:
        """See what runs hold, by queue, and what keeps the places of jobs that are about to wait again."""
        tree = QueueTree.of(queues)
        if tree.axes != self._axes:
            self._axes, self._charges, self._sums = tree.axes, {}, {}
            for held in self.everybody():
                self._count(held, 1)
        tree.hold_sums({queue: (tuple(each.vector), each.count) for queue, each in self._sums.items()}, self._holders)
        return tree

    def _holders(self) -> Iterator[Holder]:
        return (Holder(each.job, each.queue, self._charge(each.pods)) for each in self.everybody())

    def views(self, snapshot: Snapshot) -> list[ClusterView]:
        """See the clusters as they are now: what did not change is not laid out anew."""
        known, self._tenants = self._tenants, {}
        found = []
        for cluster in snapshot.clusters:
            name = cluster.metadata.name
            tenants = known.get(name)
            if tenants is None or tenants.cluster is not cluster:
                tenants = Tenants.of(cluster, view_of_cluster(cluster), self._on.get(name, {}))
            elif name in self._dirty:
                tenants = Tenants.of(cluster, tenants.plain, self._on.get(name, {}))
            self._tenants[name] = tenants
            found.append(replace(tenants.plain, shapes=tenants.shapes, occupations=Stays(tenants, snapshot.taken_at)))
        self._dirty.clear()
        return found

    def capacity(self) -> tuple[int, int, int]:
        """Sum what all nodes of the clusters have that were seen last, free or not: what queues have shares of."""
        return base_of(sum((each.plain.capacity for each in self._tenants.values()), ResourceVector()))

    def on(self, cluster: str, now: datetime) -> Stays:
        """Give the runs on a cluster, as it was seen last; none where there is no such cluster."""
        tenants = self._tenants.get(cluster)
        return Stays(Tenants.none() if tenants is None else tenants, now)

    def leaving(self, job: str) -> list[Held]:
        """Give the runs that are leaving for a job."""
        return [held for _, held in sorted(self._for.get(job, {}).items())]

    def departing(self) -> list[Held]:
        """Give the runs that are leaving for any job."""
        return [held for _, held in sorted(pair for found in self._for.values() for pair in found.items())]

    @property
    def lowest_priority(self) -> int:
        """The lowest priority that any run has."""
        return min(self._priorities, default=0)


def _drop(found: dict[str, dict[str, Held]], name: str, key: str) -> None:
    del found[name][key]
    if not found[name]:
        del found[name]
