"""The uplink goes on when the hub has room again, whatever the outbox held when it was refused."""

import asyncio
from pathlib import Path

import pytest
from datapath import GATEWAY, stream_order, until

from atoll.edge.gateway.drafts import Message
from atoll.edge.gateway.outbox import Outbox
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import RecentPackets
from atoll.edge.gateway.uplink import Uplink
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.subjects import lab_prefix, lab_stream, uplink_prefix


@pytest.mark.parametrize("count", [1, 15, 16, 17, 32])
async def test_refused_envelopes_are_sent_again_without_anything_new_to_wake_for(
    bus: Bus, tmp_path: Path, count: int
) -> None:
    stream, prefix, source = lab_stream(GATEWAY), lab_prefix(GATEWAY), uplink_prefix(GATEWAY)
    await bus.ensure_log(stream, prefix, max_bytes=100, taken_in=source)
    outbox = Outbox(tmp_path / "outbox.db", gateway=GATEWAY)
    packer = Packer((stream_order(),), recent=RecentPackets())
    for number in range(1, count + 1):
        outbox.store(packer.pack([Message(1, number, "lab/a/data", b"%d" % number, False, False, number)]), now=0)
    uplink = Uplink(outbox, gateway=GATEWAY)
    running = asyncio.create_task(uplink.run(bus))

    async def is_refused() -> bool:
        return "maximum bytes exceeded" in uplink.problem

    async def has_all() -> bool:
        return (await LogTrimmer(bus, stream).extent()).last_sequence == count and not uplink.problem

    await until(is_refused, 15)
    await bus.ensure_log(stream, prefix, max_bytes=1_000_000, taken_in=source)
    await until(has_all, 15)
    running.cancel()
    await asyncio.wait({running})
    outbox.close()
