"""What an agent says of what a run's pods use at this moment. No I/O."""

from datetime import datetime

from pydantic import Field

from atoll.federation.bus.messages import Message
from atoll.federation.resources.base import NonNegative


class TopRequest(Message):
    """rpc top. Answered by one TopReport."""

    namespace: str
    run: str


class PodUse(Message):
    """One pod: what it asked for, and what it uses as far as its cluster measures it."""

    pod: str
    node: str = ""
    phase: str = ""
    started_at: datetime | None = None
    requested_millicores: NonNegative = 0
    requested_memory_bytes: NonNegative = 0
    requested_gpus: NonNegative = 0
    used_millicores: NonNegative | None = Field(default=None, description="Unset: not measured, or not yet.")
    used_memory_bytes: NonNegative | None = Field(default=None, description="Unset: not measured, or not yet.")


class TopReport(Message):
    """What all pods of a run use. `message` says why something is missing."""

    pods: tuple[PodUse, ...] = ()
    message: str = ""
