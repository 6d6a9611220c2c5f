"""Connections that somebody says were opened in a simulated cluster, and what Cilium would have told of them.

Owns the counters of drops and Hubble's last flows. No packet passes: the verdict is the one that Cilium's engine gives
on what the nodes have realized, and what is told is in the shape of `cilium bpf metrics` and of Hubble's flow.proto.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

import orjson

from atoll.federation.errors import InvalidInput, NotFound
from atoll.kubeapi.errors import NotFound as NoSuchObject
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.policies.identity import Endpoint
from atoll.policies.verdict import Flow, Protocol, Side, World, verdict
from atoll.sandbox.cilium import answers
from atoll.sandbox.cilium.policies import PolicyEngine
from atoll.sandbox.kinds.catalog import POD
from atoll.sandbox.spec import ClusterSpec

# As Hubble's ring buffer, but for its size (4095 by default).
_KEPT_FLOWS = 1000
_DENIED, _DENIED_BY_LIST = "Policy denied", "Policy denied by denylist"  # pkg/monitor/api/drop.go, 133 and 181
_DESCRIBED = {_DENIED: "POLICY_DENIED", _DENIED_BY_LIST: "POLICY_DENY"}


@dataclass(frozen=True)
class Connection:
    """Connections from one pod (`namespace/name`) to a port of another one."""

    source: str
    destination: str
    port: int
    protocol: str = "TCP"
    times: int = 1

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Connection:
        """Read one out of JSON. Raises InvalidInput."""
        try:
            found = cls(**{"source" if name == "from" else "destination" if name == "to" else name: each
                           for name, each in value.items()})  # fmt: skip
        except TypeError:
            raise InvalidInput("connections: each has from and to (namespace/pod), port, protocol and times") from None
        if found.protocol not in get_args(Protocol):
            raise InvalidInput(f"connections: protocol {found.protocol!r} is none of {', '.join(get_args(Protocol))}")
        return found


class Traffic:
    """The connections of one cluster."""

    def __init__(self, spec: ClusterSpec, store: Store, policies: PolicyEngine, clock: Callable[[], datetime]) -> None:
        """Judge connections by `policies`; pods are those in `store`."""
        self._spec, self._store, self._policies, self._clock = spec, store, policies, clock
        self._flows: dict[str, deque[dict[str, Any]]] = {}
        self._drops: dict[str, Counter[tuple[str, str]]] = {}
        self.has_hubble = True

    async def open(self, connection: Connection, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """Open connections; tell whether they are let through.

        Raises:
            NotFound: there is no such pod.
        """
        pods = [await self._pod(name) for name in (connection.source, connection.destination)]
        await self._policies.refresh()
        ends = [_endpoint(self._spec, pod) for pod in pods]
        protocol: Any = connection.protocol
        flow, is_open = Flow(ends[0], ends[1], connection.port, protocol), True
        for direction, index in (("egress", 0), ("ingress", 1)):
            node = str(pods[index]["spec"].get("nodeName", ""))
            world = World({self._spec.name: self._policies.realized(node).manifests}, namespaces)
            side = getattr(verdict(world, flow), direction)
            if is_open and side is not None:
                told = self._told(flow, pods, namespaces, direction=direction, side=side)
                self._note(node, told, side, connection.times)
                is_open = side.allowed
        return is_open

    async def _pod(self, name: str) -> Object:
        namespace, _, pod = name.partition("/")
        try:
            return await self._store.get(POD, namespace, pod)
        except NoSuchObject:
            raise NotFound(f"connections: {self._spec.name} has no pod {name!r}; name it by namespace/pod") from None

    def _note(self, node: str, told: dict[str, Any], side: Side, times: int) -> None:
        flows = self._flows.setdefault(node, deque(maxlen=_KEPT_FLOWS))
        flows.extend([told] * min(times, _KEPT_FLOWS))
        if not side.allowed:
            direction = str(told["traffic_direction"]).lower()
            self._drops.setdefault(node, Counter())[_reason(side), direction] += times

    def _told(
        self,
        flow: Flow,
        pods: list[Object],
        namespaces: Mapping[str, Mapping[str, str]],
        *,
        direction: str,
        side: Side,
    ) -> dict[str, Any]:
        """Give a flow as Hubble has it; the rules that decided are named by the labels that they bear."""
        source, destination = (self._party(pod, namespaces) for pod in pods)
        index = 0 if direction == "egress" else 1
        told = {
            "time": self._clock().strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
            "verdict": "FORWARDED" if side.allowed else "DROPPED",
            "IP": {"source": _address(pods[0]), "destination": _address(pods[1]), "ipVersion": "IPv4"},
            "l4": {flow.protocol: {"destination_port": flow.port}},
            "source": source,
            "destination": destination,
            "Type": "L3_L4",
            "node_name": f"{self._spec.name}/{pods[index]['spec'].get('nodeName', '')}",
            "event_type": {"type": 5},
            "traffic_direction": direction.upper(),
        }
        by = list(self._deciding(side, str(pods[index]["spec"].get("nodeName", ""))))
        word = "allowed" if side.allowed else "denied"
        reason = {} if side.allowed else {"drop_reason_desc": _DESCRIBED[_reason(side)]}
        return {**told, **reason, **({f"{direction}_{word}_by": by} if by else {})}

    def _deciding(self, side: Side, node: str) -> Iterator[dict[str, Any]]:
        realized = self._policies.realized(node)
        for key in dict.fromkeys((rule.kind, rule.namespace or "", rule.name) for rule in side.rules):
            for held in realized.policies:
                if held.manifest.key == key:
                    named = {"name": key[2], "namespace": key[1], "kind": key[0], "revision": str(realized.revision)}
                    yield {**answers.omit_empty(named), "labels": held.texts}

    def _party(self, pod: Object, namespaces: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        labels = answers.identity_labels(self._spec, pod, namespaces)
        metadata = pod["metadata"]
        return {
            "identity": answers.identity(self._spec, labels),
            "cluster_name": self._spec.name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "pod_name": metadata["name"],
        }

    async def observed(self, node: str) -> bytes | None:
        """Return what `hubble observe -o jsonpb` prints on a node; None where Hubble is switched off."""
        if not self.has_hubble:
            return None
        name = f"{self._spec.name}/{node}"
        lines = ({"flow": flow, "node_name": name, "time": flow["time"]} for flow in self._flows.get(node, ()))
        return b"".join(orjson.dumps(line) + b"\n" for line in list(lines)[-100:])

    async def counted(self, node: str) -> bytes:
        """Return what `cilium bpf metrics list -o json` prints on a node: nothing before something was counted."""
        counted = self._drops.get(node)
        if not counted:
            return b""
        return orjson.dumps(
            [
                {"reason": reason, "direction": direction, "packets": packets, "bytes": 74 * packets, "line": 0}
                for (reason, direction), packets in sorted(counted.items())
            ]
        )

    def restart(self) -> None:
        """Begin all counters anew, as a node does that was restarted."""
        self._drops.clear()
        self._flows.clear()


def _reason(side: Side) -> str:
    return _DENIED_BY_LIST if side.because == "Rule" else _DENIED


def _address(pod: Object) -> str:
    return str(pod["status"].get("podIP", ""))


def _endpoint(spec: ClusterSpec, pod: Object) -> Endpoint:
    metadata = pod["metadata"]
    account = str(pod["spec"].get("serviceAccountName", "default"))
    return Endpoint(metadata["name"], spec.name, metadata["namespace"], metadata.get("labels") or {}, account)
