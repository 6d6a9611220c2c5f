"""What is counted of a Stream's readings, as its gateway says it and as Stream.status repeats it."""

from typing import Annotated

from pydantic import Field

from atoll.federation.resources.base import Model, NonNegative


class IntakeCounts(Model):
    """Counters since the gateway's outbox was made, and what waits in it."""

    received: NonNegative = 0
    committed: NonNegative = 0
    malformed: NonNegative = Field(
        default=0, description="Readings whose payload could not be read as its format; they are stored all the same."
    )
    refused: NonNegative = Field(default=0, description="Readings that were not stored, for the reason of lastRefusal.")
    last_refusal: str = Field(default="", description="Why a reading was refused last; absent if none ever was.")
    clock_fallbacks: NonNegative = Field(
        default=0, description="Readings without a credible time of their own, which have that of their arrival."
    )
    sequence_gaps: NonNegative = Field(default=0, description="Gaps that Sparkplug nodes left in their sequences.")
    rebirths: NonNegative = Field(default=0, description="Times that Sparkplug nodes were asked for a rebirth.")
    shed: NonNegative = Field(default=0, description="Readings given up for want of room, by the Stream's buffer.")
    damaged: NonNegative = Field(default=0, description="Readings that were lost with the gateway's disk.")
    outbox_readings: NonNegative = Field(default=0, description="Readings that wait in the gateway's outbox.")
    lag_seconds: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="How long the oldest of them has waited to be in a file."
    )
