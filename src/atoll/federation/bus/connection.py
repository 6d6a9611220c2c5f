"""The connection to NATS: the only door to nats-py. No nats type or exception leaves this package.

Owns connecting, reconnecting for ever, the JetStream API calls that Atoll needs, and request/reply. It must not know
what travels. Failures are `Unavailable` (try again; a write's outcome is then unknown), `Conflict` or `Internal`.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import nats
import nats.errors
import orjson
import structlog
from nats.aio.msg import Msg

from atoll.federation.bus.calls import CallServer, ask_once, stream_answer
from atoll.federation.bus.client import NatsClient
from atoll.federation.bus.login import OPEN, Login
from atoll.federation.errors import Conflict, Internal, InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from atoll.federation.bus.table import Table

log = structlog.get_logger(__name__)

# A leader change of a three-node cluster took up to 5.8 s when measured (NATS.md 2.2): below this, healthy writes fail.
API_TIMEOUT_SECONDS = 10.0
# An answer that was on its way when the connection broke never comes. What nats-py kept back is sent right after the
# reconnect, and its answers need this long: shorter, and a slow fsync looks like a lost answer.
_LOST_ANSWER_SECONDS = 2.0
# How often one who waits for NATS says so in its log.
_PATIENCE_SECONDS = 5.0
# Wrong last sequence, wrong last message id, and the 2.12+ constant for a batch: nats-server errors.json.
_CONFLICT_CODES = frozenset({10070, 10071, 10164})
_NOT_FOUND_CODES = frozenset({10014, 10037, 10059})
_STREAM_EXISTS = 10058
_TOMBSTONE_TTL_SECONDS = 86_400
_DEDUPE_WINDOW_SECONDS = 120


class Bus:
    """One connection to NATS. Make it with `connect`; close it when done."""

    def __init__(self, client: NatsClient, name: str, login: Login = OPEN) -> None:
        self.client = client
        self.name = name
        self.login = login
        self.reconnects = 0
        self._on_reconnect: set[Callable[[], None]] = set()

    @classmethod
    async def connect(cls, url: str, *, name: str, login: Login = OPEN, wait_seconds: float = 10.0) -> "Bus":
        """Connect to a server, waiting for it to come up.

        Args:
            url: such as nats://127.0.0.1:4222.
            name: shown in the server's connection list.
            login: how both sides prove who they are.
            wait_seconds: how long to try before giving up; once connected, a lost connection is retried for ever.

        Raises:
            Unavailable: no server answered in time, or it did not let us in. InvalidInput: the login cannot be used.
        """
        bus = cls(NatsClient(), name, login)
        try:
            async with asyncio.timeout(wait_seconds):
                await bus._dial(url)
        except (TimeoutError, OSError, nats.errors.Error) as error:
            with contextlib.suppress(Exception):
                await bus.client.close()
            raise Unavailable(f"no NATS server answered at {url} within {wait_seconds:g} s") from error
        return bus

    @classmethod
    async def await_server(cls, url: str, *, name: str, login: Login = OPEN) -> "Bus":
        """Connect as `connect` does, for as long as it takes: what works alone does not end because NATS is away."""
        while True:
            try:
                return await cls.connect(url, name=name, login=login, wait_seconds=_PATIENCE_SECONDS)
            except Unavailable as error:
                log.warning("waits for NATS", connection=name, reason=str(error))

    async def _dial(self, url: str) -> None:
        await self.client.connect(
            url,
            name=self.name,
            error_cb=self._log_error,
            disconnected_cb=self._log_disconnect,
            reconnected_cb=self._reconnected,
            # nats-py's defaults give up after 60 attempts and notice a dead link after minutes (NATS.md 3.1).
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type] # annotated as int, handed to asyncio.sleep
            connect_timeout=2,
            ping_interval=5,
            max_outstanding_pings=2,
            pending_size=64 * 1024 * 1024,
            **self.login.options(),
        )

    async def close(self) -> None:
        """Flush what was published and close; calling it twice is harmless."""
        if not self.client.is_closed:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.client.flush(), 2)
            await self.client.close()

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands right now."""
        return self.client.is_connected

    @contextlib.contextmanager
    def on_reconnect(self, callback: Callable[[], None]) -> Any:
        """Call back after each reconnect while the context is open."""
        self._on_reconnect.add(callback)
        try:
            yield
        finally:
            self._on_reconnect.discard(callback)

    async def _reconnected(self) -> None:
        self.reconnects += 1
        log.info("reconnected to NATS", connection=self.name)
        for callback in tuple(self._on_reconnect):
            callback()

    async def _log_disconnect(self) -> None:
        if not self.client.is_closed:
            log.warning("lost the connection to NATS", connection=self.name)

    async def _log_error(self, error: Exception) -> None:
        # While the server is away nats-py reports each attempt; the disconnect was already logged once.
        log.debug("nats client reported an error", connection=self.name, error=repr(error))

    # --- JetStream

    async def ensure_table(self, stream: str, prefix: str, *, history: int = 1) -> None:
        """Make the stream behind tables: the last message per subject is kept, tombstones for a day.

        Args:
            history: values kept per key. A follower that is this many writes of one key behind skips some of them.

        Raises:
            InvalidInput: the server is too old for atomic batches. Unavailable: it does not answer.
        """
        config = await self._ensure_stream({
            "name": stream,
            "subjects": [f"{prefix}.>"],
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "max_msgs_per_subject": history,
            "allow_direct": True,
            "allow_msg_ttl": True,
            "allow_atomic": True,
        })  # fmt: skip
        if not config.get("allow_atomic"):  # what a server does not know it leaves out
            found = self.client.connected_server_version
            raise InvalidInput(
                f"nats-server {found.major}.{found.minor} cannot write stream {stream} in batches: use 2.15 or newer"
            )

    async def ensure_log(self, stream: str, prefix: str, *, max_bytes: int, taken_in: str = "") -> None:
        """Make the stream behind a log. When full it refuses; it never drops what it holds.

        Args:
            prefix: of the subjects by which it is read.
            taken_in: prefix of the subjects by which it is written, if that is another one: readers cannot write then.
        """
        source = f"{taken_in or prefix}.>"
        await self._ensure_stream({
            "name": stream,
            "subjects": [source],
            **({"subject_transform": {"src": source, "dest": f"{prefix}.>"}} if taken_in else {}),
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "max_bytes": max_bytes,
            "duplicate_window": _DEDUPE_WINDOW_SECONDS * 1_000_000_000,
        })  # fmt: skip

    async def ensure_records(self, stream: str, prefix: str, *, max_bytes: int, max_age_seconds: float) -> None:
        """Make the stream behind records that nobody alters: it refuses to delete or purge, and drops the oldest only.

        The server does not take these refusals back (nats-server, `checkStreamCfg`); who may delete a whole stream is
        for the permissions of an account to say.
        """
        await self._ensure_stream({
            "name": stream,
            "subjects": [f"{prefix}.>"],
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "max_bytes": max_bytes,
            "max_age": int(max_age_seconds * 1_000_000_000),
            "deny_delete": True,
            "deny_purge": True,
        })  # fmt: skip

    async def purge(self, stream: str, subject: str, *, before: int) -> int:
        """Delete the messages of one subject whose stream sequence is below `before`; give how many there were.

        Raises:
            NotFound: no such stream. Unavailable: the outcome is unknown; the same again does no harm.
        """
        if before <= 1:  # JetStream takes sequence 0 for "all"
            return 0
        answer = await self.api(f"STREAM.PURGE.{stream}", {"filter": subject, "seq": before})
        return int(answer["purged"])

    async def _ensure_stream(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make or change a stream; give the configuration that the server took."""
        answer = await self._api_raw(f"STREAM.CREATE.{config['name']}", config)
        if answer.get("error", {}).get("err_code") == _STREAM_EXISTS:
            answer = await self.api(f"STREAM.UPDATE.{config['name']}", config)
        _raise_for(answer, f"stream {config['name']}")
        taken: Mapping[str, Any] = answer["config"]
        return taken

    def table(self, stream: str, prefix: str) -> "Table":
        """Give the table of all keys under a subject prefix of a table stream."""
        from atoll.federation.bus.table import Table

        return Table(self, stream, prefix)

    def own_table(self, stream: str, prefix: str) -> "Table":
        """Give a member's part of a shared table: it can be followed and written, and says nothing of the stream."""
        from atoll.federation.bus.table import Table

        return Table(self, stream, prefix, is_own=True)

    async def api(self, verb: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the JetStream API.

        Raises:
            NotFound, Conflict, Internal: the server refused; Unavailable: it did not answer.
        """
        answer = await self._api_raw(verb, body)
        _raise_for(answer, verb)
        return answer

    async def _api_raw(self, verb: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        payload = orjson.dumps(body) if body is not None else b""
        return _json(await self._ask(f"$JS.API.{verb}", payload, is_quick=True))

    async def store(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Publish to a stream and wait until it is durable; give its sequence.

        Raises:
            Conflict: an expectation in the headers does not hold. Unavailable: the outcome is unknown.
        """
        answer = _json(await self._ask(subject, payload, headers=headers, is_quick=True))
        _raise_for(answer, subject)
        return int(answer["seq"])

    # --- request and reply

    async def request(
        self, subject: str, payload: bytes, *, timeout_seconds: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Ask once and give the answer's bytes.

        Raises:
            Unavailable: nobody listens, or no answer came in time.
        """
        return await ask_once(self, subject, payload, timeout_seconds=timeout_seconds, headers=headers)

    async def _ask(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout_seconds: float = API_TIMEOUT_SECONDS,
        headers: Mapping[str, str] | None = None,
        is_quick: bool = False,
    ) -> bytes:
        """Ask; a quick answer that did not come soon after a reconnect is taken for lost with the old connection.

        nats-py waits with asyncio.wait_for, which before Python 3.12 loses a cancellation that comes together with the
        answer (python/cpython#86296): a task that polls would then never end. So it gets a task of its own.
        """
        ask = self.client.request(subject, payload, timeout=timeout_seconds, headers=dict(headers) if headers else None)
        asking = asyncio.ensure_future(ask)
        with contextlib.ExitStack() as stack:
            stack.callback(asking.cancel)
            if is_quick:
                stack.enter_context(self.on_reconnect(lambda: _cancel_later(asking)))
            await asyncio.wait({asking})
        try:
            return asking.result().data
        except asyncio.CancelledError:
            raise Unavailable(f"the connection was lost before an answer on {subject} came") from None
        except nats.errors.NoRespondersError as error:
            raise Unavailable(f"nobody answers on {subject}") from error
        except (TimeoutError, nats.errors.Error) as error:
            raise Unavailable(f"no answer on {subject} within {timeout_seconds:g} s") from error

    def request_many(self, subject: str, payload: bytes, *, timeout_seconds: float) -> AsyncIterator[bytes]:
        """Ask once and give the chunks of a streamed answer; the other side stops when the iterator is closed.

        Raises:
            Unavailable: nobody listens, or no chunk came for `timeout_seconds`. Internal: the other side failed.
        """
        return stream_answer(self, subject, payload, timeout_seconds)

    async def serve(self, subject: str, handler: Callable[[bytes], Awaitable[bytes]]) -> "Subscription":
        """Answer requests on a subject, each in a task of its own, until stopped."""
        calls = CallServer(self)
        return Subscription(self, await self.subscribe(subject, lambda msg: calls.answer_one(msg, handler)), calls)

    async def serve_many(self, subject: str, handler: Callable[[bytes], AsyncIterator[bytes]]) -> "Subscription":
        """Answer requests with a stream of chunks each, until stopped or the asker goes away."""
        calls = CallServer(self)
        return Subscription(self, await self.subscribe(subject, lambda msg: calls.answer_many(msg, handler)), calls)

    @contextlib.asynccontextmanager
    async def serving(
        self, subjects: str, handler: Callable[[str, bytes], Awaitable[bytes]], *, queue: str = "hubs"
    ) -> AsyncIterator[None]:
        """Answer requests on all subjects of a pattern; of those who do so in one queue, one gets each request."""
        calls = CallServer(self)

        def take(message: Msg) -> None:
            calls.answer_one(message, lambda payload: handler(message.subject, payload))

        subscription = await self.subscribe(subjects, take, queue=queue)
        try:
            yield
        finally:
            await self.unsubscribe(subscription)
            await calls.close()

    # --- used by the other files of this package

    async def subscribe(self, subject: str, callback: Callable[[Msg], None], *, queue: str = "") -> Any:
        """Subscribe with a plain callback that must not block. Gives nats-py's subscription."""

        async def deliver(message: Msg) -> None:
            callback(message)

        try:
            return await self.client.subscribe(
                subject, queue, cb=deliver, pending_msgs_limit=-1, pending_bytes_limit=-1
            )
        except nats.errors.Error as error:
            raise Unavailable(f"could not subscribe to {subject}") from error

    async def unsubscribe(self, subscription: Any) -> None:
        """End a subscription; a connection that is gone has ended it already."""
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()

    async def publish(
        self, subject: str, payload: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send without waiting for anything but room in the send buffer."""
        try:
            await self.client.publish(subject, payload, reply=reply, headers=dict(headers) if headers else None)
        except nats.errors.Error as error:
            raise Unavailable(f"could not publish to {subject}") from error

    def new_inbox(self) -> str:
        """Give a subject on which JetStream may deliver to this connection; nobody else can guess it."""
        return f"{self.login.identity.inbox_prefix}.{secrets.token_hex(16)}"

    def new_call_inbox(self) -> str:
        """Give a subject for the answers to one call; who is asked may write there and learns nothing of others."""
        return f"{self.login.identity.call_prefix}.{secrets.token_hex(16)}"


class Subscription:
    """A service that answers requests until `stop`."""

    def __init__(self, bus: Bus, subscription: Any, calls: CallServer) -> None:
        self._bus, self._subscription, self._calls = bus, subscription, calls

    async def stop(self) -> None:
        """Take no more requests and cancel those under way."""
        await self._bus.unsubscribe(self._subscription)
        await self._calls.close()


def _cancel_later(asking: asyncio.Future[Msg]) -> None:
    asyncio.get_running_loop().call_later(_LOST_ANSWER_SECONDS, asking.cancel)


def tombstone_headers() -> dict[str, str]:
    """Headers of the mark that a key is gone; kept for a day, so that a follower who was away learns of it."""
    return {"Atoll-Deleted": "1", "Nats-TTL": f"{_TOMBSTONE_TTL_SECONDS}s"}


def is_tombstone(headers: Mapping[str, str] | None) -> bool:
    """Whether a message says that its key is gone: ours, or the server's mark for an expired one."""
    return bool(headers) and ("Atoll-Deleted" in headers or "Nats-Marker-Reason" in headers)  # type: ignore[operator]


def _json(data: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Internal("NATS answered with something that is no JSON") from error
    if not isinstance(answer, dict):
        raise Internal("NATS answered with something that is no object")
    return answer


def _raise_for(answer: Mapping[str, Any], what: str) -> None:
    error = answer.get("error")
    if not error:
        return
    code, text = error.get("err_code", 0), f"{what}: {error.get('description', 'refused')}"
    if code in _CONFLICT_CODES:
        raise Conflict(text)
    if code in _NOT_FOUND_CODES:
        raise NotFound(text)
    if error.get("code", 500) >= 500:  # out of storage, no leader, overloaded: it may pass
        raise Unavailable(text)
    raise Internal(text)
