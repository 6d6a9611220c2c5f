"""The fast receiver: MQTT straight on an asyncio transport, one parse and one write for all that has arrived.

What paho spends on a packet (objects for properties, three reads, a lock, a wake-up) is a hundred microseconds; this
spends about two (docs/adr/0032). It receives at QoS 0 and 1 and publishes at QoS 0: no more is used.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Final

import structlog

from atoll.edge.gateway.mqtt import packets, refusals
from atoll.edge.gateway.mqtt.inbox import CROWDED, Inbox
from atoll.edge.gateway.mqtt.link import HANDSHAKE_SECONDS, OFFLINE, Link, Target
from atoll.edge.gateway.mqtt.settings import MAXIMUM_PACKET_BYTES

log = structlog.get_logger(__name__)

# MQTT 5, 3.1.2.10: a server hangs up after 1.5 times the keep alive; so do we.
_PATIENCE: Final = 1.5


class FastLink(Link, asyncio.Protocol):
    """A connection on a transport of the event loop."""

    def __init__(self, number: int, inbox: Inbox, target: Target) -> None:
        super().__init__(number, inbox, target)
        self._is_v5 = target.version == "5"
        self._reader = packets.PacketReader(number, is_v5=self._is_v5, maximum_packet_bytes=MAXIMUM_PACKET_BYTES)
        self._transport: asyncio.Transport | None = None
        self._packet_ids = cycle(range(1, 65_536))
        self._heard_at = time.monotonic()
        self._keeping: asyncio.Task[None] | None = None
        self._is_paused = False

    async def open(self) -> None:
        """Connect and send the handshake."""
        address = self._target.address
        context = await asyncio.to_thread(address.tls_context)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await loop.create_connection(lambda: self, address.host, address.port, ssl=context)
        except TimeoutError as error:
            raise TimeoutError(f"no connection within {HANDSHAKE_SECONDS:g} s") from error

    async def close(self) -> None:
        """Disconnect and wait until the transport is gone."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        transport = self._transport
        if transport is None:
            return
        if self.is_accepted:
            self._write(packets.disconnect(is_v5=self._is_v5))
        self.is_accepted = False
        transport.close()
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await self._ended.wait()
        except TimeoutError:  # the other side takes nothing any more, not even the end of TLS
            transport.abort()

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Tell the broker that these packets are safe."""
        self._write(packets.pubacks(packet_ids))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send a message at QoS 0."""
        self._write(packets.publish(topic, payload, is_v5=self._is_v5, retain=retain))

    def _send_subscribe(self, filters: Mapping[str, int]) -> int | None:
        packet_id = next(self._packet_ids)
        self._write(packets.subscribe(packet_id, filters, is_v5=self._is_v5))
        return packet_id

    def _send_unsubscribe(self, filters: Sequence[str]) -> None:
        self._write(packets.unsubscribe(next(self._packet_ids), filters, is_v5=self._is_v5))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address, session = self._target.address, self._target.session
        connect = packets.Connect(
            session.client_id,
            is_v5=self._is_v5,
            keep_alive_seconds=session.keep_alive_seconds,
            expiry_seconds=session.expiry_seconds,
            receive_maximum=session.receive_maximum,
            maximum_packet_bytes=MAXIMUM_PACKET_BYTES,
            username=address.username,
            password=address.password,
            will=(session.status_topic, OFFLINE) if session.status_topic is not None else None,
        )
        self._write(connect.encode())
        self._keeping = asyncio.create_task(self._keep_alive())

    def data_received(self, data: bytes) -> None:
        """Take in what has arrived."""
        self._heard_at = time.monotonic()
        try:
            received = self._reader.feed(data, now_ns=time.time_ns())
            for control in received.controls:
                self._obey(control)
        except packets.ProtocolError as error:
            self._fail(f"the broker broke the protocol: {error}")
            return
        if received.unreadable:  # forbidden by MQTT 5, 1.5.4; no Stream can have asked for it
            log.warning("dropped messages whose topic is no UTF-8", count=len(received.unreadable))
            self.acknowledge([packet_id for packet_id in received.unreadable if packet_id])
        if received.messages:
            self._inbox.put(received.messages)
            self._pause_if_crowded()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        if self._keeping is not None:
            self._keeping.cancel()
        self._end(f"the connection was lost: {exc}" if exc is not None else "the broker closed the connection")

    def _obey(self, control: packets.Control) -> None:
        match control.kind:
            case packets.CONNACK if not self._settled.is_set() and len(control.body) >= 2:
                self._take_connack(session_present=bool(control.body[0] & 1), code=control.body[1])
            case packets.SUBACK:
                self._confirm(*packets.suback_codes(control.body, is_v5=self._is_v5))
            case packets.DISCONNECT:
                code = control.body[0] if control.body else 0
                self._fail(f"the broker ended the connection: {refusals.reason(code)}")
            case packets.UNSUBACK | packets.PINGRESP:
                pass
            case kind:
                raise packets.ProtocolError(f"packet type {kind} is not expected now")

    def _take_connack(self, *, session_present: bool, code: int) -> None:
        if code:
            self._refuse(code)
            self._fail(self.problem)
            return
        if not session_present:
            self._inbox.put((None,))
        self._accept()

    def _fail(self, problem: str) -> None:
        self._end(problem)
        if self._transport is not None:
            self._transport.close()

    def _pause_if_crowded(self) -> None:
        if len(self._inbox) >= CROWDED and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
            self._inbox.when_relieved(self._resume)

    def _resume(self) -> None:
        self._is_paused = False
        self._heard_at = time.monotonic()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    async def _keep_alive(self) -> None:
        """Ask for a sign of life twice per keep alive, and end a connection that gives none."""
        seconds = self._target.session.keep_alive_seconds
        while True:
            await asyncio.sleep(seconds / 2)
            self._write(packets.PINGREQ)
            if time.monotonic() - self._heard_at > seconds * _PATIENCE and not self._is_paused:
                self._end(f"nothing was heard of the broker for {seconds * _PATIENCE:g} s")
                if self._transport is not None:
                    self._transport.abort()
                return
