"""What a cycle says of single jobs: the run that one gets, or why it waits, as it is stored and shown. Pure."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from atoll.federation.capacity import format_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.placement import Decision
from atoll.federation.queueing import BudgetObstacle, Obstacle
from atoll.federation.resources import Job, ObjectMeta, OwnerReference, Run, RunInput, RunSpec, RunStatus
from atoll.federation.resources.run import RUN_FINALIZER
from atoll.federation.resources.submitter import charged_to
from atoll.hub.scheduler.arrays import part_of
from atoll.hub.scheduler.brief import Block
from atoll.hub.scheduler.claiming import Promise
from atoll.hub.scheduler.preempting import Eviction

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
    obstacle: Obstacle | BudgetObstacle | None = None
    at: datetime | None = None
    promise: Promise | None = None

    def record(self) -> dict[str, Any] | None:
        """Give the decision record, as it is stored; a queue that is in the way stands in it under `queue`, and what
        the job was promised under `claim`."""
        promised = {} if self.promise is None else {"claim": self.promise.record()}
        if self.decision is not None:
            return {**self.decision.to_dict(), **promised}
        if self.obstacle is None or self.at is None:
            return promised or None
        return {
            "job": self.job.key,
            "decidedAt": self.at.isoformat().replace("+00:00", "Z"),
            "selected": None,
            "startsNow": False,
            "queue": self.obstacle.to_dict(),
            **promised,
        }


@dataclass(frozen=True)
class CyclePlan:
    """What a cycle decided, in the order in which the jobs were looked at."""

    placements: tuple[Placement, ...]
    waiting: tuple[Waiting, ...]
    evictions: tuple[Eviction, ...] = ()


def run_name(key: str, epoch: int) -> str:
    """Name the run of a job's epoch: two writers of the same epoch collide on it (G1).

    Raises:
        InvalidInput: the job's name leaves no place for the epoch.
    """
    job = key.rpartition("/")[2]
    name = f"{job}-{epoch}"
    if len(name) > _MAX_NAME_CHARS:
        raise InvalidInput(f"metadata.name: {job[:20]}… is too long for a run of it: use a shorter name")
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
        metadata=ObjectMeta(
            name=name,
            namespace=job.metadata.namespace,
            owner_references=(owner,),
            annotations=charged_to(job),
            finalizers=(RUN_FINALIZER,),
        ),
        spec=RunSpec(
            job=job.metadata.name,
            cluster=decision.selected,
            epoch=epoch,
            inputs=inputs,
            decision=decision.to_dict(),
            **part_of(job),
        ),
        # What has nothing to wait for is ordered at once: it is made as that order leaves it, and not written again.
        status=RunStatus() if inputs else RunStatus(phase="Starting", observed_generation=1),
    )


def why_not(decision: Decision, clusters: int) -> Block:
    """Sum a decision up in a word and a sentence."""
    if (kept := _kept_for_others(decision)) is not None:
        return kept
    if decision.selected is not None and decision.terms is not None:
        wait, done = format_duration(decision.terms.wait_seconds), format_duration(decision.terms.done_seconds)
        if decision.starts_now:  # it was worth waiting for another cluster, which others have filled since
            return Block("WaitingForCapacity", f"{decision.selected} has room by now: its next turn is in a moment")
        where = f"{decision.selected} is expected to have room in {wait} and the job to be done in {done}"
        return Block("WaitingForCapacity", f"{where}, sooner than anywhere else")
    counts = Counter(decision.omitted)
    counts.update(verdict.reasons[0].reason for verdict in decision.verdicts if verdict.reasons)
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    advice = f"; would help: {decision.diagnosis[0].message}" if decision.diagnosis else ""
    return Block("NoFeasibleCluster", f"0 of {clusters} clusters can take it" + (f": {why}{advice}" if why else ""))


def _kept_for_others(decision: Decision) -> Block | None:
    """Say that it is a claim that keeps a job from room which is free."""
    verdict = decision.verdict(decision.selected) if decision.selected is not None else None
    if verdict is None or verdict.in_the_way is None:
        return None
    found = verdict.in_the_way
    starts, ends = (
        decision.decided_at + timedelta(seconds=seconds) for seconds in (found.starts_in_seconds, found.ends_in_seconds)
    )
    since = f"from {starts:%Y-%m-%d %H:%M} UTC " if found.starts_in_seconds > 0 else ""
    reason = "Reserved" if found.kind == "Reserved" else "RoomClaimed"
    return Block(reason, f"{verdict.cluster} has room, but {found.message}, {since}until {ends:%Y-%m-%d %H:%M} UTC")
