"""The door to paho-mqtt: batches of messages come out, acknowledgements go in. No paho type leaves this file.

Owns the connection to the lab's broker: a persistent session under a fixed client id, QoS 1 with manual
acknowledgements, MQTT 5 or else 3.1.1, reconnecting for ever. Each connection is a paho client of its own, so an
acknowledgement can only go out on the connection that its message came on: on a later one the same packet id may be
another message, and acknowledging that would lose it (NATS.md 7). It must not know Streams or the outbox.
"""

import asyncio
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from atoll.edge.gateway.packing import Message
from atoll.federation.errors import Internal, InvalidInput

log = structlog.get_logger(__name__)

# How long a broker keeps what it holds for a gateway that is away.
SESSION_EXPIRY_SECONDS = 7 * 86_400
# Bounds what can be in flight, so also what can be redelivered: below packing.REMEMBERED_PACKETS by a wide margin, and
# enough to fill several envelopes while one is being synced.
RECEIVE_MAXIMUM = 2000
_KEEPALIVE_SECONDS = 15
_HANDSHAKE_SECONDS = 10.0
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.25, 15.0
_BATCH_MESSAGES = 4096
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class BrokerAddress:
    """Where the broker is and who we are to it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    uses_tls: bool = False
    ca_file: Path | None = None

    @classmethod
    def parse(cls, url: str, *, ca_file: Path | None = None) -> "BrokerAddress":
        """Read mqtt://[user:password@]host[:port] or mqtts://….

        Raises:
            InvalidInput: the URL is no such thing.
        """
        parts = urlsplit(url)
        try:
            port = parts.port or _DEFAULT_PORTS[parts.scheme]
        except (ValueError, KeyError) as error:
            raise InvalidInput("broker: write mqtt://host:port or mqtts://host:port") from error
        if not parts.hostname:
            raise InvalidInput("broker: the URL names no host")
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(parts.hostname, port, username, password, uses_tls=parts.scheme == "mqtts", ca_file=ca_file)


@dataclass(frozen=True)
class Batch:
    """Messages in the order of arrival. `is_new_session`: the broker had forgotten us before these came."""

    messages: list[Message]
    is_new_session: bool = False


class Broker:
    """The gateway's side of one MQTT broker."""

    def __init__(self, address: BrokerAddress, *, client_id: str) -> None:
        self._address, self._client_id = address, client_id
        self._filters: dict[str, int] = {}
        self._inbox = _Inbox(asyncio.get_running_loop())
        self._connection: _Connection | None = None
        self._connections = 0
        self._task: asyncio.Task[None] | None = None
        self.problem = "not connected yet"

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection and it stands."""
        return self._connection is not None and self._connection.is_accepted

    @property
    def is_subscribed(self) -> bool:
        """Whether the broker has confirmed all subscriptions: from then on it keeps what comes while we are away."""
        return self._connection is not None and self._connection.is_subscribed

    def start(self) -> None:
        """Begin to connect, and keep connected until `close`."""
        self._task = asyncio.create_task(self._stay_connected())
        self._task.add_done_callback(self._inbox.end)

    async def close(self) -> None:
        """Disconnect; the broker keeps the session and what arrives for it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def subscribe(self, filters: Mapping[str, int]) -> None:
        """Take these topic filters (and their QoS) as the whole list; what is no longer in it is unsubscribed."""
        dropped = [known for known in self._filters if known not in filters]
        added = {key: qos for key, qos in filters.items() if self._filters.get(key) != qos}
        self._filters = dict(filters)
        if self._connection is not None and self._connection.is_accepted:
            self._connection.subscribe(added)
            self._connection.unsubscribe(dropped)

    async def receive(self) -> Batch:
        """Wait for messages and give all that have arrived, up to a few thousand.

        Raises:
            Internal: the connection's own task has failed; start over with another Broker.
        """
        return await self._inbox.take(_BATCH_MESSAGES)

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Tell the broker that these are safe; for messages of an earlier connection nothing is sent."""
        connection = self._connection
        if connection is None:
            return
        for message in messages:
            if message.packet_id and message.connection == connection.number:
                connection.acknowledge(message.packet_id)

    async def _stay_connected(self) -> None:
        delay = _FIRST_RETRY_SECONDS
        while True:
            started = time.monotonic()
            for protocol in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
                is_understood = await self._connect_once(protocol)
                if is_understood:
                    break
            if time.monotonic() - started > _LAST_RETRY_SECONDS:
                delay = _FIRST_RETRY_SECONDS
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_RETRY_SECONDS)

    async def _connect_once(self, protocol: MQTTProtocolVersion) -> bool:
        """Hold one connection until it ends; False if the broker does not speak this version of MQTT."""
        self._connections += 1
        self._connection = connection = _Connection(self._connections, self._inbox)
        opening = asyncio.create_task(asyncio.to_thread(connection.open, self._address, self._client_id, protocol))
        try:
            await asyncio.shield(opening)
            if await connection.is_settled():
                connection.subscribe(self._filters)
                await connection.wait_until_ended()
            self.problem = connection.problem
        except OSError as error:
            self.problem = f"no broker answers at {self._address.host}:{self._address.port}: {error}"
            connection.is_understood = True
        finally:
            await asyncio.gather(opening, return_exceptions=True)
            await asyncio.to_thread(connection.close)
        log.info("the broker connection ended", problem=self.problem, mqtt=protocol.name)
        return connection.is_understood


class _Inbox:
    """Hands messages from paho's threads to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._items: deque[Message | None] = deque()  # None: a new session begins here
        self._arrived = asyncio.Event()
        self._is_signalled = False
        self._failure: BaseException | None = None

    def end(self, task: "asyncio.Task[None]") -> None:
        """Take note that nothing more will come, if it is because of an error."""
        self._failure = None if task.cancelled() else task.exception()
        if self._failure is not None:
            self._arrived.set()

    def put(self, item: Message | None) -> None:
        with self._lock:
            self._items.append(item)
            if self._is_signalled:
                return
            self._is_signalled = True
        self.call(self._arrived.set)

    def call(self, function: Any) -> None:
        """Call a function in the event loop; when the loop has ended there is nobody left to tell."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    async def take(self, limit: int) -> Batch:
        await self._arrived.wait()
        if self._failure is not None:
            raise Internal("the broker connection's task has failed") from self._failure
        with self._lock:
            is_new_session = self._items[0] is None
            if is_new_session:
                self._items.popleft()
            messages: list[Message] = []
            while self._items and len(messages) < limit and (item := self._items[0]) is not None:
                messages.append(item)
                self._items.popleft()
            if not self._items:
                self._is_signalled = False
                self._arrived.clear()
        return Batch(messages, is_new_session)


class _Connection:
    """One network connection. Its callbacks run in paho's thread."""

    def __init__(self, number: int, inbox: _Inbox) -> None:
        self.number = number
        self.is_accepted = False
        self.is_understood = False  # some brokers hang up on a version that they do not speak, without a word
        self.problem = "the broker closed the connection"
        self._inbox = inbox
        self._has_asked = False
        self._asked, self._confirmed = 0, 0
        self._settled, self._ended = asyncio.Event(), asyncio.Event()
        self._client: paho.Client | None = None

    def open(self, address: BrokerAddress, client_id: str, protocol: MQTTProtocolVersion) -> None:
        """Connect and start paho's thread. Blocks. Raises OSError if there is no broker."""
        is_v5 = protocol == MQTTProtocolVersion.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if is_v5 else False,
            protocol=protocol,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message, client.on_subscribe = self._on_message, self._on_subscribe
        if address.username is not None:
            client.username_pw_set(address.username, address.password)
        if address.uses_tls:
            client.tls_set_context(ssl.create_default_context(cafile=address.ca_file))
        self._client = client
        extra = {"clean_start": False, "properties": _connect_properties()} if is_v5 else {}
        client.connect(address.host, address.port, keepalive=_KEEPALIVE_SECONDS, **extra)  # type: ignore[arg-type]
        client.loop_start()

    def close(self) -> None:
        """Disconnect and end paho's thread. Blocks."""
        self.is_accepted = False
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()

    async def is_settled(self) -> bool:
        """Wait for the broker's answer to the handshake; tell whether it accepted."""
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                await self._settled.wait()
        except TimeoutError:
            self.problem = f"the broker did not answer the handshake within {_HANDSHAKE_SECONDS:g} s"
        return self.is_accepted

    async def wait_until_ended(self) -> None:
        """Return when the connection is gone."""
        await self._ended.wait()

    @property
    def is_subscribed(self) -> bool:
        return self.is_accepted and self._has_asked and self._asked == self._confirmed

    def subscribe(self, filters: Mapping[str, int]) -> None:
        self._asked += bool(filters)
        self._has_asked = True
        if not filters or self._client is None:
            return
        # Retain handling 1: retained messages only for a subscription that is new (MQTT 5, 3.8.3.1).
        if self._client.protocol == MQTTProtocolVersion.MQTTv5:
            wanted = [(key, SubscribeOptions(qos, retainHandling=1)) for key, qos in filters.items()]
            self._client.subscribe(wanted)
        else:
            self._client.subscribe(list(filters.items()))

    def unsubscribe(self, filters: Sequence[str]) -> None:
        if filters and self._client is not None:
            self._client.unsubscribe(list(filters))

    def acknowledge(self, packet_id: int) -> None:
        if self._client is not None:
            self._client.ack(packet_id, 1)

    def _on_connect(self, _client: Any, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, _more: Any) -> None:
        if reason.is_failure:
            self.problem = f"the broker refused the connection: {reason}"
            self.is_understood = str(reason) != "Unsupported protocol version"
        else:
            if not flags.session_present:
                self._inbox.put(None)
            self.is_accepted = self.is_understood = True
        self._inbox.call(self._settled.set)

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _more: Any) -> None:
        if self.is_accepted:
            self.problem = f"the connection was lost: {reason}"
        self.is_accepted = False
        self._inbox.call(self._settled.set)
        self._inbox.call(self._ended.set)

    def _on_message(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # forbidden by MQTT 5, 1.5.4; no Stream can have asked for it
            log.warning("dropped a message whose topic is no UTF-8")
            client.ack(message.mid, message.qos)
            return
        packet_id = message.mid if message.qos else 0
        self._inbox.put(
            Message(
                self.number,
                packet_id,
                topic,
                bytes(message.payload),
                message.dup,
                message.retain,
                received_at_ns=time.time_ns(),
            )
        )

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _more: Any) -> None:
        self._confirmed += 1
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            log.error("the broker refused a subscription", reasons=refused)


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_SECONDS
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    return properties
