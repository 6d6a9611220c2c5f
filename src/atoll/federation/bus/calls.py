"""Request and reply with streamed answers, on core NATS.

A streamed answer is a run of messages to the asker's inbox, closed by one with the header `Atoll-End` (with
`Atoll-Error` if the other side failed). The asker sends a sign of life every few seconds on a control subject that it
names in `Atoll-Control`; when signs stop coming, the answerer stops: a `logs -f` whose reader died costs nothing. An
asker that sends `Atoll-Window` tells there, too, how many bytes it has handed on, and the answerer sends only so many
ahead of that: what a slow reader has not taken yet waits where it comes from, not in the hub's memory.

NATS lets everybody name any reply subject, and the answer is sent with the rights of who answers: an answerer writes
only to inboxes of calls, and hears signs only below the subject that it serves. Every call has an inbox of its own that
cannot be guessed, so that nobody who was asked once can answer for others.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from atoll.federation.bus.subjects import CALL_PREFIX, shown
from atoll.federation.errors import AtollError, Internal, Unavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from atoll.federation.bus.connection import Bus

log = structlog.get_logger(__name__)

SIGN_OF_LIFE_SECONDS = 5.0
# Three signs may be lost to a reconnect before the asker counts as gone.
GONE_AFTER_SECONDS = 4 * SIGN_OF_LIFE_SECONDS
# Bytes on the way to one reader. Less, and a distant hub's round trip bounds the rate of its logs.
WINDOW_BYTES = 8 * 1024 * 1024
_TOLD_EVERY_BYTES = WINDOW_BYTES // 8
_NO_RESPONDERS = "503"
_STOP, _TAKEN = b"stop", b"taken "


async def ask_once(
    bus: "Bus", subject: str, payload: bytes, *, timeout_seconds: float, headers: Mapping[str, str] | None = None
) -> bytes:
    """Ask and give the one answer. See Bus.request."""
    inbox = bus.new_call_inbox()
    answers: deque[Msg] = deque()
    arrived = asyncio.Event()

    def on_message(message: "Msg") -> None:
        answers.append(message)
        arrived.set()

    subscription = await bus.subscribe(inbox, on_message)
    try:
        await bus.publish(subject, payload, reply=inbox, headers=headers)
        await _wait(arrived, subject, timeout_seconds)
    finally:
        await bus.unsubscribe(subscription)
    if (answers[0].headers or {}).get("Status") == _NO_RESPONDERS:
        raise Unavailable(f"nobody answers on {shown(subject)}")
    return answers[0].data


async def stream_answer(bus: "Bus", subject: str, payload: bytes, timeout_seconds: float) -> AsyncIterator[bytes]:
    """Ask and give chunks until the end mark. See Bus.request_many."""
    inbox, control = bus.new_call_inbox(), f"{subject}.{secrets.token_hex(16)}"
    queue: deque[Msg] = deque()
    arrived = asyncio.Event()

    def on_message(message: "Msg") -> None:
        queue.append(message)
        arrived.set()

    subscription = await bus.subscribe(inbox, on_message)
    alive = asyncio.create_task(_send_signs(bus, control))
    try:
        await bus.publish(subject, payload, reply=inbox, headers={"Atoll-Control": control, "Atoll-Window": "1"})
        taken = told = 0
        while True:
            await _wait(arrived, subject, timeout_seconds)
            arrived.clear()
            while queue:
                message = queue.popleft()
                if _is_end(message, subject):
                    return
                yield message.data
                taken += len(message.data)
                if taken - told >= _TOLD_EVERY_BYTES:
                    await bus.publish(control, b"%s%d" % (_TAKEN, taken))
                    told = taken
    finally:
        alive.cancel()
        await bus.unsubscribe(subscription)
        with contextlib.suppress(AtollError):
            await bus.publish(control, _STOP)


async def _wait(arrived: asyncio.Event, subject: str, timeout_seconds: float) -> None:
    try:
        async with asyncio.timeout(timeout_seconds):
            await arrived.wait()
    except TimeoutError as error:
        raise Unavailable(f"no answer on {shown(subject)} within {timeout_seconds:g} s") from error


def _is_end(message: "Msg", subject: str) -> bool:
    headers = message.headers or {}
    if headers.get("Status") == _NO_RESPONDERS:
        raise Unavailable(f"nobody answers on {shown(subject)}")
    if "Atoll-Error" in headers:
        raise Internal(headers["Atoll-Error"])
    return "Atoll-End" in headers


async def _send_signs(bus: "Bus", control: str) -> None:
    while True:
        await asyncio.sleep(SIGN_OF_LIFE_SECONDS)
        with contextlib.suppress(AtollError):
            await bus.publish(control, b"")


class _Window:
    """How far an answer may run ahead of its reader."""

    def __init__(self, *, is_told: bool) -> None:
        self._is_told = is_told
        self._sent = self._taken = 0
        self._moved = asyncio.Event()

    def take(self, sign: bytes) -> None:
        """Learn from a sign of life what the reader has taken; what it cannot mean is ignored."""
        told = sign.removeprefix(_TAKEN)
        if told != sign and told.isdigit():
            self._taken = max(self._taken, int(told))
            self._moved.set()

    async def send(self, count: int) -> None:
        """Count bytes that are sent next, and wait while too many are on the way already."""
        while self._is_told and self._sent - self._taken > WINDOW_BYTES:
            self._moved.clear()
            await self._moved.wait()
        self._sent += count


class CallServer:
    """Runs the handlers of one served subject, each call in a task of its own."""

    def __init__(self, bus: "Bus") -> None:
        self._bus = bus
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Cancel the calls under way and wait until they are gone."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answer_one(self, message: "Msg", handler: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Answer with one message."""
        self._spawn(message, self._one(message, handler))

    def answer_many(self, message: "Msg", handler: Callable[[bytes], AsyncIterator[bytes]]) -> None:
        """Answer with a stream of messages."""
        self._spawn(message, self._many(message, handler))

    def _spawn(self, message: "Msg", work: Coroutine[Any, Any, None]) -> None:
        if not message.reply.startswith(f"{CALL_PREFIX}."):
            log.warning("a call that wants its answer elsewhere is not answered", subject=message.subject)
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, message: "Msg", handler: Callable[[bytes], Awaitable[bytes]]) -> None:
        try:
            answer = await handler(message.data)
            await self._bus.publish(message.reply, answer)
        except Exception as error:
            log.error("a request failed", subject=message.subject, error=str(error), exc_info=True)

    async def _many(self, message: "Msg", handler: Callable[[bytes], AsyncIterator[bytes]]) -> None:
        headers = message.headers or {}
        window = _Window(is_told="Atoll-Window" in headers)
        pump = asyncio.create_task(self._pump(message, handler, window))
        guard = asyncio.create_task(self._until_gone(message.subject, headers.get("Atoll-Control", ""), window))
        try:
            await asyncio.wait({pump, guard}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, guard):
                task.cancel()
            await asyncio.gather(pump, guard, return_exceptions=True)

    async def _pump(self, message: "Msg", handler: Callable[[bytes], AsyncIterator[bytes]], window: _Window) -> None:
        end = {"Atoll-End": "1"}
        try:
            async with contextlib.aclosing(handler(message.data)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    await window.send(len(chunk))
                    await self._bus.publish(message.reply, chunk)
        except AtollError as error:
            end["Atoll-Error"] = _one_line(str(error))
        except Exception as error:
            log.error("a streamed request failed", subject=message.subject, error=str(error), exc_info=True)
            end["Atoll-Error"] = "the answering side failed; its log says more"
        with contextlib.suppress(AtollError):
            await self._bus.publish(message.reply, b"", headers=end)

    async def _until_gone(self, subject: str, control: str, window: _Window) -> None:
        """Return when the asker says stop or has been silent too long."""
        if not control.startswith(f"{subject}."):
            await asyncio.Event().wait()
        heard, stopped = asyncio.Event(), asyncio.Event()

        def on_sign(message: "Msg") -> None:
            window.take(message.data)
            (stopped if message.data == _STOP else heard).set()
            heard.set()

        subscription = await self._bus.subscribe(control, on_sign)
        try:
            while not stopped.is_set():
                heard.clear()
                async with asyncio.timeout(GONE_AFTER_SECONDS):
                    await heard.wait()
        except TimeoutError:
            log.info("the reader of a streamed answer went away", control=control)
        finally:
            await self._bus.unsubscribe(subscription)


class Subscription:
    """A service that answers requests until `stop`."""

    def __init__(self, bus: "Bus", subscription: Any, calls: CallServer) -> None:
        self._bus, self._subscription, self._calls = bus, subscription, calls

    async def stop(self) -> None:
        """Take no more requests and cancel those under way."""
        await self._bus.unsubscribe(self._subscription)
        await self._calls.close()


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
