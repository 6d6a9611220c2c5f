"""How a cluster leaves: the last order that its agent gets, and the last report that the hub takes of it. No I/O."""

from datetime import datetime

from atoll.federation.bus.messages import Message

# Both are one key of the cluster: `farewell/cluster`.
FAREWELL, FAREWELL_KEY = "farewell", "cluster"


class FarewellOrder(Message):
    """desired: farewell/cluster. Remove what is left of Atoll's; `id` tells this leave from an earlier one."""

    id: str
    delete_data: bool = False
    at: datetime


class Leftover(Message):
    """One thing of Atoll's that stays in the cluster, and why."""

    what: str
    why: str


class FarewellReport(Message):
    """observed: farewell/cluster. Final once `is_done`; until then `waiting_for` says what is still going."""

    id: str
    is_done: bool = False
    waiting_for: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[Leftover, ...] = ()
    at: datetime
