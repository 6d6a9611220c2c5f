"""A broker that misbehaves: refused topics, nonsense, silence, sudden ends. A scripted one, as no real one does it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from brokers import says, starting
from datapath import until

from atoll.edge.gateway.mqtt import Broker, BrokerAddress, Receiver, Session

CONNACK = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}


@dataclass
class ScriptedBroker:
    """Answers CONNECT and SUBSCRIBE, then says what the test wants it to."""

    version: str
    suback_code: int = 1
    script: bytes = b""
    connections: int = 0
    acknowledged: bytearray = field(default_factory=bytearray)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readexactly(1))[0]
                body = await reader.readexactly(await self._size(reader))
                if head == 0x10:
                    writer.write(CONNACK[self.version])
                elif head == 0x82:
                    more = b"\0" if self.version == "5" else b""
                    writer.write(bytes([0x90, 3 + len(more)]) + body[:2] + more + bytes([self.suback_code]))
                    writer.write(self.script)
                elif head == 0x40:
                    self.acknowledged += body[:2]
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _size(reader: asyncio.StreamReader) -> int:
        size = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return size


@pytest.fixture(params=["5", "3.1.1"])
async def scripted(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ScriptedBroker, int]]:
    broker = ScriptedBroker(request.param)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    yield broker, server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@pytest.fixture(params=["paho", "fast"])
async def start(
    request: pytest.FixtureRequest, scripted: tuple[ScriptedBroker, int]
) -> AsyncIterator[Callable[..., Broker]]:
    receiver: Receiver = request.param
    async with starting() as start:

        def begin(**session: Any) -> Broker:
            address = BrokerAddress("127.0.0.1", scripted[1])
            versions: Any = (scripted[0].version,)
            return start(
                Broker(address, Session("gateway", versions=versions, **session), receiver=receiver), "closed/#"
            )

        yield begin


@pytest.mark.parametrize("code", [0x80, 0x87])
async def test_a_topic_that_is_refused_is_named(
    scripted: tuple[ScriptedBroker, int], start: Callable[..., Broker], code: int
) -> None:
    scripted[0].suback_code = code if scripted[0].version == "5" else 0x80
    broker = start()
    await says(broker, "the broker refuses topics: closed/#: ")
    assert broker.is_connected
    assert ("not authorised" in broker.problem) == (scripted[0].suback_code == 0x87)
    broker.subscribe({})
    assert broker.problem == ""


@pytest.mark.parametrize("script", [b"\x30\xff\xff\xff\xff\xff", b"\xf1\x00", b"\x36\x05\0\x01a\0\x01"])
async def test_after_nonsense_the_gateway_connects_again(
    scripted: tuple[ScriptedBroker, int], start: Callable[..., Broker], script: bytes
) -> None:
    scripted[0].script = script
    start()

    async def came_back() -> bool:
        return scripted[0].connections >= 2

    await until(came_back)


async def test_a_topic_that_is_no_text_is_acknowledged_and_dropped(
    scripted: tuple[ScriptedBroker, int], start: Callable[..., Broker]
) -> None:
    more = b"\0" if scripted[0].version == "5" else b""
    bad, good = b"\0\x01\xff\0\x07" + more, b"\0\x01a\0\x08" + more
    scripted[0].script = b"".join(bytes([0x32, len(body)]) + body for body in (bad, good))
    broker = start()
    messages: list[Any] = []
    async with asyncio.timeout(20):
        while not messages:
            batch = await broker.receive()
            messages += batch.messages
            broker.acknowledge(batch.messages)

    async def acknowledged() -> bool:
        return scripted[0].acknowledged == b"\0\x07\0\x08"

    await until(acknowledged)
    assert [message.topic for message in messages] == ["a"]


async def test_a_broker_that_falls_silent_is_left_after_the_keep_alive(
    scripted: tuple[ScriptedBroker, int], start: Callable[..., Broker]
) -> None:
    """A link that swallows everything never says that it is gone."""
    start(keep_alive_seconds=1)

    async def came_back() -> bool:
        return scripted[0].connections >= 2

    await until(came_back)
