"""Tells the hub what is: the newest report per key, written when it changed, kept for later when the bus is away.

Level-based: only the newest report of a key counts, and after a reconnect all are written again, since what was in
flight may be lost: news at once, the rest within some seconds, since other agents are back at the same moment. It must
not know what the reports mean.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Protocol

import structlog

from atoll.federation.backoff import Backoff
from atoll.federation.bus.messages import Message
from atoll.federation.errors import AtollError, InvalidInput

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS = 0.25
_LONGEST_RETRY_SECONDS = 10.0
# Reports under way at once: at 60 ms to the hub this is some 500 a second.
_PARALLEL = 32
# Over how long an agent waits before it repeats what the hub most likely has: a thousand agents with ten reports each
# are 2,000 writes a second then, which is what one NATS that syncs each of them takes.
REPEAT_SPREAD_SECONDS = 5.0


class ObservedTable(Protocol):
    """What is needed of the bus's table."""

    async def put(self, key: str, value: bytes) -> int:
        """Write a value."""
        ...

    async def delete(self, key: str) -> int:
        """Delete a key."""
        ...


class Reporter:
    """Takes reports at any time; delivers them while `run` runs."""

    def __init__(self, *, chance: Callable[[], float] = random.random) -> None:
        """Hold no report; `chance` gives a number from 0 to 1."""
        self._chance = chance
        self._newest: dict[str, Message] = {}
        self._pending: dict[str, None] = {}  # ordered: who waits longest goes first
        self._forgotten: set[str] = set()
        self._wake = asyncio.Event()
        self._is_back = asyncio.Event()

    def report(self, key: str, message: Message) -> None:
        """Take a report; one that says the same as the last of its key, but for `at`, is dropped."""
        known = self._newest.get(key)
        if known is not None and _says(known) == _says(message):
            return
        self._newest[key] = message
        self._forgotten.discard(key)
        self._pend(key)

    def refresh(self, key: str, message: Message) -> None:
        """Take a report that is news even if only its time has changed, such as a heartbeat."""
        self._newest[key] = message
        self._pend(key)

    def forget(self, key: str) -> None:
        """Withdraw a report: what it was about is no more."""
        self._newest.pop(key, None)
        self._forgotten.add(key)
        self._pend(key)

    def repeat_all(self) -> None:
        """Write everything again, after a reconnect; what waits goes at once."""
        self._is_back.set()
        asyncio.get_running_loop().call_later(self._chance() * REPEAT_SPREAD_SECONDS, self._pend_all)

    def _pend_all(self) -> None:
        for key in self._newest:
            self._pend(key)

    def _pend(self, key: str) -> None:
        self._pending[key] = None
        self._wake.set()

    async def run(self, table: ObservedTable) -> None:
        """Deliver until cancelled."""
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, chance=self._chance)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while batch := tuple(self._pending)[:_PARALLEL]:
                for key in batch:
                    del self._pending[key]
                results = await asyncio.gather(*(self._deliver(table, key) for key in batch))
                if all(results):
                    backoff.reset()
                else:
                    await self._pause(backoff)

    async def _pause(self, backoff: Backoff) -> None:
        """Wait before trying again, or until the connection is back."""
        self._is_back.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.next_seconds()):
                await self._is_back.wait()
                backoff.reset()

    async def _deliver(self, table: ObservedTable, key: str) -> bool:
        """Write one key's newest report; False if it has to wait."""
        try:
            if message := self._newest.get(key):
                await table.put(key, message.encode())
            elif key in self._forgotten:
                await table.delete(key)
                self._forgotten.discard(key)
        except InvalidInput as error:  # no later try of the same would do better; a newer report may
            log.error("a report cannot be delivered", key=key, reason=str(error))
        except AtollError as error:
            log.debug("a report could not be delivered yet", key=key, reason=str(error))
            self._pending.setdefault(key, None)
            return False
        return True


def _says(message: Message) -> str:
    return message.model_dump_json(exclude={"at"})
