"""Tables: the last value per key under one subject prefix of a stream, with compare-and-set and a follow that heals.

It is the one mechanism behind the hub's objects, desired state and observed state. A revision is the stream's
sequence, so it grows over all keys of the stream. A deleted key is a tombstone message that NATS drops after a day.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from atoll.federation.bus.connection import is_tombstone, tombstone_headers
from atoll.federation.bus.cursor import Cursor, CursorLost, Entry
from atoll.federation.bus.subjects import to_key, to_tokens
from atoll.federation.errors import AtollError, Conflict, NotFound

if TYPE_CHECKING:
    from atoll.federation.bus.connection import Bus

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5
# Resuming from a sequence misses tombstones that have expired meanwhile; well below their one day of life.
_RESUMABLE_SECONDS = 3600.0


@dataclass(frozen=True)
class Change:
    """A key's newest value; None says that the key is gone."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True)
class Write:
    """A write that is asked for. `value` None deletes; `expected` is what `Table.put` says of it."""

    key: str
    value: bytes | None
    expected: int | None = None


@dataclass(frozen=True)
class Synced:
    """All that was there has been given; what follows is live. A key not given since the snapshot began is gone.

    `keys` names what the snapshot gave, if the table is a member's own.
    """

    revision: int
    keys: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass
class _Position:
    """How far a follower is: the newest revision given, when it was last in touch, and of which stream."""

    revision: int = 0
    touched_at: float = 0.0
    created: str = ""


class Table:
    """Keys such as `run/seismology/picks.1` and their newest values."""

    def __init__(self, bus: "Bus", stream: str, prefix: str, *, is_own: bool = False) -> None:
        """See Bus.table. With `is_own` nothing is asked about the stream: its table of subjects is not ours to see."""
        self._bus, self._stream, self._prefix, self._is_own = bus, stream, prefix, is_own

    def _subject(self, key: str) -> str:
        return f"{self._prefix}.{to_tokens(key)}"

    async def put(self, key: str, value: bytes, *, expected: int | None = None) -> int:
        """Write a value and give its revision once it is durable.

        Args:
            key: path of names joined by `/`.
            value: at most 512 KiB.
            expected: revision of the key's last write; 0 means that the key must not exist; None writes anyway.

        Raises:
            Conflict: `expected` does not hold. Unavailable: the outcome is unknown.
        """
        return await self.write(Write(key, value, expected))

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        """Delete a key, with the same guard as `put`; give the tombstone's revision."""
        return await self.write(Write(key, None, expected))

    async def write(self, write: Write) -> int:
        """Do what `put` or `delete` does."""
        try:
            return await self._bus.store(*self.message(write))
        except Conflict as conflict:
            last = await self._last(write.key)
            current = last[0].revision if last else 0
            if write.expected == 0 and last and last[0].value is None:  # absent, but its tombstone has a sequence
                return await self.write(replace(write, expected=current))
            text = f"{write.key} changed: expected revision {write.expected}, found {current}"
            raise Conflict(text, current) from conflict

    def message(self, write: Write) -> tuple[str, bytes, dict[str, str]]:
        """Give subject, payload and headers of the message that a write is."""
        headers = tombstone_headers() if write.value is None else {}
        if write.expected is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(write.expected)
        return self._subject(write.key), write.value or b"", headers

    async def holds(self, write: Write) -> bool:
        """Tell whether a write's expectation held just now, as the server takes it: a tombstone's sequence counts."""
        last = await self._last(write.key)
        return write.expected is None or write.expected == (last[0].revision if last else 0)

    async def get(self, key: str) -> Change | None:
        """Read a key from the stream's leader; None if it does not exist."""
        last = await self._last(key)
        return last[0] if last and last[0].value is not None else None

    async def _last(self, key: str) -> tuple[Change] | None:
        try:
            answer = await self._bus.api(f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": self._subject(key)})
        except NotFound:
            return None
        message: dict[str, Any] = answer["message"]
        head = base64.b64decode(message.get("hdrs", ""))
        gone = b"Atoll-Deleted:" in head or b"Nats-Marker-Reason:" in head
        value = None if gone else base64.b64decode(message.get("data", ""))
        return (Change(key, value, int(message["seq"])),)

    async def last_revision(self) -> int:
        """Give the newest revision of the whole stream."""
        return (await self._info())[1]

    async def identity(self) -> str:
        """Tell streams apart that bear the same name: it differs once the stream was made anew."""
        return (await self._info())[0]

    async def _info(self) -> tuple[str, int]:
        answer = await self._bus.api(f"STREAM.INFO.{self._stream}")
        return str(answer.get("created", "")), int(answer["state"]["last_seq"])

    async def follow(self, under: str = "") -> AsyncIterator[Change | Synced]:
        """Give every live key, then `Synced`, then changes as they happen; for ever.

        Survives lost connections and killed servers. Where it cannot be sure that nothing was missed, the snapshot
        starts again, closed by another `Synced`.

        Args:
            under: give only keys below this one, such as `run`.
        """
        subject_filter = f"{self._subject(under)}.>" if under else f"{self._prefix}.>"
        position = _Position()
        while True:
            try:
                async for item in self._read(subject_filter, position):
                    position.touched_at = time.monotonic()
                    yield item
            except CursorLost as lost:
                log.debug("a table is read again", stream=self._stream, filter=subject_filter, reason=str(lost))
            except AtollError as error:
                log.debug("a table cannot be read", stream=self._stream, filter=subject_filter, reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self, subject_filter: str, position: _Position) -> AsyncIterator[Change | Synced]:
        # One's own part is small: it is read again as a whole after every doubt.
        created, last = ("", 0) if self._is_own else await self._info()
        whole = (
            self._is_own
            or position.created != created
            or last < position.revision
            or time.monotonic() - position.touched_at > _RESUMABLE_SECONDS
        )
        position.created = created
        cursor = Cursor(self._bus, self._stream, subject_filter)
        async with cursor.open(None if whole else position.revision + 1) as pending:
            if whole:
                position.revision = 0
                # Tombstones count as pending, so this is reached exactly when the snapshot has been given.
                if pending == 0:
                    position.revision = last
                    yield Synced(last)
            unsynced, given = whole and pending > 0, set[str]()
            async for batch in cursor.batches():
                for entry in batch:
                    position.revision = entry.sequence
                    if not (unsynced and is_tombstone(entry.headers)):
                        change = self._change(entry)
                        if unsynced and self._is_own:
                            given.add(change.key)
                        yield change
                    if unsynced and entry.pending == 0:
                        unsynced = False
                        yield Synced(entry.sequence, frozenset(given))

    def _change(self, entry: Entry) -> Change:
        key = to_key(entry.subject[len(self._prefix) + 1 :])
        return Change(key, None if is_tombstone(entry.headers) else entry.payload, entry.sequence)
