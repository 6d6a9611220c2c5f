"""Traffic of the log of lab a: entries from 1 on, written over every failure, and read back in order."""

import asyncio

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.log import LogReader
from atoll.federation.bus.log_writer import LogWriter
from atoll.federation.errors import AtollError

LOG, SUBJECT = "LAB_a", "lab.a.s"


async def write_all(bus: Bus, total: int, *, window: int, deadline_seconds: float, pause_seconds: float) -> None:
    """Write so many numbered entries; after each failure go on from what the log holds."""
    writer = LogWriter(bus, LOG, ident="one", window=window, deadline_seconds=deadline_seconds)
    while True:
        try:
            number = (await writer.resume()).number
            while number < total:
                number += 1
                await writer.append(number, SUBJECT, b"%d" % number)
                await asyncio.sleep(pause_seconds)
            await writer.flush()
            return
        except AtollError:
            await asyncio.sleep(0.1)


async def read_all(bus: Bus, count: int) -> list[bytes]:
    """Read from the start until there are so many entries."""
    got: list[bytes] = []
    async for batch in LogReader(bus, LOG, "lab.a.>").read(0):
        got += [entry.payload for entry in batch]
        if len(got) >= count:
            return got
    raise AssertionError("a reader goes on for ever")
