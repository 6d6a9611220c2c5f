"""The relay between a cluster and the hub: a black hole while it is cut, a long way while it is slow, nothing lost."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from atoll.sandbox.faults.relay import Relay
from atoll.sandbox.serving import listen

PATIENCE = 0.3
"""Far longer than loopback takes: what has not come by then is held back."""


@dataclass
class Way:
    """A relay with an echo behind it."""

    relay: Relay
    port: int
    heard: list[bytes] = field(default_factory=list)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    """A relay to a server that answers with what it hears."""
    heard: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                heard.append(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        relay, listener = Relay(server.sockets[0].getsockname()[1]), listen(0)
        async with relay.serving(listener):
            yield Way(relay, listener.getsockname()[1], heard)


async def test_what_is_sent_while_the_link_is_cut_arrives_in_order_when_it_is_mended(way: Way) -> None:
    """Connections stay open, nothing is refused, and nothing is lost."""
    reader, writer = await way.dial()
    writer.write(b"1")
    assert await reader.readexactly(1) == b"1"
    way.relay.set_cut(is_cut=True)
    writer.write(b"23")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(1), PATIENCE)
    assert way.heard == [b"1"]
    way.relay.set_cut(is_cut=False)
    assert await asyncio.wait_for(reader.readexactly(2), 5) == b"23"
    writer.close()


async def test_a_new_connection_is_taken_and_not_answered_while_the_link_is_cut(way: Way) -> None:
    """A black hole refuses nobody; whoever waits long enough gets through."""
    way.relay.set_cut(is_cut=True)
    reader, writer = await way.dial()
    writer.write(b"hello")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(5), PATIENCE)
    way.relay.set_cut(is_cut=False)
    assert await asyncio.wait_for(reader.readexactly(5), 5) == b"hello"
    writer.close()


async def test_who_gave_up_while_the_link_was_cut_never_reaches_the_server(way: Way) -> None:
    """Hours of vain attempts are no herd of dead connections when the link is mended."""
    way.relay.set_cut(is_cut=True)
    for _ in range(20):
        _, writer = await way.dial()
        writer.write(b"in vain")
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(PATIENCE)
    way.relay.set_cut(is_cut=False)
    reader, writer = await way.dial()
    writer.write(b"x")
    assert await asyncio.wait_for(reader.readexactly(1), 5) == b"x"
    assert way.heard == [b"x"]
    writer.close()


async def test_a_slow_way_delays_and_does_not_narrow(way: Way) -> None:
    """Much is under way at once: ten parts take as long as one, there and back."""
    way.relay.delay_seconds = 0.2
    reader, writer = await way.dial()
    began = time.monotonic()
    for _ in range(10):
        writer.write(b"0123456789")
        await writer.drain()
    assert len(await asyncio.wait_for(reader.readexactly(100), 5)) == 100
    assert 0.4 <= time.monotonic() - began < 10 * 0.4, "one after another would take this long"
    writer.close()


async def test_a_large_transfer_is_whole(way: Way) -> None:
    """More than all buffers together hold passes through, cut in the middle."""
    sent = bytes(range(256)) * 40_000
    reader, writer = await way.dial()
    sending = asyncio.create_task(_send(writer, sent))
    first = await reader.readexactly(1_000_000)
    way.relay.set_cut(is_cut=True)
    await asyncio.sleep(0.1)
    way.relay.set_cut(is_cut=False)
    rest = await asyncio.wait_for(reader.readexactly(len(sent) - len(first)), 20)
    assert first + rest == sent
    await sending
    writer.close()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_the_end_of_either_side_is_told_to_the_other(way: Way) -> None:
    """The server closes: the client reads the end. There is no server: the client finds its connection closed."""
    reader, writer = await way.dial()
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    nowhere, listener = Relay(1), listen(0)
    async with nowhere.serving(listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
