"""The part of an agent's view of the mesh beside `MeshReport`: told only when it changes, which is seldom. No I/O."""

from datetime import datetime

from atoll.federation.bus.messages import Message
from atoll.federation.resources.base import NonNegative
from atoll.federation.resources.mesh import MeshService


class MeshServicesReport(Message):
    """observed: mesh/services. Those that other clusters use; `omitted` are too many to be told, the last by name."""

    services: tuple[MeshService, ...] = ()
    omitted: NonNegative = 0
    at: datetime
