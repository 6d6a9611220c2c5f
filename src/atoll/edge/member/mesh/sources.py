"""Where the agent's view of the mesh comes from: the socket of the node that it runs on, or commands in Cilium's pods.

The commands are `cilium status`, `cilium-health status`, and `clustermesh-apiserver kvstoremesh-dbg status`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from atoll.edge.member.cilium import CiliumAgent
from atoll.edge.member.cilium_pods import AGENT_CONTAINER, AGENTS_PER_LOOK, CiliumPods, PodApi, Turns
from atoll.edge.member.mesh.health import Probe, read_health
from atoll.edge.member.mesh.merging import Look
from atoll.edge.member.mesh.reading import AgentStatus, RemoteView, read_remotes, read_status
from atoll.edge.member.objects import ObjectRef
from atoll.federation.errors import AtollError

T = TypeVar("T")

_STATUS = ("cilium", "status", "-o", "json")
_HEALTH = ("cilium-health", "status", "-o", "json")
_CACHE = ("/usr/bin/clustermesh-apiserver", "kvstoremesh-dbg", "status", "-o", "json")


class MeshSource(Protocol):
    """Something that sees the mesh from inside the cluster."""

    async def look(self) -> Look:
        """See the mesh now; what cannot be seen is a problem of the look, not an exception."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class SocketSource:
    """The agent of one node, by its socket."""

    def __init__(self, agent: CiliumAgent) -> None:
        self._agent = agent

    async def look(self) -> Look:
        """Ask the agent and its health prober."""
        problems: list[str] = []
        status = await _tried(self._status(), problems)
        probes = await _tried(self._probes(), problems) if status is not None else ()
        return Look({"": status} if status is not None else {}, probes or (), problems=tuple(problems))

    async def _status(self) -> AgentStatus:
        return read_status(await self._agent.status())

    async def _probes(self) -> tuple[Probe, ...]:
        answer = await self._agent.health()
        return () if answer is None else read_health(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._agent.close()


class PodSource:
    """The agents of all nodes, some at each look in turn, and KVStoreMesh, by commands in their pods.

    A node that sees something amiss is asked again at each look until it does not, or its trouble would come and go
    with its turn.
    """

    def __init__(
        self, kube: PodApi, *, per_look: int = AGENTS_PER_LOOK, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pods, self._turns, self._per_look = CiliumPods(kube, clock=clock), Turns(per_look), per_look
        self._doubtful: frozenset[str] = frozenset()

    async def look(self) -> Look:
        """Ask the next few agents and those in doubt at once, and KVStoreMesh."""
        problems: list[str] = []
        pods = await _tried(self._pods.agents(), problems) or {}
        doubtful, turn = sorted(self._doubtful & pods.keys())[: self._per_look], self._turns.take(sorted(pods))
        asked, probers = sorted({*doubtful, *turn}), sorted({*doubtful[:1], *turn[:1]})
        statuses = await _all(asked, lambda node: _tried(self._status(pods[node]), problems, node))
        probes = await _all(probers, lambda node: _tried(self._probes(pods[node]), problems, node))
        seen = {node: status for node, status in statuses.items() if status is not None}
        self._doubtful = frozenset(node for node in asked if _is_amiss(statuses[node], probes.get(node)))
        if len(seen) < len(asked):
            self._pods.doubt()
        cache = await _tried(self._cache(), problems, "KVStoreMesh") if _is_cached(seen) else None
        return Look(seen, tuple(each for found in probes.values() for each in found or ()), cache, tuple(problems))

    async def close(self) -> None:
        """Nothing is open between looks."""

    async def _status(self, pod: ObjectRef) -> AgentStatus:
        return read_status(await self._pods.ask(pod, AGENT_CONTAINER, _STATUS))

    async def _probes(self, pod: ObjectRef) -> tuple[Probe, ...]:
        return read_health(await self._pods.ask(pod, AGENT_CONTAINER, _HEALTH))

    async def _cache(self) -> tuple[RemoteView, ...] | None:
        for pod in await self._pods.caches():
            return read_remotes(await self._pods.ask(pod, "kvstoremesh", _CACHE))
        return None


def _is_amiss(status: AgentStatus | None, probes: tuple[Probe, ...] | None) -> bool:
    """Tell whether a node did not answer, or does not see all of the mesh."""
    if status is None:
        return True
    return not all(view.is_ready for view in status.views or ()) or not all(each.is_reached for each in probes or ())


async def _all(nodes: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    """Ask something of some nodes at once."""
    return dict(zip(nodes, await asyncio.gather(*map(ask, nodes)), strict=True))


def _is_cached(statuses: Mapping[str, AgentStatus]) -> bool:
    return any(view.is_cached for status in statuses.values() for view in status.views or ())


async def _tried(asking: Awaitable[T], problems: list[str], whom: str = "") -> T | None:
    """Give an answer, or None and a problem that says whose answer is missing."""
    try:
        return await asking
    except AtollError as error:
        problems.append(f"{whom}: {error}" if whom else str(error))
        return None
