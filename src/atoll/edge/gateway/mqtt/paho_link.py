"""The door to paho-mqtt. No paho type leaves this file. paho's callbacks run in its own thread."""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from atoll.edge.gateway.drafts import Message
from atoll.edge.gateway.mqtt.link import OFFLINE, Link
from atoll.edge.gateway.mqtt.settings import MAXIMUM_PACKET_BYTES, Session

log = structlog.get_logger(__name__)


class _ClosedOnFailure(ssl.SSLSocket):
    """paho forgets the socket of a handshake that fails."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class PahoLink(Link):
    """A connection through a paho client of its own."""

    _client: paho.Client | None = None

    async def open(self) -> None:
        """Connect and start paho's thread."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        address, session, is_v5 = self._target.address, self._target.session, self._target.version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            session.client_id,
            clean_session=None if is_v5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message, client.on_subscribe = self._on_message, self._on_subscribe
        if address.username is not None:
            client.username_pw_set(address.username, address.password)
        if session.status_topic is not None:
            client.will_set(session.status_topic, OFFLINE, qos=1, retain=True)
        context = address.tls_context()
        if context is not None:
            context.sslsocket_class = _ClosedOnFailure
            client.tls_set_context(context)
        self._client = client
        extra = {"clean_start": False, "properties": _connect_properties(session)} if is_v5 else {}
        client.connect(address.host, address.port, keepalive=session.keep_alive_seconds, **extra)  # type: ignore[arg-type]
        client.loop_start()

    async def close(self) -> None:
        """Disconnect and end paho's thread."""
        self.is_accepted = False
        if self._client is not None:
            await asyncio.to_thread(self._close, self._client)

    @staticmethod
    def _close(client: paho.Client) -> None:
        client.disconnect()
        client.loop_stop()

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Tell the broker that these packets are safe."""
        if self._client is not None:
            for packet_id in packet_ids:
                self._client.ack(packet_id, 1)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send a message at QoS 0."""
        if self._client is not None:
            self._client.publish(topic, payload, retain=retain)

    def _send_subscribe(self, filters: Mapping[str, int]) -> int | None:
        if self._client is None:
            return None
        # Retain handling 1: retained messages only for a subscription that is new (MQTT 5, 3.8.3.1).
        is_v5 = self._target.version == "5"
        wanted: list[Any] = [
            (key, SubscribeOptions(qos, retainHandling=1) if is_v5 else qos) for key, qos in filters.items()
        ]
        return self._client.subscribe(wanted)[1]

    def _send_unsubscribe(self, filters: Sequence[str]) -> None:
        if self._client is not None:
            self._client.unsubscribe(list(filters))

    def _on_connect(self, _client: Any, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, _more: Any) -> None:
        if reason.is_failure:
            self._inbox.call(self._refuse, reason.value)
            return
        if not flags.session_present:
            self._inbox.put((None,))
        self._inbox.call(self._accept)

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _more: Any) -> None:
        self._inbox.call(self._end, f"the connection was lost: {reason}")

    def _on_message(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # forbidden by MQTT 5, 1.5.4; no Stream can have asked for it
            log.warning("dropped a message whose topic is no UTF-8")
            client.ack(message.mid, message.qos)
            return
        packet_id = message.mid if message.qos else 0
        said = getattr(message.properties, "UserProperty", ()) if message.properties is not None else ()
        payload, now_ns = bytes(message.payload), time.time_ns()
        self._inbox.put(
            (Message(self.number, packet_id, topic, payload, message.dup, message.retain, now_ns, tuple(said)),)
        )

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, reasons: list[ReasonCode], _more: Any) -> None:
        self._inbox.call(self._confirm, mid, [reason.value for reason in reasons])


def _connect_properties(session: Session) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = session.expiry_seconds
    properties.ReceiveMaximum = session.receive_maximum
    properties.MaximumPacketSize = MAXIMUM_PACKET_BYTES
    return properties
