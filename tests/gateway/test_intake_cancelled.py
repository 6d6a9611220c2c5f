"""An intake that is cancelled while it stores (another broker is wanted) neither loses nor doubles what it packed."""

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from datapath import in_thread, stream_order

from atoll.edge.gateway.drafts import Message, Packed
from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.mqtt import Batch
from atoll.edge.gateway.outbox import Outbox, OutboxFull
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import RecentPackets
from atoll.federation.bus.envelope import decode


class Source:
    """A broker with some messages."""

    is_subscribed = True

    def __init__(self, *messages: Message) -> None:
        self._batches = [Batch([message]) for message in messages]
        self.acknowledged: list[int] = []

    async def receive(self) -> Batch:
        if not self._batches:
            await asyncio.Event().wait()
        return self._batches.pop(0)

    def acknowledge(self, messages: Iterable[Message]) -> None:
        self.acknowledged += [message.packet_id for message in messages]

    def publish(self, topic: str, payload: bytes) -> None:
        raise AssertionError(topic)


class SlowOutbox(Outbox):
    """Takes its time, or is full, until it is let go."""

    is_full = False

    def hold(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def store(self, packed: Packed, *, now: float) -> int:
        self.entered.set()
        if self.is_full:
            raise OutboxFull("the test wants it so")
        self.let_go.wait(20)
        return super().store(packed, now=now)


def reading(packet_id: int, *, dup: bool = False) -> Message:
    return Message(1, packet_id, "lab/a/data", b"%d" % packet_id, dup, False, 1)


@pytest.fixture
def outbox(tmp_path: Path) -> Any:
    outbox = SlowOutbox(tmp_path / "outbox.db", gateway="lab")
    outbox.hold()
    yield outbox
    outbox.close()


@pytest.mark.parametrize("is_full", [True, False])
async def test_what_was_packed_is_stored_once_whenever_the_intake_is_cancelled(
    outbox: SlowOutbox, is_full: bool
) -> None:
    packer = Packer((stream_order(end_of_run=None),), recent=RecentPackets())
    intake = Intake(outbox, packer, on_stored=lambda: None, on_files=lambda packed: None)
    outbox.is_full = is_full
    first = asyncio.create_task(intake.run(Source(reading(1))))
    await in_thread(lambda: outbox.entered.wait(20))
    first.cancel()
    outbox.is_full = False
    outbox.let_go.set()
    await asyncio.wait({first})
    source = Source(reading(1, dup=True), reading(2))
    second = asyncio.create_task(intake.run(source))
    async with asyncio.timeout(20):
        while source.acknowledged != [1, 2]:
            await asyncio.sleep(0.02)
    second.cancel()
    await asyncio.wait({second})
    envelopes = [decode(item.data) for item in outbox.read(0, limit=9)]
    assert [reading.payload for envelope in envelopes for reading in envelope.readings] == [b"1", b"2"]
