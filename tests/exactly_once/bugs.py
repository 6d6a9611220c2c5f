"""Bugs to plant in a gateway or a sink, each the kind of slip that the proof is there to find. Loaded by run_edge.py.

Each is one wrong order or one thing forgotten; some also tarry, so that a kill meets them at the moment that matters.
"""

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
    from atoll.federation.bus.log_writer import LogWriter

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


def stores_without_a_sync() -> None:
    from atoll.edge.gateway.database import Database

    prepare = Database._prepare

    def prepare_carelessly(self: Database) -> None:
        prepare(self)
        self._db.execute("PRAGMA synchronous=OFF")

    Database._prepare = prepare_carelessly  # type: ignore[method-assign]


def commits_without_a_sync_of_files() -> None:
    _leave_out_syncs(lambda descriptor: stat.S_ISREG(os.fstat(descriptor).st_mode))


def commits_without_a_sync_of_folders() -> None:
    _leave_out_syncs(lambda descriptor: stat.S_ISDIR(os.fstat(descriptor).st_mode))


def _leave_out_syncs(wanted: Callable[[int], bool]) -> None:
    """Leave out syncs of this process but for SQLite's, which does not ask Python."""
    sync = os.fsync
    os.fsync = lambda descriptor: None if wanted(descriptor) else sync(descriptor)


@dataclass(frozen=True)
class Symptom:
    """Whose death brings a bug out, and what the witness must say of it then (a regular expression)."""

    victim: str
    witness: str


LOST = r"[1-9]\d* missing, 0 twice"
UNREADABLE = r"the ledger names|[1-9]\d* that were not to be there"

BUGS: dict[Callable[[], None], Symptom] = {
    acknowledges_before_it_stores: Symptom("gateway", LOST),
    forgets_what_it_was_sent: Symptom("gateway", r"[1-9]\d* twice"),
    forwards_without_a_chain: Symptom("gateway", r"ledger says duplicates"),
    names_in_the_ledger_what_is_not_written: Symptom("sink", UNREADABLE),
    forgets_what_is_in_files: Symptom("sink", r"[1-9]\d* twice"),
}
# Those that no kill brings out, only a power cut.
BUGS_OF_SYNCS: dict[Callable[[], None], Symptom] = {
    stores_without_a_sync: Symptom("gateway", LOST),
    commits_without_a_sync_of_files: Symptom("sink", r"the ledger is not readable"),
    commits_without_a_sync_of_folders: Symptom("sink", r"[1-9]\d* readings were in files; 0 are"),
}


def plant(name: str) -> None:
    """Plant a bug in this process."""
    next(bug for bug in (*BUGS, *BUGS_OF_SYNCS) if bug.__name__ == name)()
