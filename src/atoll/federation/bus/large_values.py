"""Values above 512 KiB on the wire: writes, reads and removes their sets of parts. What a set is stands in `parts`.

Owns the order of the writes (all parts are durable before the head goes out) and the reading of one set. It must not
know what a key means, nor which head counts.
"""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import structlog

from atoll.federation.bus.cursor import Cursor, CursorLost
from atoll.federation.bus.parts import LARGEST_VALUE_BYTES, WRITE_SECONDS, Head, set_subjects, split
from atoll.federation.errors import AtollError, InvalidInput, Unavailable

if TYPE_CHECKING:
    from atoll.federation.bus.connection import Bus

log = structlog.get_logger(__name__)

# Parts under way at once. More would fill the send buffer of a slow link, and its signs of life would come too late.
_PARALLEL = 4


class LargeValues:
    """The sets of parts of one stream."""

    def __init__(self, bus: "Bus", stream: str) -> None:
        self._bus, self._stream = bus, stream

    async def write(self, subject: str, value: bytes) -> Head:
        """Store all parts of a value; give the head that makes them one.

        Raises:
            Unavailable: not all of them are stored, or it took so long that they may be taken for garbage by now.
        """
        began, head = time.monotonic(), Head.of(value)
        slots = asyncio.Semaphore(_PARALLEL)

        async def store(place: str, part: bytes) -> None:
            async with slots:
                await self._bus.store(place, part)

        writes = [
            asyncio.ensure_future(store(*part)) for part in zip(head.subjects(subject), split(value), strict=True)
        ]
        try:
            await asyncio.gather(*writes)
        finally:
            for write in writes:
                write.cancel()
        if time.monotonic() - began > WRITE_SECONDS:
            raise Unavailable(f"a value of {len(value)} bytes took longer than {WRITE_SECONDS:g} s to send")
        return head

    async def read(self, subject: str, head: Head) -> bytes:
        """Read the value that a head names.

        Raises:
            InvalidInput: its parts are not all there, or are not what it says. Unavailable: NATS does not answer.
        """
        cursor = Cursor(self._bus, self._stream, set_subjects(subject, head.set_name))
        try:
            async with cursor.open(None) as pending:
                return head.join(await self._collect(cursor, subject, head) if pending else [])
        except CursorLost as lost:
            raise Unavailable(f"a value in parts could not be read: {lost}") from lost

    async def _collect(self, cursor: Cursor, subject: str, head: Head) -> list[bytes]:
        found: dict[str, bytes] = {}
        size = 0
        async with contextlib.aclosing(cursor.batches()) as batches:  # type: ignore[type-var]  # an async generator
            async for batch in batches:
                for entry in batch:
                    found[entry.subject] = entry.payload
                    size += len(entry.payload)
                    if size > LARGEST_VALUE_BYTES:
                        raise InvalidInput("the parts are larger than the head says")
                if batch[-1].pending == 0:
                    break
        return [found[place] for place in head.subjects(subject) if place in found]

    async def remove(self, subject: str, set_name: str) -> None:
        """Remove a set that nothing names any more; one that stays for now is found again later."""
        try:
            await self._bus.api(f"STREAM.PURGE.{self._stream}", {"filter": set_subjects(subject, set_name)})
        except AtollError as error:
            log.debug("parts that nothing needs could not be removed", stream=self._stream, reason=str(error))
