"""Reservation: capacity that is kept for one queue in a window of time.

Owns the model and what one reservation may say by itself; what of it there really is, the hub's controller tells.
"""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from atoll.federation.resources.base import Condition, DnsSubdomain, LabelSelector, Model, NonNegative, Resource
from atoll.federation.resources.queue import HeldAmounts, QuotaAmounts

ReservationPhase = Literal["Pending", "Active", "Ended"]


class ReservationSpec(Model):
    """What is kept for whom, where and when."""

    queue: DnsSubdomain = Field(description="Its jobs, and those of the queues below it, may use what is reserved.")
    starts: datetime = Field(
        description="When it begins, with an offset, such as 2026-12-01T08:00:00Z. Before that nothing starts there "
        "that would still run then, unless enough is left."
    )
    ends: datetime = Field(description="When it ends. Jobs that run then go on.")
    clusters: LabelSelector = Field(
        default=LabelSelector(), description="Clusters that it is kept on, by their labels; all if left out."
    )
    amounts: QuotaAmounts = Field(
        description="How much is kept, of all those clusters together. `gpuModels` is beside `gpus`, which may then be "
        "left out."
    )

    @model_validator(mode="after")
    def _can_be_kept(self) -> "ReservationSpec":
        for name, at in (("starts", self.starts), ("ends", self.ends)):
            if at.tzinfo is None:
                raise ValueError(f"{name} must say its offset from UTC, as in {at.isoformat()}Z")
        if self.ends <= self.starts:
            raise ValueError("ends must be later than starts")
        amounts = self.amounts.amounts()
        if not any(amounts.values()):
            raise ValueError("amounts must reserve something: give cpu, memory, gpus or gpuModels")
        models = sum(self.amounts.gpu_models.values())
        if self.amounts.gpus is not None and self.amounts.gpus < models:
            raise ValueError(
                f"amounts.gpus {self.amounts.gpus} is less than gpuModels together: write at least {models}"
            )
        return self


class ReservedOn(Model):
    """How much of a reservation is kept on one cluster."""

    cluster: str
    amounts: HeldAmounts = Field(description="What is kept there, used or not.")


class ReservationStatus(Model):
    """What there is of it."""

    phase: ReservationPhase = Field(
        default="Pending", description="Pending until it starts, Active in its window, Ended after."
    )
    reserved: HeldAmounts = Field(
        default=HeldAmounts(), description="What the clusters could hold of it at all; the rest is nowhere."
    )
    kept: str = Field(
        default="", description="How much could be kept of how much was asked for, such as 8/500 gpus; empty: not yet."
    )
    reason: str = Field(default="", description="Why not all of it can be kept; empty if it can.")
    free: HeldAmounts = Field(default=HeldAmounts(), description="What of it is free now for the queue.")
    held: HeldAmounts = Field(default=HeldAmounts(), description="What of it the queue's runs hold.")
    clusters: tuple[ReservedOn, ...] = Field(default=(), description="Where it is kept.")
    free_gpus: NonNegative = Field(default=0, description="The same as free.gpus.")
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class Reservation(Resource):
    """Capacity kept for a queue in a window of time."""

    description: ClassVar[str] = "Keeps capacity of some clusters for one queue in a window of time."

    kind: Literal["Reservation"] = "Reservation"
    spec: ReservationSpec
    status: ReservationStatus = ReservationStatus()
