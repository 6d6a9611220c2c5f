"""What comes to a version: an envelope, and what was noticed before it. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from atoll.edge.sink.form import Form
from atoll.federation.bus.envelope import Envelope


class Absent(NamedTuple):
    """Readings that will not come: numbers `first` to `last` of an outbox. Shed by its rule, or else a gap."""

    outbox: str
    first: int
    last: int
    is_shed: bool = False


class Arrival(NamedTuple):
    """An envelope on its way into a version.

    `absent` and `repeated` (a number of readings) were noticed in its Stream up to it, and not told of yet. `files` are
    those that its readings stand for, on the volume already.
    """

    envelope: Envelope
    form: Form
    absent: tuple[Absent, ...] = ()
    repeated: int = 0
    files: Sequence[Any] = ()
