"""Job: work to be placed on one cluster, with its data, its GPUs and what shall happen when contact is lost."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from atoll.federation.resources.base import (
    AbsolutePath,
    Condition,
    DnsSubdomain,
    Duration,
    LabelSelector,
    Model,
    NonNegative,
    Quantity,
    Reference,
    Resource,
)

JobPhase = Literal["Pending", "Placed", "Running", "Committing", "Succeeded", "Failed", "Cancelled"]
LossPolicy = Literal["Wait", "Failover", "Duplicate"]
JobEnd = Literal["Succeeded", "Failed", "Finished"]
Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
FINISHED_JOB_PHASES: frozenset[str] = frozenset({"Succeeded", "Failed", "Cancelled"})


class JobInput(Model):
    """A dataset that the job reads, mounted read-only."""

    dataset: Reference
    mount_path: AbsolutePath
    when: Literal["Complete", "Available"] = "Complete"


class JobOutput(Model):
    """A dataset that the job writes; it becomes visible only when the run has succeeded."""

    dataset: DnsSubdomain
    mount_path: AbsolutePath


class JobDependency(Model):
    """Another job that must have ended before this one is placed."""

    job: Reference = Field(description="Name of the job, or namespace/name.")
    condition: JobEnd = Field(
        default="Succeeded",
        description="How it must have ended. Failed: it failed or was cancelled. Finished: it ended in any way.",
    )


class GpuDemand(Model):
    """GPUs of one pod; `models` lists what will do, best first, and empty means any."""

    count: Annotated[int, Field(ge=1, le=4096)] = 1
    models: tuple[str, ...] = ()
    memory: Quantity | None = None


class PlacementRules(Model):
    """Where the job may run."""

    clusters: LabelSelector = LabelSelector()
    residency: tuple[str, ...] = ()


class Workload(Model):
    """The object that runs in the member, in its own kind's schema; this version adapts batch/v1 Job."""

    api_version: Literal["batch/v1"] = "batch/v1"
    kind: Literal["Job"] = "Job"
    spec: dict[str, Any]

    @model_validator(mode="after")
    def _has_one_container(self) -> "Workload":
        containers = _at(self.spec, "template", "spec", "containers")
        if not isinstance(containers, list) or not containers:
            raise ValueError("spec.template.spec.containers must name at least one container")
        return self


def _at(value: Any, *path: str) -> Any:
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


class JobSpec(Model):
    """What a researcher asks for."""

    queue: DnsSubdomain
    priority: Priority = 0
    inputs: tuple[JobInput, ...] = ()
    outputs: tuple[JobOutput, ...] = ()
    depends_on: Annotated[tuple[JobDependency, ...], Field(max_length=1000)] = Field(
        default=(), description="Jobs that must have ended before the first run; all of these must hold."
    )
    gpu: GpuDemand | None = None
    placement: PlacementRules = PlacementRules()
    expected_duration: Duration | None = None
    time_limit: Duration | None = None
    loss_policy: LossPolicy = Field(
        default="Wait",
        description="What happens when the cluster cannot be heard, or is drained. Wait: the work goes on there. "
        "Failover: it is stopped there, and placed again only when it cannot be running any more. "
        "Duplicate: it is placed again at once, beside what may still run.",
    )
    retries: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="Further attempts after failures of the work; a lost or drained cluster uses none up."
    )
    held: bool = Field(
        default=False, description="Set by hold: it is not placed until release. What runs already goes on."
    )
    cancelled: bool = Field(default=False, description="Set by cancel: the run is stopped and nothing is placed again.")
    workload: Workload

    @model_validator(mode="after")
    def _mount_paths_differ(self) -> "JobSpec":
        paths = [item.mount_path for item in self.inputs] + [item.mount_path for item in self.outputs]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise ValueError(f"mountPath {twice[0]} is used twice")
        names = [output.dataset for output in self.outputs]
        if len(set(names)) < len(names):
            raise ValueError("outputs name the same dataset twice")
        return self


class DependencyStatus(Model):
    """What has been seen of one dependency. One that has held holds, even once that job is deleted."""

    job: str = Field(description="The job, as namespace/name.")
    condition: JobEnd = Field(description="How it must have ended.")
    state: Literal["Missing", "Waiting", "Holds", "Never"] = Field(
        description="Missing: there was never such a job. Never: it ended otherwise, or was deleted before it ended."
    )
    phase: JobPhase | None = Field(default=None, description="Its phase; unset if there is no such job.")


class JobStatus(Model):
    """How far the job is, and why it waits."""

    phase: JobPhase = "Pending"
    reason: str = ""
    message: str = ""
    cluster: str | None = None
    run: str | None = None
    attempts: NonNegative = 0
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    dependencies: tuple[DependencyStatus, ...] = Field(
        default=(), description="What the jobs that this one depends on have come to, until its first run."
    )
    observed_generation: int | None = None
    decision: dict[str, Any] | None = Field(
        default=None,
        description="The newest decision: a placement while placed, the diagnosis of every cluster while pending.",
    )


class Job(Resource):
    """Work to be placed."""

    description: ClassVar[str] = "Batch work that the hub places on the cluster where it would finish first."

    kind: Literal["Job"] = "Job"
    spec: JobSpec
    status: JobStatus = JobStatus()
