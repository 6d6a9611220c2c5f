"""Buffer: how much of a Stream a gateway keeps while the hub is away, and what gives way when that is full.

Owns the model. What a gateway does by it is edge/gateway/buffers'.
"""

from typing import Annotated, Literal

from pydantic import Field

from atoll.federation.resources.base import Duration, Model

WhenFull = Literal["Refuse", "Oldest", "Sample"]
# A Stream's room must hold at least one batch of what it gets, or it could take nothing in.
LEAST_BUFFER_BYTES = 100_000


class Buffer(Model):
    """A Stream's part of its gateway's outbox. Only what the hub does not have yet can be shed."""

    bytes: Annotated[int, Field(ge=LEAST_BUFFER_BYTES)] | None = Field(
        default=None,
        description="Most that waits of this Stream, exceeded by one batch at most; absent: all of the outbox.",
    )
    age: Duration | None = Field(
        default=None,
        description="Longest that a reading waits, counted while the gateway runs; absent: as long as it takes.",
    )
    when_full: WhenFull = Field(
        default="Refuse",
        description="Refuse: nothing more is acknowledged, so the broker keeps it, and nothing is lost. Oldest: the "
        "oldest readings are shed. Sample: of the oldest, each `keep`-th stays; where that is not enough, of those "
        "again each `keep`-th. What is shed is counted in the ledger of its dataset.",
    )
    keep: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=10, description="With Sample: one reading in so many stays, those whose number is a multiple of it."
    )
