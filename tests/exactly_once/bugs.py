"""Bugs to plant in a gateway or a sink, each the kind of slip that the proof is there to find. Loaded by run_edge.py.

Each is one wrong order or one thing forgotten; some also tarry, so that a kill meets them at the moment that matters.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

_TARRY_SECONDS = 0.15


def acknowledges_before_it_stores() -> None:
    from atoll.edge.gateway.intake import Intake

    run = Intake.run

    class Hasty:
        """A source that acknowledges what it gives."""

        def __init__(self, source: Any) -> None:
            self._source = source

        def __getattr__(self, name: str) -> Any:
            return getattr(self._source, name)

        async def receive(self) -> Any:
            batch = await self._source.receive()
            self._source.acknowledge(batch.messages)
            await asyncio.sleep(_TARRY_SECONDS)
            return batch

        def acknowledge(self, messages: Iterable[Any]) -> None:
            pass

    async def hasty_run(self: Intake, source: Any) -> None:
        await run(self, Hasty(source))

    Intake.run = hasty_run  # type: ignore[method-assign]


def forgets_what_it_was_sent() -> None:
    from atoll.edge.gateway.outbox import Outbox
    from atoll.edge.gateway.recent import RecentPackets

    store = Outbox.store

    def tarry(self: Outbox, *arguments: Any, **options: Any) -> Any:
        stored = store(self, *arguments, **options)
        time.sleep(_TARRY_SECONDS)
        return stored

    Outbox.store = tarry  # type: ignore[method-assign]
    RecentPackets.has = lambda self, packet: False  # type: ignore[method-assign]


def forwards_without_a_chain() -> None:
    from atoll.federation.bus.connection import Bus
    from atoll.federation.bus.log import LogWriter

    publish = Bus.publish

    async def find_no_end(self: LogWriter) -> tuple[str, str]:
        return "", ""

    async def publish_bare(self: Bus, subject: str, payload: bytes, **options: Any) -> None:
        await publish(self, subject, payload, **(options | {"headers": None}))

    LogWriter._find_end = find_no_end  # type: ignore[method-assign]
    Bus.publish = publish_bare  # type: ignore[method-assign]


def names_in_the_ledger_what_is_not_written() -> None:
    from atoll.edge.sink import growing

    write_at = growing.write_at

    def write_later(descriptor: int, data: Any, offset: int) -> None:
        import os

        late = os.dup(descriptor)
        threading.Timer(_TARRY_SECONDS, lambda: (write_at(late, data, offset), os.close(late))).start()

    growing.write_at = write_later


def forgets_what_is_in_files() -> None:
    from atoll.edge.sink import shelf
    from atoll.edge.sink.version import GrowingVersion

    take = GrowingVersion.take

    def take_again(self: GrowingVersion, arrivals: Any) -> None:
        self.ledger = self.ledger.model_copy(update={"marks": ()})
        take(self, arrivals)

    shelf.restore = lambda checkpoints: {}
    GrowingVersion.take = take_again  # type: ignore[method-assign]


# The bug, and whose death brings it out.
BUGS: dict[Callable[[], None], str] = {
    acknowledges_before_it_stores: "gateway",
    forgets_what_it_was_sent: "gateway",
    forwards_without_a_chain: "gateway",
    names_in_the_ledger_what_is_not_written: "sink",
    forgets_what_is_in_files: "sink",
}


def plant(name: str) -> None:
    """Plant a bug in this process."""
    next(bug for bug in BUGS if bug.__name__ == name)()
