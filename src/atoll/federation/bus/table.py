"""Tables: the last value per key under one subject prefix of a stream, with compare-and-set and a follow that heals.

It is the one mechanism behind the hub's objects, desired state and observed state. A revision is the stream's
sequence, so it grows over all keys of the stream. A deleted key is a tombstone message that NATS drops after a day.
A value above 512 KiB is stored in parts (`parts`), of which nobody outside learns.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from atoll.federation.bus.cursor import Cursor, CursorLost, Entry
from atoll.federation.bus.large_values import LargeValues
from atoll.federation.bus.parts import LARGEST_VALUE_BYTES, PART_BYTES, Head, Leftovers, part_of
from atoll.federation.bus.subjects import to_key, to_tokens
from atoll.federation.bus.tombstones import header_lines, is_tombstone, tombstone_headers
from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput, NotFound

if TYPE_CHECKING:
    from atoll.federation.bus.connection import Bus

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5
# Resuming from a sequence misses tombstones that have expired meanwhile; well below their one day of life.
_RESUMABLE_SECONDS = 3600.0
# How often a key is read again whose parts were gone when they were looked for: it was written anew in that moment.
_READS = 5


@dataclass(frozen=True)
class Change:
    """A key's newest value; None says that the key is gone.

    `stored_at` is when the server stored it, by the server's clock, in seconds since 1970; a follower gives it.
    """

    key: str
    value: bytes | None
    revision: int
    stored_at: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Write:
    """A write that is asked for. `value` None deletes; `expected` is what `Table.put` says of it."""

    key: str
    value: bytes | None
    expected: int | None = None

    @property
    def is_large(self) -> bool:
        """Whether it takes more than one message."""
        return len(self.value or b"") > PART_BYTES


@dataclass(frozen=True)
class Synced:
    """All that was there has been given; what follows is live. A key not given since the snapshot began is gone.

    `keys` names what is there, if the table is a member's own. `damaged` names keys that are there, but whose newest
    value cannot be read: what was known of them stands.
    """

    revision: int
    keys: frozenset[str] = field(default=frozenset(), compare=False)
    damaged: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass
class _Position:
    """How far a follower is: the newest revision given, when it was last in touch, and of which stream."""

    revision: int = 0
    touched_at: float = 0.0
    created: str = ""
    damaged: set[str] = field(default_factory=set)
    leftovers: Leftovers = field(default_factory=Leftovers)

    def begin(self) -> None:
        """Forget what was read: all of it comes again."""
        self.revision, self.damaged, self.leftovers = 0, set(), Leftovers()


class Table:
    """Keys such as `run/seismology/picks.1` and their newest values."""

    def __init__(
        self, bus: "Bus", stream: str, prefix: str, *, is_own: bool = False, keeps_history: bool = False
    ) -> None:
        """See Bus.table. With `is_own` nothing is asked about the stream: its table of subjects is not ours to see."""
        self._bus, self._stream, self._prefix, self._is_own = bus, stream, prefix, is_own
        self._keeps_history = keeps_history
        self._large = LargeValues(bus, stream)

    def _subject(self, key: str) -> str:
        return f"{self._prefix}.{to_tokens(key)}"

    def _key(self, subject: str) -> str:
        return to_key(subject[len(self._prefix) + 1 :])

    async def put(self, key: str, value: bytes, *, expected: int | None = None) -> int:
        """Write a value and give its revision once it is durable.

        Args:
            key: path of names joined by `/`.
            value: at most 16 MiB. Above 512 KiB it takes several messages, of which the last one counts.
            expected: revision of the key's last write; 0 means that the key must not exist; None writes anyway.

        Raises:
            Conflict: `expected` does not hold. Unavailable: the outcome is unknown. InvalidInput: it is too large.
        """
        return await self.write(Write(key, value, expected))

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        """Delete a key, with the same guard as `put`; give the tombstone's revision."""
        return await self.write(Write(key, None, expected))

    async def write(self, write: Write) -> int:
        """Do what `put` or `delete` does."""
        if not write.is_large:
            return await self._guarded(write, *self.message(write))
        value, subject = write.value or b"", self._subject(write.key)
        if len(value) > LARGEST_VALUE_BYTES:
            raise InvalidInput(f"{write.key} has {len(value)} bytes; at most {LARGEST_VALUE_BYTES} can be stored there")
        head = await self._large.write(subject, value)
        try:
            return await self._guarded(write, subject, b"", _guard(write) | head.headers())
        except Conflict:
            if not self._is_own:
                await self._large.remove(subject, head.set_name)
            raise

    async def _guarded(self, write: Write, subject: str, payload: bytes, headers: dict[str, str]) -> int:
        try:
            return await self._bus.store(subject, payload, headers)
        except Conflict as conflict:
            last = await self._last(write.key)
            current = last.revision if last else 0
            if write.expected == 0 and last and last.is_gone:  # absent, but its tombstone has a sequence
                on_top = replace(write, expected=current)
                return await self._guarded(on_top, subject, payload, headers | _guard(on_top))
            text = f"{write.key} changed: expected revision {write.expected}, found {current}"
            raise Conflict(text, current) from conflict

    def message(self, write: Write) -> tuple[str, bytes, dict[str, str]]:
        """Give subject, payload and headers of the one message that a write is that is not large."""
        headers = tombstone_headers(has_history=self._keeps_history) if write.value is None else {}
        return self._subject(write.key), write.value or b"", headers | _guard(write)

    async def holds(self, write: Write) -> bool:
        """Tell whether a write's expectation held just now, as the server takes it: a tombstone's sequence counts."""
        last = await self._last(write.key)
        return write.expected is None or write.expected == (last.revision if last else 0)

    async def get(self, key: str) -> Change | None:
        """Read a key from the stream's leader; None if it does not exist.

        Raises:
            Internal: it is there and cannot be read. Unavailable: NATS does not answer.
        """
        problem = ""
        for _ in range(_READS):
            last = await self._last(key)
            if last is None or last.is_gone:
                return None
            try:
                head = Head.read(last.headers)
                value = last.payload if head is None else await self._large.read(self._subject(key), head)
            except InvalidInput as error:
                problem = str(error)
            else:
                return Change(key, value, last.revision)
        raise Internal(f"{key} cannot be read: {problem}")

    async def _last(self, key: str) -> "_Last | None":
        try:
            answer = await self._bus.api(f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": self._subject(key)})
        except NotFound:
            return None
        message: dict[str, Any] = answer["message"]
        headers = header_lines(base64.b64decode(message.get("hdrs", "")))
        return _Last(int(message["seq"]), base64.b64decode(message.get("data", "")), headers)

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
                position.begin()
                # Tombstones count as pending, so this is reached exactly when the snapshot has been given.
                if pending == 0:
                    position.revision = last
                    yield Synced(last)
            unsynced, given = whole and pending > 0, set[str]()
            async for batch in cursor.batches():
                for entry in batch:
                    change = await self._taken(entry, position)
                    # What was gone before was never given; what goes while the snapshot is given may have been.
                    was_given = change and (change.key in given if self._is_own else entry.sequence > last)
                    if change and (was_given or change.value is not None or not unsynced):
                        if unsynced and self._is_own:
                            (given.discard if change.value is None else given.add)(change.key)
                        yield change
                    if unsynced and entry.pending == 0:
                        unsynced = False
                        damaged = frozenset(position.damaged)
                        yield Synced(entry.sequence, frozenset(given) | damaged, damaged)
                await self._clean(position.leftovers.abandoned(batch[-1].stored_at))

    async def _taken(self, entry: Entry, position: _Position) -> Change | None:
        """Give the change that a message is; None for a part, and for the head of a value that cannot be read."""
        if part := part_of(entry.subject):
            # A follower that is cut off here begins again behind the last value, so before the first part.
            position.leftovers.part(*part, entry.stored_at)
            return None
        key, value, set_name = self._key(entry.subject), entry.payload, ""
        try:
            if head := Head.read(entry.headers):
                value, set_name = await self._large.read(entry.subject, head), head.set_name
        except InvalidInput as error:  # mostly a newer value has taken its place meanwhile, and comes next
            position.revision = entry.sequence
            position.damaged.add(key)
            tell = log.debug if entry.pending else log.warning
            tell("a value in parts cannot be read", stream=self._stream, key=key, reason=str(error))
            return None
        position.revision = entry.sequence
        position.damaged.discard(key)
        stale = position.leftovers.value(entry.subject, set_name, entry.stored_at)
        await self._clean([(entry.subject, name) for name in stale])
        return Change(key, None if is_tombstone(entry.headers) else value, entry.sequence, entry.stored_at)

    async def _clean(self, stale: Sequence[tuple[str, str]]) -> None:
        """Remove sets of parts that nothing needs; members may not, so the hub does it for them."""
        for subject, set_name in () if self._is_own else stale:
            await self._large.remove(subject, set_name)


@dataclass(frozen=True)
class _Last:
    """The newest message of a key, as it is stored."""

    revision: int
    payload: bytes
    headers: Mapping[str, str]

    @property
    def is_gone(self) -> bool:
        return is_tombstone(self.headers)


def _guard(write: Write) -> dict[str, str]:
    return {} if write.expected is None else {"Nats-Expected-Last-Subject-Sequence": str(write.expected)}
