"""Writing a log: envelopes go once and in order into a stream.

The writer is a chain: every message names the one before it and its place, so that one lost publish makes all later
ones fail; on any doubt the writer asks the stream what it holds and goes on from there. Neither a dedupe window nor an
acknowledgement that came late can make a reading appear twice. Why the id and the place: docs/adr/0037.
"""

import asyncio
import base64
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from atoll.federation.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from atoll.federation.bus.connection import Bus

# Bytes under way: what is sent is in memory twice until it is on the link. Smaller, and a fast link of 100 ms is not
# filled; larger, and a gateway needs more than a small box has.
_WINDOW_BYTES = 4 * 1024 * 1024
# Without an acknowledgement for so long the server is asked whether it has what was sent, and then given so long to say
# so. Shorter, and a slow fsync looks like a loss; longer, and a dead leader holds a log up for longer.
_QUIET_SECONDS, _GRACE_SECONDS = 1.5, 1.5
# A question to a stream without a leader is lost; the writer's owner asks again soon.
_ASK_SECONDS = 3.0
# Where the answer to such a question arrives, in the place of an entry's.
_QUESTION = "question"
_MESSAGE_ID, _NOTE = "Nats-Msg-Id", "Atoll-Note"
_LAST_ID, _LAST_SEQUENCE = "Nats-Expected-Last-Msg-Id", "Nats-Expected-Last-Sequence"


@dataclass(frozen=True)
class Resumed:
    """The newest entry that a log holds of a numbering: its number, 0 if there is none, and the note it came with."""

    number: int
    note: str = ""


class LogWriter:
    """Appends entries to one stream, in the order in which they are given. One writer per stream.

    `ident` names the numbering (the outbox's id). `stored` counts how many of the entries appended since `resume` are
    known to be stored; as each names the one before it, these are the first ones.
    """

    def __init__(self, bus: "Bus", stream: str, *, ident: str, window: int = 64, deadline_seconds: float = 5.0) -> None:
        self._bus, self._stream, self._ident = bus, stream, ident
        self._window, self._deadline_seconds = window, deadline_seconds
        self._pending: dict[int, float] = {}
        self._sizes: dict[int, int] = {}
        self._last_sequence, self._last_id = 0, ""
        self._inbox = ""
        self._subscription: Any = None
        self._session = 0
        self._broken = ""
        self._moved = asyncio.Event()
        self._is_answered = False
        self._appended = 0
        self.stored = 0

    async def resume(self) -> Resumed:
        """Start a session: tell which entry of this numbering is the newest that the log holds.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        await self.close()
        self._session += 1
        self._pending.clear()
        self._sizes.clear()
        self._broken = ""
        self._appended = self.stored = 0
        message_id, note = await self._find_end()
        ident, _, number = message_id.rpartition(":")
        self._inbox = self._bus.new_inbox()
        session = self._session
        self._subscription = await self._bus.subscribe(f"{self._inbox}.*", lambda msg: self._answered(msg, session))
        return Resumed(int(number), note) if ident == self._ident else Resumed(0)

    async def close(self) -> None:
        """End the session; what was not acknowledged is in doubt until the next `resume`."""
        if self._subscription is not None:
            await self._bus.unsubscribe(self._subscription)
            self._subscription = None

    async def _find_end(self) -> tuple[str, str]:
        """Give id and note of the newest entry that is stored, empty if none, and set what the next one must follow.

        The two questions are answered one after the other, and messages of an earlier session may still arrive between
        them: the place is that of the newest message, unless that was deleted.
        """
        info = await self._bus.api(f"STREAM.INFO.{self._stream}", timeout_seconds=_ASK_SECONDS)
        last_sequence, config = int(info["state"]["last_seq"]), info["config"]
        subject = (config.get("subject_transform") or {}).get("dest") or config["subjects"][0]  # as it is stored
        sequence, headers = 0, dict[str, str]()
        with contextlib.suppress(NotFound):
            wanted = {"last_by_subj": subject}
            answer = await self._bus.api(f"STREAM.MSG.GET.{self._stream}", wanted, timeout_seconds=_ASK_SECONDS)
            sequence, headers = int(answer["message"]["seq"]), _headers(answer["message"])
        message_id = headers.get(_MESSAGE_ID.lower(), "")
        # Of a message that was deleted the server forgets the id when it restarts.
        self._last_id = message_id if sequence >= last_sequence else ""
        self._last_sequence = max(last_sequence, sequence)
        return message_id, headers.get(_NOTE.lower(), "")

    async def append(self, number: int, subject: str, payload: bytes, *, note: str = "") -> None:
        """Send the next entry; wait only while the window is full.

        Args:
            number: one that no entry of this numbering had before.
            subject: where it goes.
            payload: what is stored.
            note: what `resume` gives back if this is the newest entry; at most a few kilobytes.

        Raises:
            Unavailable: the chain broke or a deadline passed; call `resume` and go on from what it says.
        """
        while self._pending and not self._has_room(len(payload)):
            await self._wait()
        self._check()
        message_id = f"{self._ident}:{number}"
        headers = {_MESSAGE_ID: message_id, _LAST_SEQUENCE: str(self._last_sequence)}
        headers |= ({_LAST_ID: self._last_id} if self._last_id else {}) | ({_NOTE: note} if note else {})
        self._appended += 1
        self._pending[self._appended] = time.monotonic() + self._deadline_seconds
        self._sizes[self._appended] = len(payload)
        self._last_sequence, self._last_id = self._last_sequence + 1, message_id
        await self._bus.publish(subject, payload, reply=f"{self._inbox}.{self._appended}", headers=headers)

    def _has_room(self, size: int) -> bool:
        """Tell whether one more may be under way; the first of a session goes alone, until it is known to be stored."""
        return (
            len(self._pending) < (self._window if self.stored else 1)
            and sum(self._sizes.values()) + size <= _WINDOW_BYTES
        )

    async def flush(self) -> int:
        """Wait until everything sent is durable; give how many entries that is since `resume`.

        Raises:
            Unavailable: as `append`.
        """
        while self._pending:
            await self._wait()
        self._check()
        return self.stored

    def _answered(self, message: "Msg", session: int) -> None:
        if session != self._session:
            return
        if message.subject.endswith(f".{_QUESTION}"):
            self._is_answered = bool(message.data)
            self._moved.set()
            return
        place = int(message.subject.rpartition(".")[2])
        problem = _refusal(message)
        if problem:
            self._broken = self._broken or problem
        elif self._pending.pop(place, None) is not None:
            del self._sizes[place]
            self.stored = max(self.stored, place)
        self._moved.set()

    async def _wait(self) -> None:
        """Wait for an acknowledgement; after a silence find out whether one can still come."""
        self._check()
        self._moved.clear()
        left = min(self._pending.values()) - time.monotonic()
        if not await self._moves(min(_QUIET_SECONDS, left)):
            await self._look_after_acknowledgements()
        self._check()

    async def _look_after_acknowledgements(self) -> None:
        """Find out early that acknowledgements are lost, as they are when the leader of a replicated stream dies.

        Who answers a question has all that was sent before it, so on a slow link neither is lost. Questions are lost
        like anything else, and are asked again.
        """
        self._is_answered = False
        while not self._is_answered:
            if min(self._pending.values()) <= time.monotonic():
                self._broken = f"no acknowledgement within {self._deadline_seconds:g} s"
                return
            await self._bus.publish(f"$JS.API.STREAM.INFO.{self._stream}", b"", reply=f"{self._inbox}.{_QUESTION}")
            if await self._moves(_QUIET_SECONDS) and not self._is_answered:
                return
        self._moved.clear()
        if not await self._moves(_GRACE_SECONDS):
            self._broken = "acknowledgements were lost"

    async def _moves(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._moved.wait()
                return True
        return False

    def _check(self) -> None:
        if self._broken:
            raise Unavailable(f"{self._stream}: {self._broken}")
        if self._subscription is None:
            raise Unavailable(f"{self._stream}: not resumed")


def _refusal(message: "Msg") -> str:
    """Say why an entry was not stored; empty if it was (or had been before)."""
    if not message.data:
        return "no stream takes this subject"
    answer = orjson.loads(message.data)
    error = answer.get("error")
    return str(error.get("description", "refused")) if error else ""


def _headers(message: Mapping[str, Any]) -> dict[str, str]:
    """Give a stored message's headers, their names in lower case."""
    head = base64.b64decode(message.get("hdrs", "")).decode(errors="replace")
    lines = (line.partition(":") for line in head.split("\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}
