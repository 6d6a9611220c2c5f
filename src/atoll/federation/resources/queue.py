"""Queue: who may run how much. A tree by `parent`; this version orders work within one queue by priority, then age."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from atoll.federation.resources.base import Condition, DnsSubdomain, Model, NonNegative, Resource


class QueueSpec(Model):
    """What a platform engineer grants."""

    parent: DnsSubdomain | None = None
    weight: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    seconds_per_currency: Annotated[float, Field(ge=0)] = Field(
        default=60.0,
        description="How many seconds of waiting are worth one unit of money: turns cost into the score's unit.",
    )
    max_gpus: NonNegative | None = Field(
        default=None, description="GPUs that this queue's runs may hold at once; unlimited if unset."
    )


class QueueStatus(Model):
    """What the queue's jobs do now."""

    pending: NonNegative = 0
    running: NonNegative = 0
    used_gpus: NonNegative = 0
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
