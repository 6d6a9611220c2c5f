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
from atoll.federation.resources.retry import RetryPolicy
from atoll.federation.resources.workload import Workload

JobPhase = Literal["Pending", "Placed", "Running", "Committing", "Succeeded", "Failed", "Cancelled"]
LossPolicy = Literal["Wait", "Failover", "Duplicate"]
JobEnd = Literal["Succeeded", "Failed", "Finished"]
Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
FINISHED_JOB_PHASES: frozenset[str] = frozenset({"Succeeded", "Failed", "Cancelled"})
MAX_TASKS = 100_000
"""Tasks of one array: Kubernetes' limit for an Indexed Job whose indexes fail one by one (KEP-3850)."""
# What an array says of the batch/v1 Job that it becomes.
_OF_ARRAYS = ("completions", "parallelism", "completionMode", "backoffLimitPerIndex", "maxFailedIndexes")


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
    per_task: bool = Field(
        default=False,
        description="Both jobs are arrays of as many tasks: each task waits for the task of its own number only.",
    )


class JobArray(Model):
    """The same work for many numbers: the tasks 0 to count - 1, each a pod that knows its number as ATOLL_TASK."""

    count: Annotated[int, Field(ge=1, le=MAX_TASKS)] = Field(description="How many tasks there are.")
    max_parallel: Annotated[int, Field(ge=1, le=MAX_TASKS)] | None = Field(
        default=None, description="How many run at once at most; as many as fit if unset."
    )


class GpuDemand(Model):
    """GPUs of one pod; `models` lists what will do, best first, and empty means any."""

    count: Annotated[int, Field(ge=1, le=4096)] = 1
    models: tuple[str, ...] = ()
    memory: Quantity | None = None


class PlacementRules(Model):
    """Where the job may run."""

    clusters: LabelSelector = Field(default_factory=LabelSelector)
    residency: tuple[str, ...] = ()


class JobSpec(Model):
    """What a researcher asks for."""

    queue: DnsSubdomain
    priority: Priority = 0
    inputs: tuple[JobInput, ...] = ()
    outputs: tuple[JobOutput, ...] = ()
    depends_on: Annotated[tuple[JobDependency, ...], Field(max_length=1000)] = Field(
        default=(), description="Jobs that must have ended before the first run; all of these must hold."
    )
    array: JobArray | None = Field(
        default=None,
        description="Makes the job an array of tasks. It begins on a cluster where one of them fits.",
    )
    gpu: GpuDemand | None = None
    placement: PlacementRules = Field(default_factory=PlacementRules)
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
    preemptible: bool = Field(
        default=True,
        description="Whether a run may be stopped for work that goes before it; its job then waits again, and no "
        "retry is used up. False: the job starts only within its queue's guarantee, where others were given one.",
    )
    checkpoint_interval: Duration | None = Field(
        default=None,
        description="How often the work saves where it is, such as 10m: no more than that is lost when it is stopped.",
    )
    retry_policy: RetryPolicy = Field(
        default_factory=RetryPolicy, description="When failed attempts are tried again, and which failures are none."
    )
    grace_period: Duration | None = Field(
        default=None,
        description="How long the pods may take to end after SIGTERM, before SIGKILL. Unset: as the pods say, and "
        "Kubernetes' 30s where they say nothing.",
    )
    stop_grace: Duration | None = Field(
        default=None,
        description="Set by cancel and requeue: how long pods that run may take to end, where they were given more.",
    )
    requeues: NonNegative = Field(
        default=0,
        description="Counted up by requeue: each asks once for the job to be stopped, and placed again.",
    )
    if_never_satisfied: Literal["Wait", "Cancel"] = Field(
        default="Wait", description="What becomes of the job if a dependency can never hold any more."
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

    @model_validator(mode="after")
    def _array_is_clear(self) -> "JobSpec":
        if wrong := array_problem(self):
            raise ValueError(wrong)
        return self

    @model_validator(mode="after")
    def _suits_its_workload(self) -> "JobSpec":
        if wrong := workload_problem(self):
            raise ValueError(wrong)
        return self

    @property
    def is_per_task(self) -> bool:
        """Whether tasks begin one by one, as those of another array end."""
        return any(each.per_task for each in self.depends_on)


def array_problem(spec: JobSpec) -> str:
    """Say what of a job contradicts its being an array, or being none; empty if nothing does."""
    if spec.array is None:
        return (
            "array: dependsOn with perTask is for arrays: say how many tasks this one has" if spec.is_per_task else ""
        )
    if (spec.workload.api_version, spec.workload.kind) != ("batch/v1", "Job"):
        return f"array: its tasks are those of a batch/v1 Job, and workload is a {spec.workload.kind}: leave it out"
    if said := [name for name in _OF_ARRAYS if spec.workload.spec.get(name) is not None]:
        return f"array: it says itself what workload.spec.{said[0]} says: leave that out"
    if any(rule.action == "Succeed" for rule in spec.retry_policy.rules):
        return "retryPolicy.rules: Succeed is for single jobs: the exit code of each task of an array is not known"
    if spec.is_per_task and spec.outputs:
        return (
            "outputs: an array with perTask runs in parts, and a version of a dataset is of one part: write elsewhere"
        )
    return ""


def workload_problem(spec: JobSpec) -> str:
    """Say what of a job its kind of workload cannot keep; empty if it keeps all."""
    adapter = spec.workload.adapter
    if spec.grace_period is not None and not adapter.has_grace:
        return f"gracePeriod: a {adapter} has no field for it: leave it out"
    return ""


class DependencyStatus(Model):
    """What has been seen of one dependency. One that has held holds, even once that job is deleted."""

    job: str = Field(description="The job, as namespace/name.")
    condition: JobEnd = Field(description="How it must have ended.")
    state: Literal["Missing", "Waiting", "Holds", "Never"] = Field(
        description="Missing: there was never such a job. Never: it ended otherwise, or was deleted before it ended."
    )
    phase: JobPhase | None = Field(default=None, description="Its phase; unset if there is no such job.")
    per_task: bool = Field(default=False, description="Whether each task waits for its own.")
    tasks: str | None = Field(
        default=None, description="With perTask: the tasks that it has let go, such as 0-41,43; Holds when all are."
    )


class ArrayStatus(Model):
    """How far the tasks of an array are. A task that failed and may be tried again is counted as waiting."""

    progress: str = Field(default="", description="How many have succeeded, of how many, in one word.")
    total: NonNegative = Field(default=0, description="How many tasks there are.")
    waiting: NonNegative = Field(default=0, description="Tasks that have not ended, and have no pod now.")
    running: NonNegative = Field(default=0, description="Tasks that have a pod now.")
    succeeded: NonNegative = Field(default=0, description="Tasks that have succeeded.")
    failed: NonNegative = Field(default=0, description="Tasks that have failed in the newest attempt.")
    succeeded_tasks: str = Field(default="", description="Those that have succeeded, such as 0-41,43.")
    failed_tasks: str = Field(default="", description="Those that have failed in the newest attempt.")


class RequeueStatus(Model):
    """What became of requests to be placed again."""

    answered: NonNegative = Field(default=0, description="How many of spec.requeues were answered.")
    failures_after: NonNegative = Field(
        default=0, description="The attempt after which failures count: the last one before an ended job was requeued."
    )
    tasks_after: NonNegative = Field(
        default=0,
        description="The attempt after which tasks count: the last one before a job that was done came again.",
    )


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
    retry_at: datetime | None = Field(
        default=None, description="When the next attempt may begin, while the job waits for that after a failure."
    )
    array: ArrayStatus | None = Field(default=None, description="How far the tasks of an array are.")
    requeue: RequeueStatus = Field(
        default_factory=RequeueStatus, description="What became of requests to be placed again."
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
    status: JobStatus = Field(default_factory=JobStatus)
