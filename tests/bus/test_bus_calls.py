"""Requests over the bus: one answer, streamed answers, and what happens when a side goes away."""

import asyncio
import contextlib

import pytest

from atoll.federation.bus import calls
from atoll.federation.bus.capabilities import Capabilities
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import data_subject
from atoll.federation.errors import Internal, NotFound, Unavailable


async def test_a_request_is_answered(bus: Bus) -> None:
    async def upper(payload: bytes) -> bytes:
        return payload.upper()

    service = await bus.serve("rpc.x", upper)
    assert await bus.request("rpc.x", b"hello", timeout_seconds=5) == b"HELLO"
    await service.stop()


async def test_nobody_there_is_unavailable_at_once(bus: Bus) -> None:
    with pytest.raises(Unavailable, match="nobody answers"):
        await bus.request("rpc.nobody", b"", timeout_seconds=5)
    with pytest.raises(Unavailable, match="nobody answers"):
        async for _ in bus.request_many("rpc.nobody", b"", timeout_seconds=5):
            pass


async def test_a_message_does_not_hold_the_token_that_one_may_ask_by(bus: Bus) -> None:
    """People read why nobody answered; the subject's token is for those who may read the dataset."""
    subject = data_subject("cloud", "weather", Capabilities(b"key").reading("cloud", "weather"))
    with pytest.raises(Unavailable) as failure:
        await bus.request(subject, b"", timeout_seconds=5)
    assert str(failure.value) == "nobody answers on data.cloud.weather.*.read"


async def test_a_streamed_answer_comes_in_order_and_ends(bus: Bus) -> None:
    async def count(payload: bytes):
        for number in range(int(payload)):
            yield b"%d" % number

    service = await bus.serve_many("rpc.count", count)
    got = [chunk async for chunk in bus.request_many("rpc.count", b"50", timeout_seconds=5)]
    assert got == [b"%d" % number for number in range(50)]
    await service.stop()


async def test_a_failure_of_the_other_side_is_told(bus: Bus) -> None:
    async def fail(payload: bytes):
        yield b"first"
        raise NotFound("no such run")

    service = await bus.serve_many("rpc.fail", fail)
    with pytest.raises(Internal, match="no such run"):
        async for _ in bus.request_many("rpc.fail", b"", timeout_seconds=5):
            pass
    await service.stop()


async def test_the_answering_side_stops_when_the_asker_closes(bus: Bus) -> None:
    stopped = asyncio.Event()

    async def forever(payload: bytes):
        try:
            while True:
                yield b"tick"
                await asyncio.sleep(0.01)
        finally:
            stopped.set()

    service = await bus.serve_many("rpc.forever", forever)
    async with contextlib.aclosing(bus.request_many("rpc.forever", b"", timeout_seconds=5)) as chunks:
        async for _ in chunks:
            break
    await asyncio.wait_for(stopped.wait(), 5)
    await service.stop()


async def test_a_streamed_answer_waits_for_a_slow_reader(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the reader has not taken yet waits where it comes from; nothing of it is lost."""
    monkeypatch.setattr(calls, "WINDOW_BYTES", 10_000)
    monkeypatch.setattr(calls, "_TOLD_EVERY_BYTES", 2000)
    given = taken = ahead = 0

    async def much(payload: bytes):
        nonlocal given, ahead
        for number in range(200):
            given += 1
            ahead = max(ahead, given - taken)
            yield b"%03d" % number + bytes(997)

    service = await bus.serve_many("rpc.much", much)
    async for chunk in bus.request_many("rpc.much", b"", timeout_seconds=5):
        assert int(chunk[:3]) == taken
        taken += 1
        await asyncio.sleep(0)
    assert taken == 200
    assert ahead <= 14, "the window, what the reader tells late, and the chunk that waits"
    await service.stop()


async def test_no_server_is_told_within_the_wait() -> None:
    with pytest.raises(Unavailable, match=r"within 0\.3 s"):
        await Bus.connect("nats://127.0.0.1:1", name="test", wait_seconds=0.3)
