"""One connection to NATS: the only door to nats-py. No nats type or exception leaves this package.

Owns connecting, reconnecting for ever, publishing, subscribing, and asking once. It must not know what travels, nor
what JetStream is. Failures are `Unavailable`: try again; a write's outcome is then unknown.
"""

import asyncio
import contextlib
import random
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Self

import nats.errors
import structlog
from nats.aio.msg import Msg

from atoll.federation.backoff import Comeback
from atoll.federation.bus.client import NatsClient, NoTls, is_refusal, pacing
from atoll.federation.bus.login import OPEN, Login
from atoll.federation.bus.outage import NotSent, Outage
from atoll.federation.bus.subjects import shown
from atoll.federation.errors import Unavailable

log = structlog.get_logger(__name__)

# A leader change of a three-node cluster took up to 5.8 s when measured: below this, healthy writes fail.
API_TIMEOUT_SECONDS = 10.0
# How long a connection that is closed waits for what was published to reach the server.
_FLUSH_SECONDS = 2
# How often one who waits for NATS says so in its log.
_PATIENCE_SECONDS = 5.0
# Who is refused at its first connect tries again after so long: the pace for a server that is starting is for nothing.
_REFUSED_SECONDS = 2.0
# Over how long members that lose NATS at the same moment spread their first attempts to come back.
SPREAD_SECONDS = 2.0


class Refused(Unavailable):
    """The server does not take the credentials: they have ended or were revoked, or it does not know them yet."""


class Link:
    """A connection that comes back."""

    def __init__(self, client: NatsClient, name: str, login: Login = OPEN, *, spread_seconds: float = 0.0) -> None:
        self.client = client
        self.name = name
        self.login = login
        self.reconnects = 0
        self._outage = Outage()
        self._has_connected = self._is_refused = self._has_no_tls = False
        self._comeback = Comeback(spread_seconds, chance=random.random)

    @classmethod
    async def connect(
        cls, url: str, *, name: str, login: Login = OPEN, wait_seconds: float = 10.0, spread_seconds: float = 0.0
    ) -> Self:
        """Connect to a server, waiting for it to come up.

        Args:
            url: such as nats://127.0.0.1:4222; of a cluster one server or several, with commas between.
            name: shown in the server's connection list.
            login: how both sides prove who they are.
            wait_seconds: how long to try before giving up; once connected, a lost connection is retried for ever.
            spread_seconds: over how long all who lose the server at the same moment come back, if there are many.

        Raises:
            Unavailable: no server answered in time. Refused: it did not let us in. InvalidInput: the login cannot be
                used.
        """
        link = cls(NatsClient(), name, login, spread_seconds=spread_seconds)
        try:
            async with asyncio.timeout(wait_seconds):
                await link._dial(url)
        except (TimeoutError, OSError, nats.errors.Error) as error:
            with contextlib.suppress(Exception):
                await link.client.close()
            if link._is_refused:
                raise Refused(f"NATS at {url} does not take the credentials of {name}") from error
            if link._has_no_tls:
                raise Unavailable(f"NATS at {url} offers no TLS; a tls:// URL and a CA ask for it") from error
            raise Unavailable(f"no NATS server answered at {url} within {wait_seconds:g} s") from error
        link._has_connected = True
        return link

    @classmethod
    async def await_server(cls, url: str, *, name: str, login: Login = OPEN) -> Self:
        """Connect a member as `connect` does, for as long as it takes: what works alone does not end without NATS."""
        while True:
            try:
                return await cls.connect(
                    url, name=name, login=login, wait_seconds=_PATIENCE_SECONDS, spread_seconds=SPREAD_SECONDS
                )
            except Unavailable as error:
                log.warning("waits for NATS", connection=name, reason=str(error))

    async def _dial(self, url: str) -> None:
        await self.client.connect(
            url.split(","),
            name=self.name,
            error_cb=self._log_error,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
            # nats-py's defaults give up after 60 attempts and notice a dead link after minutes.
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type] # annotated as int, handed to asyncio.sleep
            connect_timeout=2,
            ping_interval=5,
            max_outstanding_pings=2,
            pending_size=64 * 1024 * 1024,
            reconnect_to_server_handler=pacing(self._comeback.next_seconds),
            **self.login.options(),
        )

    async def close(self) -> None:
        """Flush what was published and close; calling it twice is harmless."""
        if not self.client.is_closed:
            flushing = asyncio.ensure_future(self.client.flush(_FLUSH_SECONDS))  # a task of its own: see `ask`
            with contextlib.ExitStack() as stack:
                stack.callback(flushing.cancel)
                await asyncio.wait({flushing}, timeout=_FLUSH_SECONDS)
            await asyncio.gather(flushing, return_exceptions=True)
            await self.client.close()

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands right now."""
        return self.client.is_connected

    @property
    def max_payload_bytes(self) -> int:
        """The longest message that the server takes."""
        return self.client.max_payload

    def on_reconnect(self, callback: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """Call back after each reconnect while the context is open."""
        return self._outage.on_return(callback)

    async def _reconnected(self) -> None:
        self.reconnects += 1
        self._comeback.reset()
        log.info("reconnected to NATS", connection=self.name)
        self._outage.end()

    async def _disconnected(self) -> None:
        if not self.client.is_closed:
            self._outage.begin()
            log.warning("lost the connection to NATS", connection=self.name)

    async def _log_error(self, error: Exception) -> None:
        # While the server is away nats-py reports each attempt; the disconnect was already logged once.
        log.debug("nats client reported an error", connection=self.name, error=repr(error))
        # A server that turns us away may be gone before its word is read; that it has is known from the time before.
        is_cut_off = self._is_refused and isinstance(error, ConnectionResetError)
        self._is_refused, self._has_no_tls = is_refusal(error) or is_cut_off, isinstance(error, NoTls)
        if self._is_refused and not self._has_connected:  # later `_comeback` has the pace
            await asyncio.sleep(_REFUSED_SECONDS)

    async def ask(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout_seconds: float = API_TIMEOUT_SECONDS,
        headers: Mapping[str, str] | None = None,
        is_quick: bool = False,
    ) -> bytes:
        """Ask; a quick one fails soon while the connection is gone, and soon after one whose answer went with it.

        nats-py waits with asyncio.wait_for, which before Python 3.12 loses a cancellation that comes together with the
        answer (python/cpython#86296): a task that polls would then never end. So it gets a task of its own.
        """
        if is_quick and not (self.is_connected or self.client.is_closed or await self._outage.is_over()):
            raise NotSent(f"NATS is away, nothing was sent on {shown(subject)}")
        ask = self.client.request(subject, payload, timeout=timeout_seconds, headers=dict(headers) if headers else None)
        asking = asyncio.ensure_future(ask)
        with contextlib.ExitStack() as stack:
            stack.callback(asking.cancel)
            if is_quick:
                stack.enter_context(self._outage.bounding(asking))
            await asyncio.wait({asking})
        try:
            return asking.result().data
        except asyncio.CancelledError:
            raise Unavailable(f"the connection was lost before an answer on {shown(subject)} came") from None
        except nats.errors.NoRespondersError as error:
            raise Unavailable(f"nobody answers on {shown(subject)}") from error
        except (TimeoutError, nats.errors.Error) as error:
            raise Unavailable(f"no answer on {shown(subject)} within {timeout_seconds:g} s") from error

    async def subscribe(self, subject: str, callback: Callable[[Msg], None], *, queue: str = "") -> Any:
        """Subscribe with a plain callback that must not block. Gives nats-py's subscription."""

        async def deliver(message: Msg) -> None:
            callback(message)

        try:
            return await self.client.subscribe(
                subject, queue, cb=deliver, pending_msgs_limit=-1, pending_bytes_limit=-1
            )
        except nats.errors.Error as error:
            raise Unavailable(f"could not subscribe to {shown(subject)}") from error

    async def unsubscribe(self, subscription: Any) -> None:
        """End a subscription; a connection that is gone has ended it already."""
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()

    async def publish(
        self, subject: str, payload: bytes | memoryview, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send without waiting for anything but room in the send buffer, which holds a copy of the payload."""
        try:
            await self.client.publish(
                subject,
                payload,  # type: ignore[arg-type] # annotated as bytes, put behind the command by +
                reply=reply,
                headers=dict(headers) if headers else None,
            )
        except nats.errors.Error as error:
            raise Unavailable(f"could not publish to {shown(subject)}") from error

    def new_inbox(self) -> str:
        """Give a subject on which JetStream may deliver to this connection; nobody else can guess it."""
        return f"{self.login.identity.inbox_prefix}.{secrets.token_hex(16)}"

    def new_call_inbox(self) -> str:
        """Give a subject for the answers to one call; who is asked may write there and learns nothing of others."""
        return f"{self.login.identity.call_prefix}.{secrets.token_hex(16)}"
