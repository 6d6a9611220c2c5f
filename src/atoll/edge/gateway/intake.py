"""From the broker into the outbox: pack, store, and only then acknowledge.

Owns that order. What is not stored is not acknowledged, so a full disk ends as back-pressure on the broker.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import structlog

from atoll.edge.gateway.mqtt import Batch
from atoll.edge.gateway.outbox import Outbox, OutboxFull
from atoll.edge.gateway.packing import Message, Packed, Packer

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0


class MessageSource(Protocol):
    """Where messages come from."""

    async def receive(self) -> Batch: ...
    def acknowledge(self, messages: Iterable[Message]) -> None: ...


class Intake:
    """Stores what arrives. `problem` says why nothing is taken in now; the counts are of what became no reading."""

    def __init__(self, outbox: Outbox, packer: Packer, *, on_stored: Callable[[], None]) -> None:
        self._outbox, self._packer, self._on_stored = outbox, packer, on_stored
        self.problem = ""
        self.refused, self.last_refusal = 0, ""
        self.unmatched = 0
        self.retained = 0

    async def run(self, source: MessageSource) -> None:
        """Take in from one source until cancelled.

        Raises:
            OutboxDamaged: the outbox must be replaced; what is not stored was not acknowledged.
        """
        while True:
            batch = await source.receive()
            if batch.is_new_session:
                await self._forget_session()
            packed = self._packer.pack(batch.messages)
            self._count(packed)
            if packed.packets or packed.duplicates:
                await self._insist(partial(self._outbox.store, packed, now=time.time()))
            source.acknowledge(batch.messages)
            if packed.drafts:
                self._on_stored()

    async def _forget_session(self) -> None:
        log.warning("the broker has no session of this gateway; what it held for us before, if anything, is gone")
        await self._insist(self._outbox.begin_session)
        self._packer.recent.forget_packet_ids()

    async def _insist(self, write: Callable[[], object]) -> None:
        """Repeat a write until there is room for it. The packer has moved on, so giving up is not possible."""
        while True:
            try:
                await asyncio.to_thread(write)
                break
            except OutboxFull as full:
                if not self.problem:
                    log.error("stopped taking in readings", reason=str(full))
                self.problem = str(full)
                await asyncio.sleep(_RETRY_SECONDS)
        if self.problem:
            log.info("takes in readings again")
        self.problem = ""

    def _count(self, packed: Packed) -> None:
        self.retained += packed.retained
        self.unmatched += packed.unmatched
        if packed.refused:
            self.refused += len(packed.refused)
            self.last_refusal = packed.refused[-1]
            log.error("refused readings", count=len(packed.refused), last=packed.refused[-1])
