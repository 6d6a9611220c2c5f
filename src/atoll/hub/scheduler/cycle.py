"""One scheduling cycle: from a snapshot to what shall be written. Pure, and no await in it.

1. Collect the pending jobs whose runs have all ended, and been taken note of in the job's status; judge what the
   jobs that they depend on have come to.
2. Order them within their queues: priority, then the time since when they wait, then name.
3. See the clusters, without what unfinished runs hold that their agents have not reported yet; see what queues hold.
4. Per job: held, or blocked by jobs, by its inputs, or by what its queue asks of it? Then it waits, with the reason.
5. Turn by turn, the queue that is within its guarantee first, then the one that has least of its share
   (federation/queueing): would the job exceed a limit? Then it waits, and those behind it go on.
6. Decide. No cluster, or one that has no room yet: it waits, with the decision.
7. Selected: make its Run, and assume its capacity as taken, on the cluster and in its queues, before the next turn.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from atoll.federation.capacity import format_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.placement import ClusterTable, Decision, Links, Occupation, decide, view_of_cluster
from atoll.federation.queueing import (
    Measure,
    Obstacle,
    Past,
    QueueTree,
    Turns,
    Vector,
    obstacle,
    past_at,
    refused_priority,
)
from atoll.federation.resources import Job, ObjectMeta, OwnerReference, Run, RunInput, RunSpec
from atoll.hub.scheduler.admission import Block, blocked_by_jobs, blocked_by_objects, blocked_by_people
from atoll.hub.scheduler.demands import Asked, Demands
from atoll.hub.scheduler.dependencies import circles, judged
from atoll.hub.scheduler.snapshot import Snapshot, job_key
from atoll.hub.scheduler.usage import capacity, occupations, queue_tree

_MAX_NAME_CHARS = 253  # RFC 1123, as Kubernetes applies it to names


@dataclass(frozen=True)
class Placement:
    """A job that gets a run."""

    job: Job
    run: Run
    decision: Decision


@dataclass(frozen=True)
class Waiting:
    """A job that stays pending. `decision` None: no cluster was looked at. `obstacle`: the limit in the way."""

    job: Job
    reason: str
    message: str
    decision: Decision | None = None
    obstacle: Obstacle | None = None
    at: datetime | None = None

    def record(self) -> dict[str, Any] | None:
        """Give the decision record, as it is stored; a queue that is in the way stands in it under `queue`."""
        if self.decision is not None:
            return self.decision.to_dict()
        if self.obstacle is None or self.at is None:
            return None
        return {
            "job": self.job.key,
            "decidedAt": self.at.isoformat().replace("+00:00", "Z"),
            "selected": None,
            "startsNow": False,
            "queue": self.obstacle.to_dict(),
        }


@dataclass(frozen=True)
class CyclePlan:
    """What a cycle decided, in the order in which the jobs were looked at."""

    placements: tuple[Placement, ...]
    waiting: tuple[Waiting, ...]


def plan_cycle(snapshot: Snapshot, demands: Demands | None = None) -> CyclePlan:
    """Decide about every pending job. Equal snapshots give equal plans.

    `demands` is what former cycles have read of jobs; it only saves time.
    """
    jobs = [judged(job, snapshot.jobs) for job in ordered(pending(snapshot))]
    if not jobs:  # laying out a thousand clusters takes longer than all the rest
        return CyclePlan((), ())
    results = list(_Cycle.begin(snapshot, demands or Demands()).results(jobs))
    return CyclePlan(
        placements=tuple(result for result in results if isinstance(result, Placement)),
        waiting=tuple(result for result in results if isinstance(result, Waiting)),
    )


def pending(snapshot: Snapshot) -> list[Job]:
    """Collect the jobs that want a run and may have one (G1): no run of theirs is unfinished or news to their status.

    A run that has ended while the job controller was busy may have succeeded: the job must not run again. Only beside
    a run that may be left behind another one begins, where the job asks for that.
    """
    busy = {job_key(run) for run in snapshot.active_runs() if not _may_be_doubled(run, snapshot)}
    for run in snapshot.runs:
        job = snapshot.job_of(run)
        if job is not None and run.spec.epoch > job.status.attempts and _is_own(run, job):
            busy.add(job.key)
    return [job for job in snapshot.jobs.values() if is_pending(job) and job.key not in busy]


def _may_be_doubled(run: Run, snapshot: Snapshot) -> bool:
    """Tell whether another run may begin beside this one: not once its own cluster takes work again."""
    job = snapshot.job_of(run)
    if job is None or job.spec.loss_policy != "Duplicate" or not run.status.is_displaced:
        return False
    where = next((cluster for cluster in snapshot.clusters if cluster.metadata.name == run.spec.cluster), None)
    return where is None or where.spec.draining or where.status.phase not in ("Ready", "Degraded")


def _is_own(run: Run, job: Job) -> bool:
    """Tell whether a run is of this very job, and not of a deleted one of the same name."""
    return any(owner.uid == job.metadata.uid for owner in run.metadata.owner_references)


def is_pending(job: Job) -> bool:
    """Tell whether a job wants to be placed."""
    return job.status.phase == "Pending" and not job.spec.cancelled and job.metadata.deletion_timestamp is None


def ordered(jobs: Iterable[Job]) -> list[Job]:
    """Order jobs as they stand within a queue: highest priority first, then the longest waiting."""
    return sorted(jobs, key=lambda job: (-job.spec.priority, _queued_timestamp(job), job.key))


def _queued_timestamp(job: Job) -> float:
    queued_at = job.status.queued_at or job.metadata.creation_timestamp
    return queued_at.timestamp() if queued_at else float("inf")


@dataclass(frozen=True)
class _Candidate:
    """A job that may be placed as far as its own queue and its inputs are concerned."""

    job: Job
    asked: Asked
    vector: Vector
    run: str


@dataclass
class _Cycle:
    """The state of one cycle: what is assumed as taken so far."""

    snapshot: Snapshot
    table: ClusterTable
    tree: QueueTree
    past: Mapping[str, Past]
    demands: Demands
    epochs: Counter[str]
    unplaceable: dict[int, tuple[Decision, Block]] = field(default_factory=dict)

    @classmethod
    def begin(cls, snapshot: Snapshot, demands: Demands) -> "_Cycle":
        held, now = occupations(snapshot), snapshot.taken_at
        views = [view_of_cluster(cluster, held.get(cluster.metadata.name, ())) for cluster in snapshot.clusters]
        table = ClusterTable.of(views, Links.of(views, now))
        epochs: Counter[str] = Counter()
        for run in snapshot.runs:
            epochs[job_key(run)] = max(epochs[job_key(run)], run.spec.epoch)
        past = {name: past_at(queue.status, now) for name, queue in snapshot.queues.items()}
        demands.begin()
        return cls(snapshot, table, queue_tree(snapshot), past, demands, epochs)

    def results(self, jobs: Sequence[Job]) -> Iterator[Placement | Waiting]:
        """Decide about jobs, first about those that no turn would help."""
        waiting: dict[str, list[tuple[_Candidate, Vector]]] = {}
        circular = circles(jobs)
        for job in jobs:
            admitted = self._admit(job, circular)
            if isinstance(admitted, Waiting):
                yield admitted
            else:
                waiting.setdefault(job.spec.queue, []).append((admitted, admitted.vector))
        measure = Measure(capacity(self.snapshot.clusters))
        for candidate in Turns(self.tree, measure, self.past, waiting):
            yield self._handle(candidate)

    def _admit(self, job: Job, circular: Mapping[str, tuple[str, ...]]) -> _Candidate | Waiting:
        block = blocked_by_people(job) or blocked_by_jobs(job, circular) or blocked_by_objects(job, self.snapshot)
        if block is not None:
            return Waiting(job, block.reason, block.message)
        refused = refused_priority(self.tree, job.spec.queue, job.spec.priority)
        if refused is not None:
            return Waiting(job, "PriorityNotAllowed", refused)
        try:
            asked, name = self.demands.of(job, self.snapshot), run_name(job, self._epoch(job))
        except InvalidInput as error:
            return Waiting(job, "InvalidDemand", str(error))
        return _Candidate(job, asked, self.tree.axes.charge(asked.demand.pod, asked.demand.count), name)

    def _handle(self, candidate: _Candidate) -> Placement | Waiting:
        job = candidate.job
        limit = obstacle(self.tree, job.spec.queue, candidate.vector)
        if limit is not None:
            return Waiting(job, "QueueLimit", limit.message, obstacle=limit, at=self.snapshot.taken_at)
        decision, block = self._decide(candidate.asked)
        if block is not None:
            return Waiting(job, block.reason, block.message, decision)
        self._assume(candidate, decision)
        return Placement(job, make_run(job, candidate.run, self._epoch(job), decision), decision)

    def _epoch(self, job: Job) -> int:
        return max(self.epochs[job.key], job.status.attempts) + 1

    def _decide(self, asked: Asked) -> tuple[Decision, Block | None]:
        """Decide once for all jobs of a likeness that cannot start: what is free only shrinks within a cycle."""
        known = self.unplaceable.get(asked.likeness)
        if known is not None:
            return replace(known[0], demand=asked.demand), known[1]
        decision = decide(asked.demand, self.table, decided_at=self.snapshot.taken_at)
        if decision.starts_now:
            return decision, None
        block = _why_not(decision, len(self.table))
        self.unplaceable[asked.likeness] = (decision, block)
        return decision, block

    def _assume(self, candidate: _Candidate, decision: Decision) -> None:
        assert decision.selected is not None and decision.terms is not None, "a job that starts now is selected"
        job, demand = candidate.job, candidate.asked.demand
        seconds = decision.terms.staging_seconds + decision.terms.run_seconds
        view = self.table.views[self.table.index[decision.selected]]
        taken = Occupation(job.key, demand.pod, demand.count, seconds, is_counted=False)
        self.table = self.table.with_occupied(view.occupied(taken))
        self.tree.hold(job.key, job.spec.queue, candidate.vector)


def run_name(job: Job, epoch: int) -> str:
    """Name the run of an epoch: two writers of the same epoch collide on it (G1).

    Raises:
        InvalidInput: the job's name leaves no place for the epoch.
    """
    name = f"{job.metadata.name}-{epoch}"
    if len(name) > _MAX_NAME_CHARS:
        raise InvalidInput(f"metadata.name: {job.metadata.name[:20]}… is too long for a run of it: use a shorter name")
    return name


def make_run(job: Job, name: str, epoch: int, decision: Decision) -> Run:
    """Make the Run that a decision means; its inputs are pinned to the versions that were decided on."""
    assert decision.selected is not None, "only a selected cluster gets a run"
    paths = [mount.mount_path for mount in job.spec.inputs]
    inputs = tuple(
        RunInput(namespace=needed.namespace, dataset=needed.dataset, version=needed.version, mount_path=path)
        for needed, path in zip(decision.demand.inputs, paths, strict=True)
    )
    owner = OwnerReference(
        api_version=job.api_version,
        kind=job.kind,
        name=job.metadata.name,
        uid=job.metadata.uid or "",
        controller=True,
        block_owner_deletion=True,
    )
    return Run(
        metadata=ObjectMeta(name=name, namespace=job.metadata.namespace, owner_references=(owner,)),
        spec=RunSpec(
            job=job.metadata.name,
            cluster=decision.selected,
            epoch=epoch,
            inputs=inputs,
            decision=decision.to_dict(),
        ),
    )


def _why_not(decision: Decision, clusters: int) -> Block:
    """Sum a decision up in a word and a sentence."""
    if decision.selected is not None and decision.terms is not None:
        wait, total = format_duration(decision.terms.wait_seconds), format_duration(decision.terms.total_seconds)
        where = f"{decision.selected} is expected to have room in {wait} and the job to be done in {total}"
        return Block("WaitingForCapacity", f"{where}, sooner than anywhere else")
    counts = Counter(decision.omitted)
    counts.update(verdict.reasons[0].reason for verdict in decision.verdicts if verdict.reasons)
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    advice = f"; {decision.diagnosis[0].message} would change that" if decision.diagnosis else ""
    return Block("NoFeasibleCluster", f"0 of {clusters} clusters can take it" + (f": {why}{advice}" if why else ""))
