"""The bus: what Atoll asks of NATS over one connection: JetStream's API, durable writes, request and reply.

It must not know what travels. Failures are `Unavailable` (try again; a write's outcome is then unknown), `Conflict`,
`NotFound` or `Internal`.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from nats.aio.msg import Msg

from atoll.federation.bus.answers import raise_for, read_answer, stream_exists
from atoll.federation.bus.calls import CallServer, Subscription, ask_once, stream_answer
from atoll.federation.bus.link import API_TIMEOUT_SECONDS, Link
from atoll.federation.bus.streams import chunk_stream, log_stream, record_stream, table_stream
from atoll.federation.errors import InvalidInput

if TYPE_CHECKING:
    from atoll.federation.bus.table import Table


class Bus(Link):
    """One connection to NATS. Make it with `connect`; close it when done.

    `replicas` is how many servers keep each of the streams that it makes: 3 of a cluster of three or more.
    """

    replicas = 1

    # --- JetStream

    async def ensure_table(self, stream: str, prefix: str, *, history: int = 1, is_hubs_own: bool = False) -> None:
        """Make the stream behind tables: the last message per subject is kept, tombstones for a day.

        Args:
            history: values kept per key. A follower that is this many writes of one key behind skips some of them.
            is_hubs_own: no member may publish there, so batches and tables with a history are possible.

        Raises:
            InvalidInput: the server is too old for atomic batches. Unavailable: it does not answer.
        """
        config = await self._ensure_stream(table_stream(stream, prefix, history=history, is_hubs_own=is_hubs_own))
        if is_hubs_own and not config.get("allow_atomic"):  # what a server does not know it leaves out
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
        await self._ensure_stream(log_stream(stream, prefix, max_bytes=max_bytes, taken_in=taken_in))

    async def ensure_chunks(self, stream: str, prefix: str, *, max_bytes: int, taken_in: str) -> None:
        """Make the stream behind chunks of files: a subject takes one message, and when full the stream refuses.

        Args:
            prefix: of the subjects by which they are read.
            taken_in: prefix of the subjects by which they are written.
        """
        await self._ensure_stream(chunk_stream(stream, prefix, max_bytes=max_bytes, taken_in=taken_in))

    async def ensure_records(
        self, stream: str, prefix: str, *, max_bytes: int, max_age_seconds: float, in_batches: bool = False
    ) -> None:
        """Make the stream behind records that nobody alters: it refuses to delete or purge, and drops the oldest only.

        With `in_batches` it takes atomic batches, too, so that many records can share a commit. The server does not
        take the refusals back (nats-server, `checkStreamCfg`); who may delete a whole stream is for the permissions of
        an account to say.
        """
        config = record_stream(
            stream, prefix, max_bytes=max_bytes, max_age_seconds=max_age_seconds, in_batches=in_batches
        )
        await self._ensure_stream(config)

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
        config = {"num_replicas": self.replicas, **config}
        answer = await self._api_raw(f"STREAM.CREATE.{config['name']}", config)
        if stream_exists(answer):
            answer = await self.api(f"STREAM.UPDATE.{config['name']}", config)
        raise_for(answer, f"stream {config['name']}")
        taken: Mapping[str, Any] = answer["config"]
        return taken

    def table(self, stream: str, prefix: str, *, keeps_history: bool = False) -> "Table":
        """Give the table of all keys under a subject prefix of a table stream.

        Args:
            keeps_history: the stream keeps more than one value per key.
        """
        from atoll.federation.bus.table import Table

        return Table(self, stream, prefix, keeps_history=keeps_history)

    def own_table(self, stream: str, prefix: str) -> "Table":
        """Give a member's part of a shared table: it can be followed and written, and says nothing of the stream."""
        from atoll.federation.bus.table import Table

        return Table(self, stream, prefix, is_own=True)

    async def api(
        self, verb: str, body: Mapping[str, Any] | None = None, *, timeout_seconds: float = API_TIMEOUT_SECONDS
    ) -> dict[str, Any]:
        """Call the JetStream API.

        Raises:
            NotFound, Conflict, Internal: the server refused; Unavailable: it did not answer.
        """
        answer = await self._api_raw(verb, body, timeout_seconds)
        raise_for(answer, verb)
        return answer

    async def _api_raw(
        self, verb: str, body: Mapping[str, Any] | None, timeout_seconds: float = API_TIMEOUT_SECONDS
    ) -> dict[str, Any]:
        payload = orjson.dumps(body) if body is not None else b""
        return read_answer(await self.ask(f"$JS.API.{verb}", payload, timeout_seconds=timeout_seconds, is_quick=True))

    async def store(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Publish to a stream and wait until it is durable; give its sequence.

        Raises:
            Conflict: an expectation in the headers does not hold. Unavailable: the outcome is unknown.
        """
        answer = read_answer(await self.ask(subject, payload, headers=headers, is_quick=True))
        raise_for(answer, subject)
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

    def request_many(self, subject: str, payload: bytes, *, timeout_seconds: float) -> AsyncIterator[bytes]:
        """Ask once and give the chunks of a streamed answer; the other side stops when the iterator is closed.

        Raises:
            Unavailable: nobody listens, or no chunk came for `timeout_seconds`. Internal: the other side failed.
        """
        return stream_answer(self, subject, payload, timeout_seconds)

    async def serve(self, subject: str, handler: Callable[[bytes], Awaitable[bytes]]) -> Subscription:
        """Answer requests on a subject, each in a task of its own, until stopped."""
        calls = CallServer(self)
        return Subscription(self, await self.subscribe(subject, lambda msg: calls.answer_one(msg, handler)), calls)

    async def serve_many(self, subject: str, handler: Callable[[bytes], AsyncIterator[bytes]]) -> Subscription:
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
