"""Tables: the last value per key under one subject prefix of a stream, with compare-and-set and a follow that heals.

It is the one mechanism behind the hub's objects, desired state and observed state. A revision is the stream's
sequence, so it grows over all keys of the stream. A deleted key is a tombstone message that NATS drops after a day.
A value above 512 KiB is stored in parts (`parts`), of which nobody outside learns.
"""

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.extent import StreamExtent
from atoll.federation.bus.follower import Follower, Source
from atoll.federation.bus.large_values import LargeValues
from atoll.federation.bus.parts import LARGEST_VALUE_BYTES, PART_BYTES, Head
from atoll.federation.bus.subjects import BARRIER, to_tokens
from atoll.federation.bus.tombstones import header_lines, is_tombstone, tombstone_headers
from atoll.federation.errors import Conflict, Internal, InvalidInput, NotFound

if TYPE_CHECKING:
    from atoll.federation.bus.connection import Bus

# How often a key is read again whose parts were gone when they were looked for: it was written anew in that moment.
_READS = 5


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
        return (await StreamExtent.read(self._bus, self._stream)).last_sequence

    async def identity(self) -> str:
        """Tell streams apart that bear the same name: it differs once the stream was made anew."""
        return (await StreamExtent.read(self._bus, self._stream)).created

    async def barrier(self) -> int | None:
        """Write a key into the table and give its revision: a follower that has come so far has all that stood there.

        The leader gives revisions, whereas who is read may be behind. None: the credentials are of a hub that did not
        know of it.

        Raises:
            Unavailable: the outcome is unknown; the same again does no harm.
        """
        return await self.put(BARRIER, b"") if self._bus.login.names(self._subject(BARRIER)) else None

    def follow(self, under: str = "", *, known: int = 0) -> AsyncIterator[Change | Synced]:
        """Give every live key, then `Synced`, then changes as they happen; for ever (see `Follower`).

        Args:
            under: give only keys below this one, such as `run`.
            known: the newest revision of these keys that the caller has seen, in whichever life.
        """
        subject_filter = f"{self._subject(under)}.>" if under else f"{self._prefix}.>"
        source = Source(self._bus, self._stream, subject_filter, self._prefix, self._large, is_own=self._is_own)
        return Follower(source, known).run()


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
