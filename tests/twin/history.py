"""One history: its clock and chances, its programs, the network and the NATS server, from the first moment to the last.

Owns what every kind of history has, and how one is lived. What runs in it is for its kind to say: a federation in
world.py, laboratories in lab.py.
"""

import asyncio
import gc
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self

from twin import shims
from twin.jetstream import Stored
from twin.machine import Machine, VirtualClock, VirtualLoop
from twin.nats_client import TwinClient
from twin.nats_server import Server
from twin.network import Network
from twin.programs import Program
from twin.story import Story

# How long all may take to be as it should once nothing goes wrong any more: backoffs, a fence and a whole attempt.
SETTLE_SECONDS = 400.0


@dataclass
class Journal:
    """Everything that NATS stored, in order, and a digest of it by which two histories are told apart."""

    entries: list[tuple[str, Stored]] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def note(self, stream: str, stored: Stored) -> None:
        self.entries.append((stream, stored))
        self.digest.update(repr((stored.sequence, stored.subject, stored.payload, stored.stored_at)).encode())


class History(ABC):
    """What is common to all kinds. `programs` is what faults hit."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.story, self.folder = story, folder
        self.clock = VirtualClock()
        self.chance = Random(f"world {story.seed}")
        self.loop = VirtualLoop(self.clock, self.chance)
        self.journal = Journal()
        self.is_settled = False
        self.programs: list[Program] = []
        self.by_name: dict[str, Program] = {}

    def live(self) -> Self:
        """Let it happen."""
        self._prepare()
        shims.begin(self.clock, self.story.seed)
        asyncio.set_event_loop(self.loop)
        gc.disable()  # generators that it finds in cycles are closed by tasks: when depends on all that ran before
        try:
            self.loop.run_until_complete(self._course())
        finally:
            try:
                self.loop.end([process for program in self.programs for process in program.lives])
            finally:
                asyncio.set_event_loop(None)
                shims.end()
                gc.enable()
        return self

    @abstractmethod
    def _prepare(self) -> None:
        """Do what takes real time, and put the twin's doors in their places."""

    def machine(self, name: str) -> Machine:
        """Give a machine with the clock that the story gives it."""
        return Machine(name, self.story.rates.get(name, 1.0), self.story.skews.get(name, 0.0))

    def open_nats(self) -> None:
        """Begin with a network and a server; whoever connects from now on connects to these."""
        self.network = Network(self.loop, self.chance)
        self.server = Server(self.loop, self.chance, self.journal.note)
        TwinClient.network, TwinClient.server = self.network, self.server

    def run(self, programs: list[Program]) -> None:
        """Start programs; from now on they have names."""
        self.programs = programs
        for program in programs:
            program.start()
        self.by_name = {program.name: program for program in programs}

    async def _course(self) -> None:
        await self._begin()
        tasks = [asyncio.create_task(each) for each in self._happenings()]
        await asyncio.gather(*tasks)
        await self._settle()

    @abstractmethod
    async def _begin(self) -> None:
        """Start all programs, and what is there before the story begins."""

    @abstractmethod
    def _happenings(self) -> list[Any]:
        """Give the coroutines of all that the story tells."""

    async def _settle(self) -> None:
        """Wait until all is as it should be, but not for ever."""
        end = self.clock.now + SETTLE_SECONDS
        while self.clock.now < end and not self.is_settled:
            await asyncio.sleep(2)
            self.is_settled = self._is_done()
        await asyncio.sleep(5)  # what is done wrongly at the end is done now

    @abstractmethod
    def _is_done(self) -> bool:
        """Tell whether all is as it should be."""
