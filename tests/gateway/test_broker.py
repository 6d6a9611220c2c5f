"""The door to MQTT: what is not acknowledged comes again, what is acknowledged does not, with MQTT 5 and with 3.1.1."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from brokers import subscribed
from datapath import Mosquitto, in_thread, publish, stream_order, until

from atoll.edge.gateway.drafts import Message, Packed
from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.mqtt import Batch, Broker, BrokerAddress, Receiver, Session
from atoll.edge.gateway.outbox import Outbox
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import RecentPackets
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


@dataclass(frozen=True)
class Place:
    """A broker, and the driver that receives from it."""

    address: BrokerAddress
    receiver: Receiver

    @property
    def port(self) -> int:
        return self.address.port


@pytest.fixture(params=["paho", "fast"])
async def place(request: pytest.FixtureRequest, broker_port: int) -> Place:
    return Place(BrokerAddress.parse(f"mqtt://127.0.0.1:{broker_port}"), request.param)


def broker_at(place: Place, **session: Any) -> Broker:
    return Broker(place.address, Session(CLIENT, **session), receiver=place.receiver)


async def connected(place: Place, *filters: str, **session: Any) -> Broker:
    """Give a broker that holds its session and subscriptions."""
    broker = broker_at(place, **session)
    broker.subscribe(dict.fromkeys(filters, 1))
    broker.start()
    await subscribed(broker)
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


async def test_readings_arrive_in_order(place: Place) -> None:
    broker = await connected(place, "t/#")
    payloads = [str(number).encode() for number in range(200)]
    await in_thread(lambda: publish(place.port, "t/x", *payloads))
    messages = await collect(broker, 200)
    assert [message.payload for message in messages] == payloads
    assert not any(message.is_duplicate for message in messages)
    await broker.close()


async def test_what_was_acknowledged_does_not_come_again_and_the_rest_does(place: Place) -> None:
    broker = await connected(place, "t/#")
    await in_thread(lambda: publish(place.port, "t/x", b"1"))
    await collect(broker, 1)
    await in_thread(lambda: publish(place.port, "t/x", b"2"))
    await collect(broker, 1, acknowledge=False)
    await asyncio.sleep(0.2)
    await broker.close()
    await in_thread(lambda: publish(place.port, "t/x", b"3"))
    broker = await connected(place, "t/#")
    messages = await collect(broker, 2)
    assert [message.payload for message in messages] == [b"2", b"3"]
    assert [message.is_duplicate for message in messages] == [True, False]
    await broker.close()


async def test_an_acknowledgement_of_an_earlier_connection_goes_nowhere(place: Place) -> None:
    """Its packet id may be another message by now, which would be lost."""
    broker = await connected(place, "t/#")
    await in_thread(lambda: publish(place.port, "t/x", b"1"))
    old = await collect(broker, 1, acknowledge=False)
    await broker.close()
    broker = await connected(place, "t/#")
    stale = [message._replace(connection=99) for message in old]
    broker.acknowledge(stale)
    await asyncio.sleep(0.3)
    await broker.close()
    broker = await connected(place, "t/#")
    assert [message.payload for message in await collect(broker, 1)] == [b"1"]
    await broker.close()


async def test_a_first_connection_is_a_new_session_and_a_second_is_not(place: Place) -> None:
    broker = await connected(place, "t/#")
    assert await broker.receive() == Batch([], is_new_session=True)
    await broker.close()
    broker = await connected(place, "t/#")
    await in_thread(lambda: publish(place.port, "t/x", b"1"))
    assert not (await broker.receive()).is_new_session
    await broker.close()


async def test_a_filter_that_is_dropped_is_unsubscribed(place: Place) -> None:
    broker = await connected(place, "a/#", "b/#")
    broker.subscribe({"b/#": 1, "c/#": 1})
    await subscribed(broker)
    for topic in ("a/x", "b/x", "c/x"):
        await in_thread(lambda topic=topic: publish(place.port, topic, b"1"))
    assert [message.topic for message in await collect(broker, 2)] == ["b/x", "c/x"]
    await in_thread(lambda: publish(place.port, "c/x", b"2"))
    assert [message.payload for message in await collect(broker, 1)] == [b"2"]
    await broker.close()


@pytest.mark.parametrize("receiver", ["paho", "fast"])
async def test_a_broker_that_is_not_there_is_named_and_tried_again(
    tmp_path: Path, request: pytest.FixtureRequest, receiver: Receiver
) -> None:
    mosquitto = Mosquitto(tmp_path / "mosquitto")
    request.addfinalizer(mosquitto.end)
    broker = broker_at(Place(BrokerAddress.parse(f"mqtt://127.0.0.1:{mosquitto.port}"), receiver))
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
            @property
            def is_subscribed(self) -> bool:
                return True

            def publish(self, topic: str, payload: bytes) -> None:
                pass

            async def receive(self) -> Batch:
                batch: Batch = await source.receive()
                source.acknowledge(batch.messages)
                return batch

            def acknowledge(self, messages: Iterable[Message]) -> None:
                pass

        await super().run(Eager())


class KilledError(Exception):
    """Stands for the end of the process."""


class DyingOutbox(Outbox):
    """Its process is killed while it stores."""

    def store(self, packed: Packed, *, now: float) -> int:
        raise KilledError


async def survivors(intake: type[Intake], place: Place, path: Path) -> list[bytes]:
    """Kill a gateway while it stores, start another, and give what is in its outbox then."""
    dying = DyingOutbox(path / "outbox.db", gateway="lab")
    broker = await connected(place, "lab/#")
    await in_thread(lambda: publish(place.port, "lab/a/data", b"1", b"2", name="instrument"))
    packer = Packer((stream_order(),), recent=RecentPackets())
    with pytest.raises(KilledError):
        async with asyncio.timeout(10):
            await make_intake(intake, dying, packer).run(broker)
    await broker.close()
    dying.close()
    outbox = Outbox(path / "outbox.db", gateway="lab")
    broker = await connected(place, "lab/#")
    packer = Packer((stream_order(),), recent=RecentPackets())
    task = asyncio.create_task(make_intake(intake, outbox, packer).run(broker))
    # What the broker still held comes before what is published now.
    await in_thread(lambda: publish(place.port, "lab/a/data", b"last", name="instrument"))

    async def stored() -> list[bytes]:
        envelopes = [decode(item.data) for item in outbox.read(0, limit=100)]
        return [reading.payload for envelope in envelopes for reading in envelope.readings]

    async def is_through() -> bool:
        return b"last" in await stored()

    await until(is_through)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await broker.close()
    found = await stored()
    outbox.close()
    return found


def make_intake(kind: type[Intake], outbox: Outbox, packer: Packer) -> Intake:
    return kind(outbox, packer, on_stored=lambda: None, on_files=lambda packed: None)


async def test_a_gateway_killed_while_it_stores_gets_everything_again(place: Place, tmp_path: Path) -> None:
    assert await survivors(Intake, place, tmp_path) == [b"1", b"2", b"last"]


async def test_the_proof_finds_an_acknowledgement_before_the_commit(place: Place, tmp_path: Path) -> None:
    """A proof that cannot fail proves nothing."""
    assert await survivors(AcknowledgesFirst, place, tmp_path) != [b"1", b"2", b"last"]


@pytest.fixture
async def retaining(place: Place) -> AsyncIterator[Place]:
    import paho.mqtt.client as paho

    def retain() -> None:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "retainer")
        client.connect(place.address.host, place.port)
        client.loop_start()
        client.publish("t/x", b"old", qos=1, retain=True).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()

    await in_thread(retain)
    yield place


async def test_a_retained_message_is_marked_as_state(retaining: Place) -> None:
    broker = await connected(retaining, "t/#")
    assert [(message.payload, message.is_retained) for message in await collect(broker, 1)] == [(b"old", True)]
    await broker.close()
