"""Run: one attempt of a Job on one cluster, with the decision that put it there."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from atoll.federation.resources.base import ClusterName, Condition, DnsSubdomain, Model, NonNegative, Resource

RUN_FINALIZER = "atoll.dev/workload"
"""On every run: its object outlives its workload, for the agent has to be told to remove that."""
RunPhase = Literal["Pending", "Staging", "Starting", "Running", "Committing", "Succeeded", "Failed", "Cancelled"]
FINISHED_RUN_PHASES: frozenset[str] = frozenset({"Succeeded", "Failed", "Cancelled"})
DISPLACED = "DisruptionTarget"
"""The condition of a run that has to go, or may: named as Kubernetes names it on a pod (batch/v1, KEP-3329)."""
LOST, DRAINED, LEASE_ENDED, CLUSTER_GONE = "Lost", "Drained", "LeaseEnded", "ClusterGone"
REQUEUED = "Requeued"
PREEMPTED = "Preempted"
NO_ROOM, KIND_NOT_SERVED = "NoRoom", "KindNotServed"
DISPLACED_REASONS = frozenset({LOST, DRAINED, LEASE_ENDED, CLUSTER_GONE, PREEMPTED, REQUEUED, NO_ROOM, KIND_NOT_SERVED})
"""Why a run ended that did nothing wrong: another attempt follows, and counts as no failure."""


def run_prefix(job: str) -> str:
    """Give what the names of a job's runs begin with: a run is called `<job>-<epoch>`."""
    return f"{job}-"


class RunInput(Model):
    """One input as the run sees it: the version it reads was pinned when it was placed."""

    namespace: str
    dataset: DnsSubdomain
    version: Annotated[int, Field(ge=1)]
    mount_path: str


PreemptionGround = Literal["LowerPriority", "Borrowed", "Reserved"]


class Preempted(Model):
    """For whom a run has to make room, by what right, and what that costs."""

    by: str = Field(description="The job that gets the room, as namespace/name.")
    ground: PreemptionGround = Field(
        description="LowerPriority: that job's priority is higher. Borrowed: this run is beyond the guarantee of its "
        "queue, that job is within its own. Reserved: the room is reserved for that job's queue."
    )
    message: str = Field(default="", description="The same for people, with what is lost.")
    lost_seconds: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Work that has to be done again: since the start, or since the last checkpoint."
    )
    at: datetime = Field(description="When it was decided.")


class RunSpec(Model):
    """What was decided. A run never changes its cluster or its epoch; a new attempt is a new Run."""

    job: DnsSubdomain
    cluster: ClusterName
    epoch: Annotated[int, Field(ge=1)]
    inputs: tuple[RunInput, ...] = ()
    decision: dict[str, Any] = Field(
        default_factory=dict, description="The decision record: every cluster with its terms or reason."
    )
    cancelled: bool = False
    requeued: bool = Field(
        default=False, description="Set beside cancelled when the job is requeued: the end counts as no failure."
    )
    grace_seconds: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="How long its pods may take to end when it is stopped; at most what they say."
    )
    tasks: Annotated[str, Field(pattern=r"^[0-9,\-]*$")] = Field(
        default="", description="Of an array: the tasks of this attempt, such as 0-41,43; empty: all of them."
    )
    parallelism: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Of an array: how many of its tasks run at once."
    )
    preempted: Preempted | None = Field(
        default=None, description="Set by the scheduler: the agent stops the run, and its job waits again."
    )


class Usage(Model):
    """What the run used, for accounting."""

    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    staged_bytes: NonNegative = 0


class RunStatus(Model):
    """What the agent reported of it, and when."""

    phase: RunPhase = "Pending"
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    pods: tuple[str, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    last_proven_at: datetime | None = None
    usage: Usage = Field(default_factory=Usage)
    running_tasks: NonNegative = Field(default=0, description="Of an array: its tasks that have a pod now.")
    succeeded_tasks: str = Field(default="", description="Of an array: what this attempt has done, such as 0-41,43.")
    failed_tasks: str = Field(default="", description="Of an array: the tasks that have failed in this attempt.")
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None

    @property
    def is_displaced(self) -> bool:
        """Whether the run has to leave its cluster, or may be left behind there."""
        return any(condition.type == DISPLACED and condition.status == "True" for condition in self.conditions)


class Run(Resource):
    """One attempt of a Job on one cluster."""

    description: ClassVar[str] = "One attempt of a job on one cluster; only the newest epoch may commit outputs."

    kind: Literal["Run"] = "Run"
    spec: RunSpec
    status: RunStatus = Field(default_factory=RunStatus)
