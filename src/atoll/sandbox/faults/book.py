"""Which faults stand: planted, healed, kept over a restart of the process, and put into effect.

Owns the list, in a file of its own, and that what is in effect follows from the list alone. The faults take hold in the
parts of a Site; this module knows only which knob is whose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from atoll.federation.errors import Conflict, InvalidInput, NotFound
from atoll.local.home import write_atomically
from atoll.sandbox.cilium.links import Links
from atoll.sandbox.faults.agents import Agent
from atoll.sandbox.faults.api_server import ApiServer
from atoll.sandbox.faults.fault import Fault, FaultKind, Standing, cut_directions, delay_of, stands
from atoll.sandbox.faults.relay import Relay

FAULTS_FILE = "faults.json"
_LIST = TypeAdapter(tuple[Standing, ...])


@dataclass(frozen=True)
class Knobs:
    """Where faults of one cluster take hold; without relays its way to the hub is nobody's here."""

    agent: Agent
    api: ApiServer
    relays: tuple[Relay, ...] = ()


class FaultBook:
    """The faults of one sandbox."""

    def __init__(self, path: Path, links: Links, knobs: Mapping[str, Knobs], *, clock: Callable[[], datetime]) -> None:
        """Keep the list in a file; `knobs` are those of the clusters that run, which may come and go."""
        self._path, self._links, self._knobs, self._clock = path, links, knobs, clock
        self._standing = _read(path)
        self._cut: frozenset[tuple[str, str]] = frozenset()

    @property
    def standing(self) -> tuple[Standing, ...]:
        """The faults that stand, the oldest first."""
        return self._standing

    async def plant(self, fault: Fault) -> Standing:
        """Let a fault stand until it is healed.

        Raises:
            NotFound: it names no cluster, link, agent or relay of this sandbox. Conflict: it stands already.
        """
        self._check(fault)
        before = next((each for each in self._standing if each.fault.place == fault.place), None)
        if before is not None and before.fault.delay_seconds == fault.delay_seconds:
            raise Conflict(f"{before.fault.text()} already, since {before.since:%H:%M:%S}")
        standing = Standing(fault, self._clock())
        if fault.kind is FaultKind.KILL_AGENT:
            await self._kill_agent(fault.cluster)
        self._keep((*(each for each in self._standing if each is not before), standing))
        await self.enforce()
        return standing

    async def kill_once(self, fault: Fault) -> None:
        """Kill something that whoever looks after it starts again. Raises NotFound, InvalidInput, Conflict."""
        self._check(fault)
        knobs = self._knobs[fault.cluster]
        if stands(fault.kind, fault.cluster, self._standing):
            raise Conflict(f"{fault.text()} already: heal it first")
        match fault.kind:
            case FaultKind.KILL_AGENT:
                await knobs.agent.kill()
            case FaultKind.KILL_API_SERVER:
                await knobs.api.kill()
                await knobs.api.start()
            case _:
                raise InvalidInput(f"once: only what is killed can start again, not {fault.kind}")

    async def heal(self, cluster: str = "") -> tuple[Standing, ...]:
        """End every fault, or those that concern a cluster; give them. Raises NotFound if there is no such cluster."""
        if cluster:
            self._check_cluster(cluster)
        healed = tuple(each for each in self._standing if not cluster or cluster in each.fault.clusters)
        self._keep(tuple(each for each in self._standing if each not in healed))
        await self.enforce()
        return healed

    async def forget(self, cluster: str) -> None:
        """Drop the faults of a cluster that is no more."""
        self._keep(tuple(each for each in self._standing if cluster not in each.fault.clusters))
        await self.enforce()

    async def enforce(self) -> None:
        """Bring every cluster and every link into the state that follows from the list."""
        before, self._cut = self._cut, cut_directions(self._standing)
        for near, far in before ^ self._cut:
            if {near, far} <= set(self._links.names):
                self._links.set_up(near, far, is_up=(near, far) not in self._cut, both_ways=False)
        for name, knobs in tuple(self._knobs.items()):
            await self._enforce_on(name, knobs)

    async def _enforce_on(self, name: str, knobs: Knobs) -> None:
        standing = self._standing
        for relay in knobs.relays:
            relay.set_cut(is_cut=stands(FaultKind.CUT_HUB, name, standing))
            relay.delay_seconds = delay_of(FaultKind.SLOW_HUB, name, standing)
        knobs.api.delay_seconds = delay_of(FaultKind.SLOW_API_SERVER, name, standing)
        knobs.agent.set_held(is_held=stands(FaultKind.KILL_AGENT, name, standing))
        if stands(FaultKind.KILL_API_SERVER, name, standing):
            await knobs.api.kill()
        else:
            await knobs.api.start()

    async def _kill_agent(self, cluster: str) -> None:
        agent = self._knobs[cluster].agent
        agent.set_held(is_held=True)  # before it is dead, or it would be started again in between
        try:
            await agent.kill()
        except NotFound:
            agent.set_held(is_held=False)
            raise

    def _check(self, fault: Fault) -> None:
        for name in fault.clusters:
            self._check_cluster(name)
        if fault.kind is FaultKind.CUT_LINK:
            self._check_links(fault)
        if fault.kind in (FaultKind.CUT_HUB, FaultKind.SLOW_HUB) and not self._knobs[fault.cluster].relays:
            raise NotFound(f"the way between {fault.cluster} and the hub is not the sandbox's to break")

    def _check_links(self, fault: Fault) -> None:
        for name in fault.clusters:
            if name not in self._links.names:
                raise NotFound(
                    f"{name} has no links: it is not of the mesh, which 'atoll sandbox cluster start {name} --mesh' "
                    "would have made it"
                )

    def _check_cluster(self, name: str) -> None:
        if name not in self._knobs:
            raise NotFound(f"the sandbox has no cluster {name!r}: it has {', '.join(self._knobs)}")

    def _keep(self, standing: tuple[Standing, ...]) -> None:
        self._standing = standing
        write_atomically(self._path, _LIST.dump_json(standing, indent=2))


def _read(path: Path) -> tuple[Standing, ...]:
    try:
        return _LIST.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        raise InvalidInput(f"{path} is malformed: remove it, and no fault stands") from error
