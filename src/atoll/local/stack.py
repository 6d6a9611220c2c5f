"""A stack: the supervised processes of one home, from its lock to its last process, with its state written down.

What the processes are is the composer's business.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import structlog

from atoll.federation.bus.nats_keys import Keys
from atoll.federation.errors import AtollError, Unavailable
from atoll.local import nats, pki
from atoll.local.home import Home
from atoll.local.leftovers import end_leftovers
from atoll.local.restored import adopt
from atoll.local.state import Phase, State
from atoll.local.supervisor import ProcessSpec, Supervisor

log = structlog.get_logger("atoll.stack")

Compose = Callable[["Stack"], Awaitable[None]]


class Stack:
    """What runs in one home. Composers start processes through it and note their steps on it."""

    def __init__(self, home: Home, kind: Literal["hub", "sandbox"]) -> None:
        self.home = home
        self.supervisor = Supervisor(home.logs, self._save_if_possible)
        self._state = State(kind=kind, pid=os.getpid(), started_at=datetime.now(UTC))

    @property
    def state(self) -> State:
        """The state as last written."""
        return self._state

    async def run(self, compose: Compose) -> None:
        """Hold the home, start what the composer says, keep it until cancelled, and leave no process behind.

        Raises:
            Conflict: the home is in use, or one of its ports is.
            Unavailable: something did not start; the state says Failed with the same message.
        """
        with self.home.locked():
            await asyncio.to_thread(end_leftovers, self.home)
            await asyncio.to_thread(adopt, self.home)
            try:
                await compose(self)
                self._set_phase("Ready")
                await asyncio.Event().wait()
            except AtollError as error:
                self.note(message=str(error))
                raise
            finally:
                await self._close()

    def step(self, text: str) -> None:
        """Note that a new step of the start-up begins."""
        self.note(steps=(*self._state.steps, text))

    def note(self, **changes: Any) -> None:
        """Change fields of the state and write it."""
        self._state = self._state.model_copy(update=changes)
        self._save()

    def _set_phase(self, phase: Phase) -> None:
        self.note(phase=phase)

    async def _close(self) -> None:
        """Stop everything; told to end once more while doing so, kill what is left."""
        if not self._state.message:
            self._set_phase("Stopping")
        try:
            await self.supervisor.stop()
        finally:
            self.supervisor.kill()
        if self._state.message:
            self._set_phase("Failed")
        else:
            self.home.state_file.unlink(missing_ok=True)

    def _save_if_possible(self) -> None:
        """Write the state while processes come and go: a disk that is full must not keep them from being restarted."""
        try:
            self._save()
        except Unavailable as error:
            log.info("could not write the state", problem=str(error))

    def _save(self) -> None:
        self._state = self._state.model_copy(update={"processes": self.supervisor.processes})
        self.home.write_state(self._state)


def atoll(*arguments: str) -> tuple[str, ...]:
    """Give the command line of one of Atoll's own processes, run by this interpreter."""
    return (sys.executable, "-m", "atoll.cli", *arguments)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment of a child: ours, with this interpreter's folder first on PATH so that `atoll` is found."""
    beside = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{beside}{os.pathsep}{path}", "PYTHONUNBUFFERED": "1", **(extra or {})}


@dataclass(frozen=True)
class LocalNats:
    """A nats-server of a home: where it is, and the files by which the hub is its master."""

    url: str
    keys: Path
    ca: Path


async def start_nats(stack: Stack, ports: Mapping[str, int]) -> LocalNats:
    """Start nats-server with its store, its keys and its certificate in the home.

    Raises:
        InvalidInput: the home's keys or its CA cannot be used.
    """
    binary = await asyncio.to_thread(nats.find_server)
    stack.step("starting NATS")
    home = stack.home
    files, keys = pki.ensure(home, now=datetime.now(UTC)), home.root / "nats-keys"
    accounts = nats.Accounts(Keys.ensure(keys), home.root / "nats-accounts", files.server.certificate, files.server.key)
    settings = nats.NatsSettings(port=ports["nats"], store=home.folder("nats"), accounts=accounts)
    config = home.root / "nats.conf"
    nats.write_config(settings, config)
    argv = (str(binary), "--config", str(config))
    await stack.supervisor.start(
        ProcessSpec("nats", argv, environment(), is_ready=lambda: nats.is_serving(settings.port))
    )
    stack.note(nats_url=settings.url)
    return LocalNats(settings.url, keys, files.ca.certificate)


async def start_broker(stack: Stack, ports: Mapping[str, int]) -> nats.BrokerSettings:
    """Start the MQTT broker of a lab's instruments: as in a lab, it is not the hub's NATS."""
    binary = await asyncio.to_thread(nats.find_server)
    settings = nats.BrokerSettings(port=ports["mqtt"], store=stack.home.folder("mqtt"))
    config = stack.home.root / "mqtt.conf"
    nats.write_broker_config(settings, config)
    argv = (str(binary), "--config", str(config))
    await stack.supervisor.start(ProcessSpec("mqtt", argv, environment(), is_ready=lambda: nats.is_open(settings.port)))
    stack.note(mqtt_url=settings.url)
    return settings
