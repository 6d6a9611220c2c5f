"""One network connection to the broker, as the broker's keeper sees it, and what both drivers do alike."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from atoll.edge.gateway.mqtt import refusals
from atoll.edge.gateway.mqtt.inbox import Inbox
from atoll.edge.gateway.mqtt.settings import BrokerAddress, Session, Version

HANDSHAKE_SECONDS: Final = 10.0
ONLINE, OFFLINE = b"online", b"offline"


@dataclass(frozen=True)
class Target:
    """Whom to connect to, as whom, in which version."""

    address: BrokerAddress
    session: Session
    version: Version


class Link(ABC):
    """One connection. It is opened once, ends once, and is not used again.

    Everything is called in the event loop. `acknowledge` is of packet ids of this very connection: on a later one the
    same id may be another message, and acknowledging that would lose it.
    """

    def __init__(self, number: int, inbox: Inbox, target: Target) -> None:
        self.number = number
        self.is_accepted = False
        self.is_understood = False  # some brokers hang up on a version that they do not speak, without a word
        self.problem = "the broker closed the connection"
        self.refused: dict[str, str] = {}  # topic filters that the broker does not let us have, and why
        self._inbox, self._target = inbox, target
        self._has_asked = False
        self._asked: dict[int, tuple[str, ...]] = {}
        self._settled, self._ended = asyncio.Event(), asyncio.Event()

    @abstractmethod
    async def open(self) -> None:
        """Connect and begin the handshake. Raises OSError if there is no broker, or no trust."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect; the broker keeps the session."""

    @abstractmethod
    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Tell the broker that these packets of this connection are safe, in the order of their arrival."""

    @abstractmethod
    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send a message at QoS 0."""

    @abstractmethod
    def _send_subscribe(self, filters: Mapping[str, int]) -> int | None:
        """Send a SUBSCRIBE; give its packet id."""

    @abstractmethod
    def _send_unsubscribe(self, filters: Sequence[str]) -> None:
        """Send an UNSUBSCRIBE."""

    async def is_settled(self) -> bool:
        """Wait for the broker's answer to the handshake; tell whether it accepted."""
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await self._settled.wait()
        except TimeoutError:
            self.problem = f"the broker did not answer the handshake within {HANDSHAKE_SECONDS:g} s"
        return self.is_accepted

    async def wait_until_ended(self) -> None:
        """Return when the connection is gone."""
        await self._ended.wait()

    @property
    def is_subscribed(self) -> bool:
        """Whether the broker has answered all subscriptions."""
        return self.is_accepted and self._has_asked and not self._asked

    def subscribe(self, filters: Mapping[str, int]) -> None:
        """Ask for topic filters, each with its QoS."""
        self._has_asked = True
        if filters:
            packet_id = self._send_subscribe(filters)
            if packet_id is not None:
                self._asked[packet_id] = tuple(filters)

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Ask for these topic filters no more."""
        for dropped in filters:
            self.refused.pop(dropped, None)
        if filters:
            self._send_unsubscribe(filters)

    # --- what a driver has heard

    def _accept(self) -> None:
        self.is_accepted = self.is_understood = True
        self._settled.set()

    def _refuse(self, code: int) -> None:
        code = refusals.connack_code(code)
        self.is_understood = code != refusals.UNSUPPORTED_VERSION
        self.problem = f"the broker refused the connection: {refusals.reason(code)}"
        self._settled.set()

    def _confirm(self, packet_id: int, codes: Sequence[int]) -> None:
        filters = self._asked.pop(packet_id, ())
        for topic_filter, code in zip(filters, codes, strict=False):
            if code >= 0x80:
                self.refused[topic_filter] = refusals.reason(code)
            else:
                self.refused.pop(topic_filter, None)

    def _end(self, problem: str | None = None) -> None:
        if not self._settled.is_set():
            self.problem = refusals.hung_up(problem, self._target.address)
        elif problem is not None and self.is_accepted:
            self.problem = problem
        self.is_accepted = False
        self._settled.set()
        self._ended.set()
