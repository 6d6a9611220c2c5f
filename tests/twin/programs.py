"""The programs of a history: hubs and agents, whole, each started anew when it ends, as its supervisor would.

Owns how each is put together on the twin's doors. What is real in the programs is everything above those doors:
nats-py's client, the generated Kubernetes client, the clock.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.member import main as agent_main
from atoll.edge.member.kube import Kube
from atoll.edge.member.requests import ApiServer
from atoll.edge.member.settings import MemberSettings
from atoll.edge.member.wiring import parts
from atoll.federation.bus import link
from atoll.federation.bus.connection import Bus
from atoll.federation.errors import AtollError, Unavailable
from atoll.hub import kinds
from atoll.hub.app import Hub, build
from atoll.hub.controllers import policy_source
from atoll.hub.dashboard import app as dashboard
from atoll.hub.field.wires import Wires
from atoll.hub.leader import Lease
from atoll.hub.settings import HubSettings
from twin import shims
from twin.api_server import TwinApi
from twin.git import Repository
from twin.machine import Machine, Process, VirtualClock, current_machine
from twin.member import Member
from twin.nats_client import TwinClient

NATS_URL = "nats://twin"
HEARTBEAT_SECONDS, TIMEOUT_SECONDS, LEASE_SECONDS, MARGIN_SECONDS = 3.0, 9.0, 20.0, 5.0
_RESTART_SECONDS = 1.0


@dataclass
class Program:
    """A program, its present process, and how each of its lives ended that nobody killed."""

    name: str
    machine: Machine
    main: Callable[["Program"], Coroutine[Any, Any, None]]
    process: Process = field(init=False)
    lives: list[Process] = field(default_factory=list)
    ends: list[BaseException | None] = field(default_factory=list)
    hub: Hub | None = None
    is_wanted: bool = False

    def start(self) -> None:
        """Begin a life."""
        self.is_wanted = True
        self.process = Process(self.name, self.machine)
        self.lives.append(self.process)
        process, task = self.process, self.process.start(self.main(self))
        task.add_done_callback(lambda done: self._ended(process, done))

    def _ended(self, process: Process, task: "asyncio.Task[None]") -> None:
        if process is not self.process or not process.is_alive or task.cancelled():  # only the end of it all cancels
            return
        self.ends.append(task.exception())
        self.kill()
        self.is_wanted = True
        loop = asyncio.get_running_loop()
        loop.call_later(_RESTART_SECONDS, lambda: self.is_wanted and self.process is process and self.start())

    def kill(self) -> None:
        """End it at once; nothing starts it again but `start`."""
        self.is_wanted = False
        self.hub = None
        self.process.kill()


def install(repository: Repository) -> None:
    """Put the twin's doors where the programs' composition takes them."""
    shims.tell_time_to(parts)
    _put(policy_source, "load_bundle", repository.load)
    _put(link, "NatsClient", TwinClient)
    _put(parts, "boot_id", lambda: current_machine().boot_id)
    # What every hub makes of the same code, and a process of its own makes once: half of the time of a history.
    _put(kinds, "openapi_schema", _schema)
    _put(dashboard, "Renderer", _renderer)


def _put(place: Any, name: str, ours: Any) -> None:
    """Put a door in the place of the one that is there: where there is none, a history would not be the seed's."""
    assert hasattr(place, name), f"{place.__name__} has no {name} any more: the twin must stand somewhere else"
    setattr(place, name, ours)


_schema, _renderer = cache(kinds.openapi_schema), cache(dashboard.Renderer)


def hub_program(name: str, machine: Machine, folder: Path, clock: VirtualClock) -> Program:
    """Give a hub."""
    settings = HubSettings(
        nats_url=NATS_URL,
        state_dir=folder / name,
        heartbeat_timeout_seconds=TIMEOUT_SECONDS,
        run_lease_seconds=LEASE_SECONDS,
        run_lease_margin_seconds=MARGIN_SECONDS,
        insecure_http=True,
        no_auth=True,
    )
    settings.check()

    async def main(program: Program) -> None:
        async with contextlib.AsyncExitStack() as stack:
            hub = await _built(settings, stack, clock)
            program.hub = hub
            await hub.run()

    return Program(name, machine, main)


async def _built(settings: HubSettings, stack: contextlib.AsyncExitStack, clock: VirtualClock) -> Hub:
    """Do what hub/main.py does, but for the thread of the lease and the socket."""
    while True:
        try:
            bus = await Bus.connect(settings.nats_url, name="hub")
            beside = await Bus.connect(settings.nats_url, name="hub lease")
            lease = await Lease.open(beside, seconds=settings.lease_seconds)
            return await build(settings, Wires.open_to_all(bus), lease, clock=clock.datetime)
        except Unavailable:
            await asyncio.sleep(1.0)


def agent_program(member: Member, machine: Machine, folder: Path, chance: Random) -> Program:
    """Give the agent of a cluster; its state folder outlives its lives."""
    settings = MemberSettings(
        cluster=member.name,
        enrolment=EnrolmentSettings(NATS_URL),
        state_dir=folder / member.name,
        heartbeat_seconds=HEARTBEAT_SECONDS,
    )

    async def main(_program: Program) -> None:
        kube = Kube(ApiServer(TwinApi(member.app, member.process, member.manners, chance)))  # type: ignore[arg-type]
        await agent_main._Agent(settings, kube).run()

    return Program(f"agent {member.name}", machine, main)


def is_bug(end: BaseException | None) -> bool:
    """Tell whether a program ended by something that no circumstance explains."""
    if isinstance(end, BaseExceptionGroup):
        return any(is_bug(each) for each in end.exceptions)
    return end is None or not isinstance(end, AtollError | OSError)
