"""The door to MQTT: what is not acknowledged comes again, what is acknowledged does not, with MQTT 5 and with 3.1.1."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from datapath import Mosquitto, in_thread, publish, stream_order, until

from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.mqtt import Batch, Broker, BrokerAddress
from atoll.edge.gateway.outbox import Outbox
from atoll.edge.gateway.packing import Message, Packed, Packer, RecentPackets
from atoll.federation.bus.envelope import decode
from atoll.federation.errors import InvalidInput

CLIENT = "atoll-gateway-test"


@pytest.fixture(params=["mosquitto", "nats"])
def broker_port(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The port of a real broker: mosquitto speaks MQTT 5, nats-server 3.1.1 only."""
    if request.param == "nats":
        return request.getfixturevalue("nats_mqtt_server").mqtt_port
    mosquitto = Mosquitto(tmp_path / "mosquitto")
    mosquitto.start()
    request.addfinalizer(mosquitto.end)
    return mosquitto.port


@pytest.fixture
async def address(broker_port: int) -> BrokerAddress:
    return BrokerAddress.parse(f"mqtt://127.0.0.1:{broker_port}")


async def connected(address: BrokerAddress, *filters: str) -> Broker:
    """Give a broker that holds its session and subscriptions."""
    broker = Broker(address, client_id=CLIENT)
    broker.subscribe(dict.fromkeys(filters, 1))
    broker.start()

    async def is_connected() -> bool:
        return broker.is_connected

    await until(is_connected)
    await asyncio.sleep(0.3)
    return broker


async def collect(broker: Broker, count: int, *, acknowledge: bool = True) -> list[Message]:
    """Receive until there are so many messages."""
    messages: list[Message] = []
    async with asyncio.timeout(15):
        while len(messages) < count:
            batch = await broker.receive()
            messages += batch.messages
            if acknowledge:
                broker.acknowledge(batch.messages)
    return messages


async def test_readings_arrive_in_order(address: BrokerAddress) -> None:
    broker = await connected(address, "t/#")
    payloads = [str(number).encode() for number in range(200)]
    await in_thread(lambda: publish(address.port, "t/x", *payloads))
    messages = await collect(broker, 200)
    assert [message.payload for message in messages] == payloads
    assert not any(message.is_duplicate for message in messages)
    await broker.close()


async def test_what_was_acknowledged_does_not_come_again_and_the_rest_does(address: BrokerAddress) -> None:
    broker = await connected(address, "t/#")
    await in_thread(lambda: publish(address.port, "t/x", b"1"))
    await collect(broker, 1)
    await in_thread(lambda: publish(address.port, "t/x", b"2"))
    await collect(broker, 1, acknowledge=False)
    await asyncio.sleep(0.2)
    await broker.close()
    await in_thread(lambda: publish(address.port, "t/x", b"3"))
    broker = await connected(address, "t/#")
    messages = await collect(broker, 2)
    assert [message.payload for message in messages] == [b"2", b"3"]
    assert [message.is_duplicate for message in messages] == [True, False]
    await broker.close()


async def test_an_acknowledgement_of_an_earlier_connection_goes_nowhere(address: BrokerAddress) -> None:
    """Its packet id may be another message by now, which would be lost."""
    broker = await connected(address, "t/#")
    await in_thread(lambda: publish(address.port, "t/x", b"1"))
    old = await collect(broker, 1, acknowledge=False)
    await broker.close()
    broker = await connected(address, "t/#")
    stale = [message._replace(connection=99) for message in old]
    broker.acknowledge(stale)
    await asyncio.sleep(0.3)
    await broker.close()
    broker = await connected(address, "t/#")
    assert [message.payload for message in await collect(broker, 1)] == [b"1"]
    await broker.close()


async def test_a_first_connection_is_a_new_session_and_a_second_is_not(address: BrokerAddress) -> None:
    broker = await connected(address, "t/#")
    assert await broker.receive() == Batch([], is_new_session=True)
    await broker.close()
    broker = await connected(address, "t/#")
    await in_thread(lambda: publish(address.port, "t/x", b"1"))
    assert not (await broker.receive()).is_new_session
    await broker.close()


async def test_a_filter_that_is_dropped_is_unsubscribed(address: BrokerAddress) -> None:
    broker = await connected(address, "a/#", "b/#")
    broker.subscribe({"b/#": 1, "c/#": 1})
    await asyncio.sleep(0.5)
    for topic in ("a/x", "b/x", "c/x"):
        await in_thread(lambda topic=topic: publish(address.port, topic, b"1"))
    assert [message.topic for message in await collect(broker, 2)] == ["b/x", "c/x"]
    await asyncio.sleep(0.3)
    assert not broker._inbox._items
    await broker.close()


async def test_a_broker_that_is_not_there_is_named_and_tried_again(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    mosquitto = Mosquitto(tmp_path / "mosquitto")
    request.addfinalizer(mosquitto.end)
    broker = Broker(BrokerAddress.parse(f"mqtt://127.0.0.1:{mosquitto.port}"), client_id=CLIENT)
    broker.start()

    async def has_problem() -> bool:
        return "no broker answers at 127.0.0.1" in broker.problem

    await until(has_problem)
    mosquitto.start()

    async def is_connected() -> bool:
        return broker.is_connected

    await until(is_connected)
    await broker.close()


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://x:99999999", "x", "", "mqtt://x:y"])
def test_a_url_that_is_no_broker_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="broker"):
        BrokerAddress.parse(url)


def test_a_url_carries_user_password_and_tls() -> None:
    address = BrokerAddress.parse("mqtts://user:p%40ss@broker.lab")
    assert (address.host, address.port, address.uses_tls) == ("broker.lab", 8883, True)
    assert (address.username, address.password) == ("user", "p@ss")


class AcknowledgesFirst(Intake):
    """Plant: the broker is told before the outbox has it."""

    async def run(self, source: Any) -> None:
        class Eager:
            async def receive(self) -> Batch:
                batch: Batch = await source.receive()
                source.acknowledge(batch.messages)
                return batch

            def acknowledge(self, messages: Iterable[Message]) -> None:
                pass

        await super().run(Eager())


class DyingOutbox(Outbox):
    """Its process is killed while it stores."""

    def store(self, packed: Packed, *, now: float) -> int:
        raise KeyboardInterrupt


async def survivors(intake: type[Intake], address: BrokerAddress, path: Path) -> list[bytes]:
    """Kill a gateway while it stores, start another, and give what is in its outbox then."""
    dying = DyingOutbox(path / "outbox.db", gateway="lab")
    broker = await connected(address, "lab/#")
    await in_thread(lambda: publish(address.port, "lab/a/data", b"1", b"2", name="instrument"))
    packer = Packer((stream_order(),), recent=RecentPackets())
    with pytest.raises(KeyboardInterrupt):
        await _run_catching(intake(dying, packer, on_stored=lambda: None), broker)
    await asyncio.sleep(0.3)
    await broker.close()
    dying.close()
    outbox = Outbox(path / "outbox.db", gateway="lab")
    broker = await connected(address, "lab/#")
    packer = Packer((stream_order(),), recent=RecentPackets())
    task = asyncio.create_task(intake(outbox, packer, on_stored=lambda: None).run(broker))
    await asyncio.sleep(3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await broker.close()
    stored = [decode(item.data) for item in outbox.read(0, limit=100)]
    outbox.close()
    return [reading.payload for envelope in stored for reading in envelope.readings]


async def _run_catching(intake: Intake, broker: Broker) -> None:
    """Run an intake here, not in a task: a task would hand KeyboardInterrupt to the event loop."""
    async with asyncio.timeout(10):
        await intake.run(broker)


async def test_a_gateway_killed_while_it_stores_gets_everything_again(address: BrokerAddress, tmp_path: Path) -> None:
    assert await survivors(Intake, address, tmp_path) == [b"1", b"2"]


async def test_the_proof_finds_an_acknowledgement_before_the_commit(address: BrokerAddress, tmp_path: Path) -> None:
    """A proof that cannot fail proves nothing."""
    assert await survivors(AcknowledgesFirst, address, tmp_path) != [b"1", b"2"]


@pytest.fixture
async def retaining(address: BrokerAddress) -> AsyncIterator[BrokerAddress]:
    import paho.mqtt.client as paho

    def retain() -> None:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "retainer")
        client.connect(address.host, address.port)
        client.loop_start()
        client.publish("t/x", b"old", qos=1, retain=True).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()

    await in_thread(retain)
    yield address


async def test_a_retained_message_is_marked_as_state(retaining: BrokerAddress) -> None:
    broker = await connected(retaining, "t/#")
    assert [(message.payload, message.is_retained) for message in await collect(broker, 1)] == [(b"old", True)]
    await broker.close()
