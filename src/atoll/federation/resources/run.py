"""Run: one attempt of a Job on one cluster, with the decision that put it there."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from atoll.federation.resources.base import ClusterName, Condition, DnsSubdomain, Model, NonNegative, Resource

RunPhase = Literal["Pending", "Staging", "Starting", "Running", "Committing", "Succeeded", "Failed", "Cancelled"]
FINISHED_RUN_PHASES: frozenset[str] = frozenset({"Succeeded", "Failed", "Cancelled"})
DISPLACED = "DisruptionTarget"
"""The condition of a run that has to go, or may: named as Kubernetes names it on a pod (batch/v1, KEP-3329)."""
LOST, DRAINED, LEASE_ENDED, CLUSTER_GONE = "Lost", "Drained", "LeaseEnded", "ClusterGone"
DISPLACED_REASONS = frozenset({LOST, DRAINED, LEASE_ENDED, CLUSTER_GONE})
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
    usage: Usage = Usage()
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
    status: RunStatus = RunStatus()
