"""The gateway's side of one broker: stays connected, keeps the subscriptions, numbers the connections."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count

import structlog

from atoll.edge.gateway.drafts import Message
from atoll.edge.gateway.mqtt.fast_link import FastLink
from atoll.edge.gateway.mqtt.inbox import Batch, Inbox
from atoll.edge.gateway.mqtt.link import OFFLINE, ONLINE, Link, Target
from atoll.edge.gateway.mqtt.paho_link import PahoLink
from atoll.edge.gateway.mqtt.refusals import network_problem
from atoll.edge.gateway.mqtt.settings import BrokerAddress, Receiver, Session, Version

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.25, 15.0
_BATCH_MESSAGES = 4096
_LINKS: Mapping[Receiver, Callable[[int, Inbox, Target], Link]] = {"paho": PahoLink, "fast": FastLink}


class Broker:
    """One broker, for as long as the gateway wants it."""

    def __init__(
        self,
        address: BrokerAddress,
        session: Session,
        *,
        receiver: Receiver = "paho",
        numbers: Iterator[int] | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            address: where it is.
            session: what we want of it.
            receiver: by which driver.
            numbers: of the connections; they must come from one source where messages of several Brokers meet.
        """
        self._address, self._session = address, session
        self._make_link = _LINKS[receiver]
        self._filters: dict[str, int] = {}
        self._inbox = Inbox(asyncio.get_running_loop())
        self._link: Link | None = None
        self._numbers = numbers if numbers is not None else count(1)
        self._task: asyncio.Task[None] | None = None
        self._problem = "not connected yet"

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection and it stands."""
        return self._link is not None and self._link.is_accepted

    @property
    def is_subscribed(self) -> bool:
        """Whether the broker has confirmed all subscriptions: from then on it keeps what comes while we are away."""
        return self._link is not None and self._link.is_subscribed

    @property
    def problem(self) -> str:
        """What keeps readings from coming; empty if nothing does."""
        link = self._link
        if link is None or not link.is_accepted:
            return self._problem
        refused = [f"{topic_filter}: {why}" for topic_filter, why in sorted(link.refused.items())]
        return f"the broker refuses topics: {'; '.join(refused)}" if refused else ""

    @property
    def waiting(self) -> int:
        """How many messages have arrived and are not taken."""
        return len(self._inbox)

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
        wanted = {self._session.filter_of(topic_filter): qos for topic_filter, qos in filters.items()}
        dropped = [known for known in self._filters if known not in wanted]
        added = {key: qos for key, qos in wanted.items() if self._filters.get(key) != qos}
        self._filters = wanted
        if self._link is not None and self._link.is_accepted:
            self._link.subscribe(added)
            self._link.unsubscribe(dropped)

    async def receive(self) -> Batch:
        """Wait for messages and give all that have arrived, up to a few thousand.

        Raises:
            Internal: the connection's own task has failed; start over with another Broker.
        """
        return await self._inbox.take(_BATCH_MESSAGES)

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Tell the broker that these are safe; for messages of an earlier connection nothing is sent."""
        link = self._link
        if link is None or not link.is_accepted:
            return
        number = link.number
        packet_ids = [message[1] for message in messages if message[1] and message[0] == number]
        if packet_ids:
            link.acknowledge(packet_ids)

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message at QoS 0, if there is a connection."""
        if self._link is not None and self._link.is_accepted:
            self._link.publish(topic, payload)

    async def _stay_connected(self) -> None:
        delay = _FIRST_RETRY_SECONDS
        while True:
            started = time.monotonic()
            for version in self._session.versions:
                is_understood = await self._connect_once(version)
                if is_understood:
                    break
            if time.monotonic() - started > _LAST_RETRY_SECONDS:
                delay = _FIRST_RETRY_SECONDS
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_RETRY_SECONDS)

    async def _connect_once(self, version: Version) -> bool:
        """Hold one connection until it ends; False if the broker does not speak this version of MQTT."""
        target = Target(self._address, self._session, version)
        self._link = link = self._make_link(next(self._numbers), self._inbox, target)
        opening = asyncio.create_task(link.open())
        try:
            await asyncio.shield(opening)
            if await link.is_settled():
                self._greet(link)
                await link.wait_until_ended()
            self._problem = link.problem
        except OSError as error:
            self._problem = network_problem(error, str(self._address))
            link.is_understood = True
        finally:
            await asyncio.gather(opening, return_exceptions=True)
            if link.is_accepted and self._session.status_topic is not None:
                link.publish(self._session.status_topic, OFFLINE, retain=True)
            await link.close()
        log.info("the broker connection ended", problem=self._problem, mqtt=version)
        return link.is_understood

    def _greet(self, link: Link) -> None:
        link.subscribe(self._filters)
        if self._session.status_topic is not None:
            link.publish(self._session.status_topic, ONLINE, retain=True)
