"""Cilium's own pods in the cluster: which node's agent is in which, and what their commands print.

The commands are those that cilium-cli runs (k8s/client.go there). They need `list pods` and `get` and `create` of
pods/exec in Cilium's namespace, which is as much as root on every node: they are run only where an operator has asked
for it. It must not know what the answers mean.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

import orjson

from atoll.edge.member.kube import Listing
from atoll.edge.member.objects import POD, Kind, Object, ObjectRef, Selection
from atoll.federation.errors import Internal

T = TypeVar("T")

CILIUM_NAMESPACE = "kube-system"
AGENT_CONTAINER = "cilium-agent"
# Nodes that are asked at one look, in turn: more would be felt by the API server through which the commands go.
AGENTS_PER_LOOK = 8
# Pods are listed so seldom: those of 5,000 nodes are 50 MB, too much for every look.
_LIST_SECONDS = 60.0
_AGENTS = Selection(CILIUM_NAMESPACE, "k8s-app=cilium", "status.phase=Running")
_CACHES = Selection(CILIUM_NAMESPACE, "k8s-app=clustermesh-apiserver", "status.phase=Running")


class PodApi(Protocol):
    """What is needed of an API server."""

    async def list(self, kind: Kind, selection: Selection = ..., *, project: Callable[[Object], T]) -> Listing[T]:
        """Read all objects, each as `project` makes it."""
        ...

    async def execute(self, pod: ObjectRef, container: str, command: Sequence[str]) -> bytes:
        """Run a command in a container and give what it printed."""
        ...


class CiliumPods:
    """The pods of one cluster's Cilium."""

    def __init__(self, kube: PodApi, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube, self._clock = kube, clock
        self._known: Mapping[str, ObjectRef] = {}
        self._listed_at = float("-inf")

    async def agents(self) -> Mapping[str, ObjectRef]:
        """Give the agent's pod of each node, from a list that is not old."""
        if self._clock() - self._listed_at >= _LIST_SECONDS:
            self._known = await self._pods(_AGENTS)
            self._listed_at = self._clock()
        return self._known

    def doubt(self) -> None:
        """List the agents anew the next time: perhaps their pods have others' names by now."""
        self._listed_at = float("-inf")

    async def caches(self) -> Sequence[ObjectRef]:
        """Give the pods of the mesh's control plane, in which KVStoreMesh runs."""
        return tuple((await self._pods(_CACHES)).values())

    async def ask(self, pod: ObjectRef, container: str, command: Sequence[str]) -> Any:
        """Give the JSON that a command prints.

        Raises:
            Refused: no right to run it. Unavailable: it failed, or did not end in time. Internal: it printed no JSON.
        """
        output = await self.print_of(pod, container, command)
        try:
            return orjson.loads(output)
        except orjson.JSONDecodeError as error:
            raise Internal(f"'{' '.join(command)}' in {pod} printed something that is no JSON") from error

    async def print_of(self, pod: ObjectRef, container: str, command: Sequence[str]) -> bytes:
        """Give what a command prints.

        Raises:
            Refused: no right to run it. Unavailable: it failed, or did not end in time.
        """
        return await self._kube.execute(pod, container, command)

    async def _pods(self, selection: Selection) -> dict[str, ObjectRef]:
        listing = await self._kube.list(POD, selection, project=_place)
        return {node: ObjectRef(POD, CILIUM_NAMESPACE, name) for node, name in listing.items}


class Turns:
    """Whose turn it is among many: some at each call, all of them after enough calls."""

    def __init__(self, at_once: int) -> None:
        self._at_once, self._next = at_once, 0

    def take(self, nodes: Sequence[str]) -> list[str]:
        """Give the nodes whose turn it is."""
        if not nodes:
            return []
        first, self._next = self._next % len(nodes), self._next + self._at_once
        return list(islice((*nodes[first:], *nodes[:first]), self._at_once))


def _place(pod: Object) -> tuple[str, str]:
    return str((pod.get("spec") or {}).get("nodeName", "")), str(pod["metadata"]["name"])
