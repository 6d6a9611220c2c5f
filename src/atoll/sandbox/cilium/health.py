"""What Cilium's health prober answers, in the shape of its OpenAPI (health API v1beta). Pure.

A node is probed at its own address and at its health endpoint, by ICMP and by HTTP; no words mean that it answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from atoll.sandbox.cilium.answers import instant, node_name, omit_empty
from atoll.sandbox.cilium.links import Link
from atoll.sandbox.spec import ClusterSpec

_NANOSECONDS = 1_000_000_000
_LOCAL_NANOSECONDS = 150_000
# So much later each further node answers: equal nodes are never equally far.
_STEP_NANOSECONDS = 40_000
_LOST = "Connection timed out"


def status(
    own: ClusterSpec, remotes: Iterable[tuple[ClusterSpec, Link]], now: datetime, *, node: str
) -> dict[str, Any]:
    """Return the HealthStatusResponse of one node of a cluster."""
    nodes = [*_nodes(own, _LOCAL_NANOSECONDS, now, is_up=True)]
    for far, link in remotes:
        round_trip = own.uplink.round_trip_seconds + far.uplink.round_trip_seconds
        nodes += _nodes(far, round(round_trip * _NANOSECONDS), now, is_up=link.is_up)
    local = {"name": f"{own.name}/{node}"}
    return {"local": local, "nodes": nodes, "timestamp": instant(now), "probeInterval": "1m36s"}


def _nodes(spec: ClusterSpec, nanoseconds: int, now: datetime, *, is_up: bool) -> Iterator[dict[str, Any]]:
    for index in range(len(spec.nodes)):
        latency = nanoseconds + index * _STEP_NANOSECONDS
        answer = {"latency": latency} if is_up else {"status": _LOST}
        protocol = omit_empty({**answer, "lastProbed": instant(now)})
        paths = {"icmp": protocol, "http": protocol}
        network = spec.pod_cidr(index).rpartition(".")[0]
        yield {
            "name": node_name(spec, index),
            "host": {"primary-address": {"ip": spec.node_address(index), **paths}},
            "health-endpoint": {"primary-address": {"ip": f"{network}.254", **paths}},
        }
