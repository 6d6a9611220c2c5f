"""Where proof comes from: the Cilium agents of all nodes by commands in their pods, or one agent by its socket.

Each node's rules are read before its endpoints: what an endpoint has realized later is then at least of that revision.
Hubble and the counters of drops are asked by commands only, and proof does without them (docs/adr/0038).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from atoll.edge.member.cilium import CiliumAgent
from atoll.edge.member.cilium_pods import AGENT_CONTAINER, AGENTS_PER_LOOK, CiliumPods, PodApi, Turns
from atoll.edge.member.errors import Refused
from atoll.edge.member.objects import ObjectRef
from atoll.edge.member.proof.drops import read_drops
from atoll.edge.member.proof.ladder import NodeLook
from atoll.edge.member.proof.reading import read_endpoints, read_node, read_repository, read_selectors
from atoll.edge.member.proof.verdicts import Verdict, read_verdicts
from atoll.federation.errors import AtollError, Unavailable

_POLICY = ("cilium", "policy", "get", "-o", "json")
_ENDPOINTS = ("cilium", "endpoint", "list", "-o", "json")
_SELECTORS = ("cilium", "policy", "selectors", "-o", "json")
_DROPS = ("cilium", "bpf", "metrics", "list", "-o", "json")
# Each verdict is some 1.3 kB: a busy node has thousands a second, and the newest few name the policies in use.
_VERDICTS = ("hubble", "observe", "--type", "policy-verdict", "--last", "100", "-o", "jsonpb")
_VERDICTS_SECONDS = 30.0
BY_SOCKET = "a socket alone does not reach it: start the agent with --cilium-exec"


@dataclass(frozen=True)
class Answers:
    """What some nodes have said, and why others have not; `hubble` is why Hubble could not be asked, if so."""

    looks: Mapping[str, NodeLook] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    hubble: str = ""


class ProofSource(Protocol):
    """Something that can ask Cilium's agents what they enforce."""

    nodes_per_look: int

    async def ask(self) -> Answers:
        """Ask the next few nodes; who does not answer is a problem of the answers, not an exception."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class SocketProofs:
    """The agent of one node, by its socket; nothing is proven of the others."""

    nodes_per_look = 1

    def __init__(self, agent: CiliumAgent, *, now: Callable[[], datetime]) -> None:
        self._agent, self._now = agent, now

    async def ask(self) -> Answers:
        """Ask the agent."""
        agent = self._agent
        try:
            node = read_node(await agent.status())
            look = await _look(agent.policy, agent.endpoints, agent.selectors, began_at=self._now())
        except AtollError as error:
            return Answers(problems=(str(error),), hubble=BY_SOCKET)
        return Answers({node: look}, hubble=BY_SOCKET)

    async def close(self) -> None:
        """Close the connections."""
        await self._agent.close()


def source_of(kube: PodApi, socket: Path | None, *, may_exec: bool, now: Callable[[], datetime]) -> ProofSource | None:
    """Choose whom to ask: all nodes where that is allowed, since a socket knows of its own node only."""
    if may_exec:
        return PodProofs(kube, now=now)
    return SocketProofs(CiliumAgent(socket), now=now) if socket is not None else None


class PodProofs:
    """The agents of all nodes, some at each look in turn, by commands in their pods."""

    def __init__(self, kube: PodApi, *, now: Callable[[], datetime], nodes_per_look: int = AGENTS_PER_LOOK) -> None:
        self._pods, self._now = CiliumPods(kube), now
        self._turns, self.nodes_per_look = Turns(nodes_per_look), nodes_per_look
        self._hubble: dict[str, str] = {}  # why the Hubble of a node could not be asked; empty if it was
        self._asked_hubble_at: dict[str, datetime] = {}

    async def ask(self) -> Answers:
        """Ask the next few agents at once."""
        try:
            pods = await self._pods.agents()
        except AtollError as error:
            return Answers(problems=(str(error),))
        nodes = self._turns.take(sorted(pods))
        self._hubble = {node: why for node, why in self._hubble.items() if node in pods}
        found = await asyncio.gather(*(self._node(node, pods[node]) for node in nodes))
        problems = tuple(f"{node}: {each}" for node, each in zip(nodes, found, strict=True) if isinstance(each, str))
        if problems:
            self._pods.doubt()
        looks = {n: each for n, each in zip(nodes, found, strict=True) if isinstance(each, NodeLook)}
        return Answers(looks, problems, _first_problem(self._hubble))

    async def close(self) -> None:
        """Nothing is open between looks."""

    async def _node(self, node: str, pod: ObjectRef) -> NodeLook | str:
        """Ask one agent; give why not if it does not answer."""

        def asking(command: tuple[str, ...]) -> Callable[[], Awaitable[Any]]:
            return lambda: self._pods.ask(pod, AGENT_CONTAINER, command)

        try:
            look = await _look(asking(_POLICY), asking(_ENDPOINTS), asking(_SELECTORS), began_at=self._now())
        except AtollError as error:
            return str(error)
        return replace(look, drops=await self._drops(pod), verdicts=await self._verdicts(node, pod))

    async def _drops(self, pod: ObjectRef) -> int | None:
        """Read how many packets policies have dropped on a node; None if it does not tell."""
        try:
            return read_drops(await self._pods.print_of(pod, AGENT_CONTAINER, _DROPS))
        except AtollError:
            return None

    async def _verdicts(self, node: str, pod: ObjectRef) -> tuple[Verdict, ...]:
        """Ask a node's Hubble now and then; none where it cannot be asked, or not again so soon."""
        now, asked_at = self._now(), self._asked_hubble_at.get(node)
        if asked_at is not None and now - asked_at < timedelta(seconds=_VERDICTS_SECONDS):
            return ()
        self._asked_hubble_at[node] = now
        try:
            found = read_verdicts(await self._pods.print_of(pod, AGENT_CONTAINER, _VERDICTS))
        except AtollError as error:
            self._hubble[node] = str(error)
            return ()
        self._hubble[node] = ""
        return found


def _first_problem(by_node: Mapping[str, str]) -> str:
    """Tell why some nodes' Hubble could not be asked, by the first of them."""
    silent = sorted(node for node, why in by_node.items() if why)
    if not silent:
        return ""
    return f"not on {len(silent)} of {len(by_node)} nodes; {silent[0]}: {by_node[silent[0]]}"


async def _look(
    policy: Callable[[], Awaitable[Any]],
    endpoints: Callable[[], Awaitable[Any]],
    selectors: Callable[[], Awaitable[Any]],
    *,
    began_at: datetime,
) -> NodeLook:
    """Ask one agent for everything, its rules first."""
    rules = await _if_served(policy)
    shown = read_endpoints(await endpoints())
    return NodeLook(began_at, shown, read_repository(rules), read_selectors(await _if_served(selectors)))


async def _if_served(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Give an answer that a proof can do without; None where it is refused, or of a Cilium that has no such command."""
    try:
        return await ask()
    except (Refused, Unavailable):
        return None
