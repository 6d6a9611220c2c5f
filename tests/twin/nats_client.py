"""In the place of nats-py's client: the part of it that `bus/link.py` uses, over a link of the twin.

It keeps to what nats-py 2.16 does: what is published while the connection is away is kept and sent after the reconnect,
subscriptions are renewed, requests go unanswered until they time out. It must not know what travels.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import nats.errors

from twin.machine import Process, current_process
from twin.nats_server import Message, Server
from twin.network import Link, Network

Coroutine = Callable[..., Awaitable[None]]


class _Version(NamedTuple):
    major: int = 2
    minor: int = 15


@dataclass(slots=True)
class Msg:
    """What a subscriber gets."""

    subject: str
    reply: str
    data: bytes
    headers: Mapping[str, str] | None


@dataclass(eq=False)
class _Subscription:
    client: "TwinClient"
    number: int
    subject: str
    queue: str
    callback: Callable[[Msg], Any]

    async def unsubscribe(self) -> None:
        self.client.unsubscribe(self)


class TwinClient:
    """One connection that comes back. `network` and `server` are those of the history."""

    network: Network
    server: Server
    connected_server_version = _Version()
    max_payload = 1024 * 1024

    def __init__(self) -> None:
        self.is_connected = self.is_closed = False
        process = current_process()
        assert process is not None, "connections belong to processes"
        self._process: Process = process
        self._link: Link | None = None
        self._numbers = 0
        self._subscriptions: dict[int, _Subscription] = {}
        self._pongs: dict[int, asyncio.Future[None]] = {}
        self._pending: list[Message] = []
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._reconnecting: asyncio.Task[None] | None = None
        self._inbox = ""

    async def connect(
        self,
        _servers: Any,
        *,
        error_cb: Coroutine,
        disconnected_cb: Coroutine,
        reconnected_cb: Coroutine,
        reconnect_to_server_handler: Callable[[Any, Any], tuple[Any, float]],
        inbox_prefix: str,
        **_options: Any,
    ) -> None:
        self._error_cb, self._disconnected_cb, self._reconnected_cb = error_cb, disconnected_cb, reconnected_cb
        self._pace = lambda: reconnect_to_server_handler([_Server()], {})[1]
        self._inbox = f"{inbox_prefix}.{self.server.new_client()}"
        while not await self._dial():
            await self._error_cb(ConnectionRefusedError("the server is away"))
            await asyncio.sleep(self._pace())
        await self.subscribe(f"{self._inbox}.*", cb=self._answered)

    async def _dial(self) -> bool:
        """Try once to connect."""
        network, machine = self.network, self._process.machine
        await asyncio.sleep(network.latency(machine) + network.latency(machine))
        weather = network.weather(machine)
        if weather.held:
            await asyncio.sleep(2)  # connect_timeout
            return False
        if weather.is_cut or not self.server.is_up or self.is_closed:
            return False
        link = network.connect(self._process)
        self.server.accept(link)
        link.down.deliver = self._deliver
        link.on_reset_here = self._lost
        self._link, self.is_connected = link, True
        for subscription in self._subscriptions.values():
            link.up.send(("SUB", subscription.number, subscription.subject, subscription.queue))
        pending, self._pending = self._pending, []
        for message in pending:
            link.up.send(message)
        return True

    def _lost(self) -> None:
        if self.is_closed or not self.is_connected:
            return
        self.is_connected, self._link = False, None
        self._pongs.clear()
        self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        await self._disconnected_cb()
        while not self.is_closed:
            await asyncio.sleep(self._pace())
            if await self._dial():
                await self._reconnected_cb()
                return
            await self._error_cb(ConnectionRefusedError("the server is away"))

    def _deliver(self, item: tuple[int, Message]) -> None:
        number, message = item
        if message.subject == "PONG":
            if (pong := self._pongs.pop(number, None)) and not pong.done():
                pong.set_result(None)
            return
        subscription = self._subscriptions.get(number)
        if subscription is None:
            return
        handling = subscription.callback(Msg(message.subject, message.reply, message.payload, message.headers))
        if handling is None:
            return
        try:
            handling.send(None)
        except StopIteration:
            return
        raise AssertionError("a callback of the bus must not wait")

    def _send(self, item: Any) -> None:
        if self._link is not None:
            self._link.up.send(item)

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        message = Message(subject, reply, bytes(payload), dict(headers) if headers else None)
        if len(message.payload) > self.max_payload:
            raise nats.errors.MaxPayloadError
        if self._link is None:
            self._pending.append(message)
        else:
            self._link.up.send(message)

    async def request(
        self, subject: str, payload: bytes = b"", timeout: float = 1, headers: Mapping[str, str] | None = None
    ) -> Msg:
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        self._numbers += 1
        inbox = f"{self._inbox}.{self._numbers}"
        answer = self._answers[inbox] = asyncio.get_running_loop().create_future()
        try:
            await self.publish(subject, payload, inbox, headers)
            async with asyncio.timeout(timeout):
                message = await answer
        except TimeoutError:
            raise nats.errors.TimeoutError from None
        finally:
            self._answers.pop(inbox, None)
        if message.headers and message.headers.get("Status") == "503":
            raise nats.errors.NoRespondersError
        return message

    def _answered(self, message: Msg) -> None:
        answer = self._answers.get(message.subject)
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def subscribe(
        self, subject: str, queue: str = "", *, cb: Callable[[Msg], Any], **_limits: Any
    ) -> _Subscription:
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        self._numbers += 1
        subscription = _Subscription(self, self._numbers, subject, queue, cb)
        self._subscriptions[subscription.number] = subscription
        self._send(("SUB", subscription.number, subject, queue))
        return subscription

    def unsubscribe(self, subscription: _Subscription) -> None:
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        if self._subscriptions.pop(subscription.number, None) is not None:
            self._send(("UNSUB", subscription.number))

    async def flush(self, timeout: float = 10) -> None:
        if self._link is None:
            raise nats.errors.ConnectionClosedError
        self._numbers += 1
        pong = self._pongs[self._numbers] = asyncio.get_running_loop().create_future()
        self._send(("PING", self._numbers))
        async with asyncio.timeout(timeout):
            await pong

    async def close(self) -> None:
        self.is_closed, self.is_connected = True, False
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self._link is not None:
            self._link.hang_up()
            self._link = None
        for subscription in tuple(self._subscriptions):
            del self._subscriptions[subscription]


class _Server:
    reconnects = 0
