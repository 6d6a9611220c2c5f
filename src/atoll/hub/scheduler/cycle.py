"""One scheduling cycle: from a snapshot to what shall be written. Pure, and no await in it.

1. Collect the pending jobs whose runs have all ended, and been taken note of in the job's status.
2. Order them: priority, then the time since when they wait, then name.
3. See the clusters, without what unfinished runs hold that their agents have not reported yet.
4. Per job: blocked by its queue or its inputs? Then it waits, with the reason.
5. Per job: would it exceed a limit of its queue? Then it waits, and those behind it go on.
6. Per job: decide. No cluster, or one that has no room yet: it waits, with the decision.
7. Selected: make its Run, and assume its capacity and its queue's GPUs as taken for all jobs behind it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from atoll.federation.capacity import format_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.placement import (
    ClusterTable,
    Decision,
    Demand,
    Links,
    Occupation,
    decide,
    demand_of_job,
    view_of_cluster,
)
from atoll.federation.resources import Job, ObjectMeta, OwnerReference, Run, RunInput, RunSpec
from atoll.hub.scheduler.admission import Block, blocked_by_objects, blocked_by_queue
from atoll.hub.scheduler.snapshot import Snapshot, job_key
from atoll.hub.scheduler.usage import lineage, occupations, queue_gpus

_MAX_NAME_CHARS = 253  # RFC 1123, as Kubernetes applies it to names


@dataclass(frozen=True)
class Placement:
    """A job that gets a run."""

    job: Job
    run: Run
    decision: Decision


@dataclass(frozen=True)
class Waiting:
    """A job that stays pending. `decision` None: no cluster was looked at."""

    job: Job
    reason: str
    message: str
    decision: Decision | None = None


@dataclass(frozen=True)
class CyclePlan:
    """What a cycle decided, in the order in which the jobs were looked at."""

    placements: tuple[Placement, ...]
    waiting: tuple[Waiting, ...]


def plan_cycle(snapshot: Snapshot) -> CyclePlan:
    """Decide about every pending job. Equal snapshots give equal plans."""
    cycle = _Cycle.begin(snapshot)
    results = [cycle.handle(job) for job in ordered(pending(snapshot))]
    return CyclePlan(
        placements=tuple(result for result in results if isinstance(result, Placement)),
        waiting=tuple(result for result in results if isinstance(result, Waiting)),
    )


def pending(snapshot: Snapshot) -> list[Job]:
    """Collect the jobs that want a run and may have one (G1): no run of theirs is unfinished or news to their status.

    A run that has ended while the job controller was busy may have succeeded: the job must not run again.
    """
    busy = {job_key(run) for run in snapshot.active_runs()}
    for run in snapshot.runs:
        job = snapshot.job_of(run)
        if job is not None and run.spec.epoch > job.status.attempts and _is_own(run, job):
            busy.add(job.key)
    return [job for job in snapshot.jobs.values() if is_pending(job) and job.key not in busy]


def _is_own(run: Run, job: Job) -> bool:
    """Tell whether a run is of this very job, and not of a deleted one of the same name."""
    return any(owner.uid == job.metadata.uid for owner in run.metadata.owner_references)


def is_pending(job: Job) -> bool:
    """Tell whether a job wants to be placed."""
    return job.status.phase == "Pending" and not job.spec.cancelled and job.metadata.deletion_timestamp is None


def ordered(jobs: Iterable[Job]) -> list[Job]:
    """Order jobs: highest priority first, then the longest waiting."""
    return sorted(jobs, key=lambda job: (-job.spec.priority, _queued_timestamp(job), job.key))


def _queued_timestamp(job: Job) -> float:
    queued_at = job.status.queued_at or job.metadata.creation_timestamp
    return queued_at.timestamp() if queued_at else float("inf")


@dataclass
class _Cycle:
    """The state of one cycle: what is assumed as taken so far."""

    snapshot: Snapshot
    table: ClusterTable
    queue_gpus: Counter[str]
    epochs: Counter[str]
    unplaceable: dict[tuple[object, ...], Decision] = field(default_factory=dict)

    @classmethod
    def begin(cls, snapshot: Snapshot) -> "_Cycle":
        held = occupations(snapshot)
        views = [view_of_cluster(cluster, held.get(cluster.metadata.name, ())) for cluster in snapshot.clusters]
        table = ClusterTable.of(views, Links.of(views, snapshot.taken_at))
        epochs: Counter[str] = Counter()
        for run in snapshot.runs:
            epochs[job_key(run)] = max(epochs[job_key(run)], run.spec.epoch)
        return cls(snapshot, table, queue_gpus(snapshot), epochs)

    def handle(self, job: Job) -> Placement | Waiting:
        block = blocked_by_objects(job, self.snapshot)
        if block is not None:
            return _waiting(job, block)
        try:
            demand = demand_of_job(job, self.snapshot.queues[job.spec.queue], self.snapshot.datasets)
            name = run_name(job, self._epoch(job))
        except InvalidInput as error:
            return Waiting(job, "InvalidDemand", str(error))
        block = blocked_by_queue(job, demand, self.snapshot.queues, self.queue_gpus)
        if block is not None:
            return _waiting(job, block)
        decision = self._decide(demand)
        if not decision.starts_now:
            return _waiting(job, _why_not(decision, len(self.table)), decision)
        self._assume(job, demand, decision)
        return Placement(job, make_run(job, name, self._epoch(job), decision), decision)

    def _epoch(self, job: Job) -> int:
        return max(self.epochs[job.key], job.status.attempts) + 1

    def _decide(self, demand: Demand) -> Decision:
        """Decide once for all jobs of a likeness that cannot start: what is free only shrinks within a cycle."""
        known = self.unplaceable.get(demand.likeness)
        if known is not None:
            return replace(known, demand=demand)
        decision = decide(demand, self.table, decided_at=self.snapshot.taken_at)
        if not decision.starts_now:
            self.unplaceable[demand.likeness] = decision
        return decision

    def _assume(self, job: Job, demand: Demand, decision: Decision) -> None:
        assert decision.selected is not None and decision.terms is not None, "a job that starts now is selected"
        seconds = decision.terms.staging_seconds + decision.terms.run_seconds
        view = self.table.views[self.table.index[decision.selected]]
        taken = Occupation(job.key, demand.pod, demand.count, seconds, is_counted=False)
        self.table = self.table.with_occupied(view.occupied(taken))
        for queue in lineage(job.spec.queue, self.snapshot.queues):
            self.queue_gpus[queue] += demand.gpus


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


def _waiting(job: Job, block: Block, decision: Decision | None = None) -> Waiting:
    return Waiting(job, block.reason, block.message, decision)


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
