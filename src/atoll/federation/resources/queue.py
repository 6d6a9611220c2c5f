"""Queue: who may run how much. A tree by `parent`, with what each queue is guaranteed, may hold at most, and weighs.

Owns the models and what one Queue may say by itself. What several say together is no matter of validation: in which
order they are applied must not count (federation/queueing tells it in a condition).
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from atoll.federation.capacity import parse_bytes, parse_millicores
from atoll.federation.resources.base import Condition, DnsSubdomain, Model, NonNegative, Quantity, Resource
from atoll.federation.resources.budget import Budget, BudgetStatus
from atoll.federation.resources.job import Priority
from atoll.federation.resources.submitter import Submitters


class QuotaAmounts(Model):
    """An amount of each resource; one that is left out is not spoken of."""

    cpu: Quantity | None = Field(default=None, description="CPU cores, such as 64 or 500m.")
    memory: Quantity | None = Field(default=None, description="Memory, such as 256Gi.")
    gpus: NonNegative | None = Field(default=None, description="GPUs of any model.")
    gpu_models: dict[str, NonNegative] = Field(
        default_factory=dict,
        description="GPUs by model, such as A100. A job counts for every model here that it may get.",
    )

    def amounts(self) -> dict[str, int]:
        """Give what is spoken of by its path: CPU in millicores, memory in bytes, GPUs in pieces."""
        given = {f"gpuModels.{model}": count for model, count in self.gpu_models.items()}
        if self.cpu is not None:
            given["cpu"] = parse_millicores(self.cpu)
        if self.memory is not None:
            given["memory"] = parse_bytes(self.memory)
        if self.gpus is not None:
            given["gpus"] = self.gpus
        return given


class QueueQuota(Model):
    """What a queue is sure of, and what it may hold at most; between the two it borrows what others leave unused."""

    guaranteed: QuotaAmounts = Field(
        default=QuotaAmounts(),
        description="While it holds less than this, its jobs go before those of queues that hold more than theirs.",
    )
    limit: QuotaAmounts = Field(
        default=QuotaAmounts(), description="What it, with the queues below it, may hold at once; unlimited if unset."
    )


class UserQuota(Model):
    """What the jobs of one user may hold at once in a queue and the queues below it."""

    limit: QuotaAmounts = Field(default=QuotaAmounts(), description="Unlimited where nothing is said.")
    max_running_jobs: NonNegative | None = Field(
        default=None, description="Jobs of one user that may run at once; unlimited if unset."
    )

    @property
    def is_unlimited(self) -> bool:
        """Whether it says nothing."""
        return self.max_running_jobs is None and not self.limit.amounts()


class PriorityRange(Model):
    """Which priorities the jobs of a queue may have."""

    lowest: Priority | None = Field(default=None, description="The lowest priority that is allowed.")
    highest: Priority | None = Field(default=None, description="The highest priority that is allowed.")


class QueuePreemption(Model):
    """Whose running work gives way to this queue's waiting jobs when there is no room."""

    within_queue: Literal["Never", "LowerPriority"] = Field(
        default="Never", description="LowerPriority: runs of lower priority of this queue and the queues below it."
    )
    across_queues: Literal["Never", "LowerPriority"] = Field(
        default="Never",
        description="LowerPriority: runs of lower priority of all queues under the same top, unless a guarantee of "
        "theirs covers them.",
    )
    reclaim: Literal["Never", "Borrowed"] = Field(
        default="Borrowed",
        description="Borrowed: what others hold beyond their guarantee gives way to jobs that are within this one's.",
    )


class QueueSpec(Model):
    """What a platform engineer grants."""

    parent: DnsSubdomain | None = None
    weight: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    seconds_per_currency: Annotated[float, Field(ge=0)] = Field(
        default=60.0,
        description="How many seconds of waiting are worth one unit of money: turns cost into the score's unit.",
    )
    quota: QueueQuota = Field(default=QueueQuota(), description="What the queue is sure of, and its limits.")
    max_gpus: NonNegative | None = Field(default=None, description="Short for quota.limit.gpus.")
    max_running_jobs: NonNegative | None = Field(
        default=None, description="Jobs that may run at once in it and the queues below it; unlimited if unset."
    )
    per_user: UserQuota = Field(default=UserQuota(), description="What each user may hold of it at once.")
    budgets: Annotated[tuple[Budget, ...], Field(max_length=16)] = Field(
        default=(), description="What may be spent in it and the queues below it in each period; all of them hold."
    )
    submitters: Submitters = Field(
        default=Submitters(),
        description="Who may submit jobs to it and the queues below it, beside whom the queues above name; everybody "
        "whose role allows it if no queue of the line names anybody.",
    )
    priorities: PriorityRange = Field(
        default=PriorityRange(), description="A job whose priority is outside of this range waits until it is changed."
    )
    preemption: QueuePreemption = Field(
        default=QueuePreemption(),
        description="When runs are stopped for jobs of this queue. Only runs of preemptible jobs ever are.",
    )

    @property
    def limits(self) -> dict[str, int]:
        """What the queue may hold, by path within `quota.limit`, with the short form read."""
        short = {} if self.max_gpus is None else {"gpus": self.max_gpus}
        return {**short, **self.quota.limit.amounts()}

    @model_validator(mode="after")
    def _does_not_contradict_itself(self) -> "QueueSpec":
        found = tuple(self._contradictions())
        if found:
            raise ValueError("; ".join(found))
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.max_gpus is not None and self.quota.limit.gpus not in (None, self.max_gpus):
            yield f"maxGpus {self.max_gpus} and quota.limit.gpus {self.quota.limit.gpus} contradict: leave maxGpus out"
        limits = self.limits
        for path, amount in sorted(self.quota.guaranteed.amounts().items()):
            if path in limits and amount > limits[path]:
                yield f"quota.guaranteed.{path} is more than quota.limit.{path}: lower the one or raise the other"
        lowest, highest = self.priorities.lowest, self.priorities.highest
        if lowest is not None and highest is not None and lowest > highest:
            yield f"priorities.lowest {lowest} is more than priorities.highest {highest}: exchange them"


class HeldAmounts(Model):
    """An amount of every resource, in whole units."""

    millicores: NonNegative = Field(default=0, description="CPU in thousandths of a core.")
    memory_bytes: NonNegative = Field(default=0, description="Memory in bytes.")
    gpus: NonNegative = Field(default=0, description="GPUs of any model.")
    gpu_models: dict[str, NonNegative] = Field(
        default_factory=dict, description="GPUs by model, of the models that some queue's quota names."
    )


class PastUse(Model):
    """What a queue held on average: what it held a half-life ago counts half as much as what it holds now."""

    at: datetime = Field(description="The moment for which the averages hold; from then on it has held `used`.")
    millicores: Annotated[float, Field(ge=0)] = Field(default=0.0, description="CPU in thousandths of a core.")
    memory_bytes: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Memory in bytes.")
    gpus: Annotated[float, Field(ge=0)] = Field(default=0.0, description="GPUs of any model.")
    half_life_seconds: Annotated[float, Field(gt=0)] = Field(description="After which an average counts half.")


class QueueStatus(Model):
    """What the jobs of the queue, and of those below it, do and hold now."""

    pending: NonNegative = 0
    barred: NonNegative = Field(
        default=0,
        description="Those of pending that no room would let start: held, waiting for other jobs, beyond a budget, or "
        "asking for more than their queue may ever hold or any cluster has.",
    )
    running: NonNegative = 0
    used_gpus: NonNegative = 0
    used: HeldAmounts = Field(default=HeldAmounts(), description="What its runs hold.")
    borrowed: HeldAmounts = Field(default=HeldAmounts(), description="What of it is beyond quota.guaranteed.")
    share: float = Field(
        default=0.0, description="The part of the federation that it holds, of the resource of which that is largest."
    )
    fair_share: float = Field(
        default=0.0, description="The part of the federation that its weight, and those above it, would give it."
    )
    past: PastUse | None = Field(default=None, description="What it held on average; unset before it held anything.")
    budgets: tuple[BudgetStatus, ...] = Field(default=(), description="How each budget of the spec stands, in order.")
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class Queue(Resource):
    """A share of the federation's capacity."""

    description: ClassVar[str] = (
        "A queue that jobs wait in, with the share and the price of time that its users were given."
    )

    kind: Literal["Queue"] = "Queue"
    spec: QueueSpec = QueueSpec()
    status: QueueStatus = QueueStatus()
