"""What of a hub is backed up, and how it travels: a tar whose parts need no more memory than one of them.

Owns which streams these are, their order, and the names in the tar; `hub.json` comes first, `end.json` last. It must
not know who asks, nor what becomes of the bytes. Why these streams and no others: docs/adr/0040.
"""

import io
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import datetime

import orjson

from atoll import __version__
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.log import LogReader
from atoll.federation.bus.snapshots import Snapshot, exists, remove, snapshot
from atoll.federation.bus.subjects import DESIRED_STREAM, STATE_STREAM
from atoll.federation.errors import Conflict
from atoll.hub.access.audit import AUDIT_STREAM
from atoll.hub.access.token_table import ACCESS_STREAM
from atoll.hub.accounting.book import ACCOUNTS_PREFIX, ACCOUNTS_STREAM
from atoll.hub.accounting.checkpoints import SUMS_STREAM, Checkpoints
from atoll.hub.diagnosis.servers import lease
from atoll.hub.estimates.table import LEARNED_STREAM

STREAMS = (STATE_STREAM, ACCESS_STREAM, LEARNED_STREAM, SUMS_STREAM, ACCOUNTS_STREAM, AUDIT_STREAM)
"""In the order in which they are taken. Objects first: what the others tell of them may only be newer. Sums before the
records that they are of: a sum that is behind is brought up to date, one that is ahead would never be."""

PART_BYTES = 4 * 1024 * 1024
HEAD, END = "hub.json", "end.json"
# A lease that was renewed so lately may be that of a hub that is paused, or of a slow NATS.
_LEASE_SECONDS = 20.0


async def archive(bus: Bus, *, clock: Callable[[], datetime]) -> AsyncGenerator[bytes, None]:
    """Give the tar of a hub's state, while the hub goes on.

    Raises:
        Unavailable: NATS does not answer, or stopped in the middle.
    """
    yield _file(HEAD, orjson.dumps({"version": __version__, "at": clock().isoformat(), "streams": STREAMS}))
    messages = {}
    for stream in STREAMS:
        async with snapshot(bus, stream) as taken:
            messages[stream] = taken.head.messages
            head = {"config": taken.head.config, "state": taken.head.state}
            yield _file(f"streams/{stream}/stream.json", orjson.dumps(head))
            number = 0
            async for part in _parts(taken):
                number += 1
                yield _file(f"streams/{stream}/{number:06}", part)
    yield _file(END, orjson.dumps({"messages": messages, "at": clock().isoformat()}))
    yield bytes(2 * tarfile.BLOCKSIZE)


async def refuse_present(bus: Bus) -> None:
    """Find out that nothing would be replaced.

    Raises:
        Conflict: a stream of a hub's state is there. Unavailable: NATS does not answer.
    """
    present = [stream for stream in STREAMS if await exists(bus, stream)]
    if present:
        raise Conflict(f"a hub's state is there already: streams {', '.join(present)}")


async def refuse_leader(bus: Bus) -> None:
    """Find out that no hub works on the streams.

    Raises:
        Conflict: one leads. Unavailable: NATS does not answer.
    """
    if (await lease(bus, lease_seconds=_LEASE_SECONDS))["isHeld"]:
        raise Conflict("a hub is at work there: stop all hubs, wait for half a minute, and try again")


async def remove_all(own: Bus, field: Bus) -> None:
    """Remove a hub's state, and the orders that it gave: agents keep what runs until the next hub orders otherwise."""
    for stream in STREAMS:
        await remove(own, stream)
    await remove(field, DESIRED_STREAM)


async def settle(bus: Bus) -> None:
    """Bring into order what a restore of all streams leaves: they are new ones to whoever remembers the old."""
    records = await LogReader(bus, ACCOUNTS_STREAM, f"{ACCOUNTS_PREFIX}.>").extent()
    await Checkpoints(bus).rebind(records.created)


async def _parts(taken: Snapshot) -> AsyncIterator[bytes]:
    """Put chunks together: each part has a head of its own in the tar, and a checksum in the file."""
    part = io.BytesIO()
    async for chunk in taken.chunks():
        part.write(chunk)
        if part.tell() >= PART_BYTES:
            yield part.getvalue()
            part = io.BytesIO()
    if part.tell():
        yield part.getvalue()


def _file(name: str, content: bytes) -> bytes:
    """Write one file of a tar (POSIX.1-1988: a head and the content, each filled up to whole blocks)."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
