"""From the broker into the outbox: pack, store, and only then acknowledge.

Owns that order. What is not stored is not acknowledged, so a full disk ends as back-pressure on the broker.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import structlog

from atoll.edge.gateway.drafts import Message, Packed
from atoll.edge.gateway.holding import Holding
from atoll.edge.gateway.mqtt import Batch
from atoll.edge.gateway.outbox import Outbox, OutboxUnavailable
from atoll.edge.gateway.packing import Packer

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
# How often silences are measured: a run ends by idle time at most so much later than it says.
_SILENCE_CHECK_SECONDS = 1.0


class MessageSource(Protocol):
    """Where messages come from."""

    @property
    def is_subscribed(self) -> bool: ...
    async def receive(self) -> Batch: ...
    def acknowledge(self, messages: Iterable[Message]) -> None: ...
    def publish(self, topic: str, payload: bytes) -> None: ...


class Intake:
    """Stores what arrives. `problem` says why nothing is taken in now, `reason` in a word; the counts are of what
    became no reading.
    """

    def __init__(
        self, outbox: Outbox, packer: Packer, *, on_stored: Callable[[], None], on_files: Callable[[Packed], None]
    ) -> None:
        """Take in for an outbox.

        Args:
            outbox: where to.
            packer: decides.
            on_stored: is called when there is something to forward.
            on_files: keeps what a batch says of files; blocks, and raises OutboxUnavailable as the outbox does.
        """
        self._outbox, self._packer, self._on_stored, self._on_files = outbox, packer, on_stored, on_files
        self._holding = Holding(packer.streams_of)
        self._owed: deque[Callable[[], object]] = deque()
        self.problem = self.reason = ""
        self.refused, self.last_refusal = 0, ""
        self.unmatched = 0
        self.retained = 0

    async def run(self, source: MessageSource) -> None:
        """Take in from one source until cancelled.

        Raises:
            OutboxDamaged: the outbox must be replaced; what is not stored was not acknowledged.
        """
        await self._settle()
        while True:
            batch = await self._next(source)
            if batch.is_new_session:
                await self._forget_session()
            messages = self._holding.take(batch.messages, self._outbox.refusing(), is_new_session=batch.is_new_session)
            packed = self._packer.pack(messages, now=time.monotonic())
            await self._store(packed)
            source.acknowledge(messages)
            for command in packed.commands:
                source.publish(command.topic, command.payload)

    async def _next(self, source: MessageSource) -> Batch:
        """Wait for messages, and meanwhile end the runs of instruments that are silent.

        While messages are kept back the wait is short: room for them comes without a new message.
        """
        receiving = asyncio.ensure_future(source.receive())
        try:
            while (self._packer.waits_for_silence or self._holding) and not receiving.done():
                await asyncio.wait({receiving}, timeout=_SILENCE_CHECK_SECONDS)
                if receiving.done():
                    break
                if self._packer.waits_for_silence:
                    await self._expire(source)
                if self._holding and not receiving.done():
                    return Batch([])
            return await receiving
        finally:
            receiving.cancel()

    async def _expire(self, source: MessageSource) -> None:
        """End runs by silence; while the broker is away or readings are kept back, silence means nothing."""
        if source.is_subscribed and not self._holding:
            await self._store(self._packer.expire(now=time.monotonic()))
        else:
            self._packer.runs.restart_clock()

    async def _store(self, packed: Packed) -> None:
        self._count(packed)
        # Before the packets are remembered: a redelivery says it once more then, and twice is as good as once.
        if packed.announcements or packed.ended:
            self._owed.append(partial(self._on_files, packed))
        if packed.is_to_store:
            self._owed.append(partial(self._outbox.store, packed, now=time.time()))
        await self._settle()
        if packed.drafts:
            self._on_stored()

    async def _forget_session(self) -> None:
        self._owed.append(partial(self._outbox.begin_session, now=time.time()))
        await self._settle()
        if self._outbox.session_lost_at() is None:
            log.info("the broker begins a session for this gateway")
        else:
            log.warning("the broker has lost the session of this gateway; what it held for us, if anything, is gone")
        self._packer.recent.forget_packet_ids()

    async def _settle(self) -> None:
        """Do the writes that are owed, in order, each repeated until there is room for it.

        The packer has moved on, so none may be given up, nor done twice: who is cancelled meanwhile (another broker is
        wanted) waits for the write that is under way, and leaves the others to the next run.
        """
        while self._owed:
            writing = asyncio.create_task(asyncio.to_thread(self._write_one))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait({writing})
                raise
            except OutboxUnavailable as error:
                if self.reason != error.reason:
                    log.error("stopped taking in readings", reason=error.reason, problem=str(error))
                self.problem, self.reason = str(error), error.reason
                await asyncio.sleep(_RETRY_SECONDS)
        if self.problem:
            log.info("takes in readings again")
        self.problem = self.reason = ""

    def _write_one(self) -> None:
        self._owed[0]()
        self._owed.popleft()

    def _count(self, packed: Packed) -> None:
        self.retained += packed.retained
        self.unmatched += packed.unmatched
        if packed.refused:
            self.refused += len(packed.refused)
            self.last_refusal = packed.refused[-1]
            log.error("refused readings", count=len(packed.refused), last=packed.refused[-1])
