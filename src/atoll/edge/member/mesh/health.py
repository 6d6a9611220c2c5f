"""Cilium's health probes: which nodes of other clusters a node reaches, and how fast. Pure.

A node counts as reached if each of its probed addresses answers by ICMP or by HTTP: firewalls often drop one of them.
One that was not probed yet, as after the prober's start, says nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Any

from atoll.federation.errors import Internal

_NANOSECONDS = 1e9
_PATHS = ("host", "health-endpoint")
# pkg/defaults: the cluster of a node whose name has none.
_UNNAMED = "default"


@dataclass(frozen=True)
class Probe:
    """One node's probe of another; the round trip is to the host, None if it was not measured."""

    peer: str
    node: str
    is_reached: bool
    seconds: float | None = None


@dataclass(frozen=True)
class Reach:
    """How the nodes of one peer are reached: a node that any prober misses is counted as unreachable."""

    probed_nodes: int
    unreachable_nodes: int
    latency_seconds: float | None


def read_health(response: Any) -> tuple[Probe, ...]:
    """Read a HealthStatusResponse.

    Raises:
        Internal: it is no such thing.
    """
    try:
        return tuple(_probe(node) for node in response.get("nodes") or () if any(map(_protocols, _paths(node))))
    except (AttributeError, TypeError, ValueError) as error:
        raise Internal("the Cilium agent's health API answered with something that is no status") from error


def reach_of(probes: Iterable[Probe]) -> Mapping[str, Reach]:
    """Sum up probes of any number of nodes by the peer that they go to."""
    by_peer: dict[str, list[Probe]] = defaultdict(list)
    for probe in probes:
        by_peer[probe.peer].append(probe)
    return {peer: _reach(found) for peer, found in by_peer.items()}


def _reach(probes: list[Probe]) -> Reach:
    seconds = [probe.seconds for probe in probes if probe.seconds is not None and probe.is_reached]
    missed = {probe.node for probe in probes if not probe.is_reached}
    return Reach(len({probe.node for probe in probes}), len(missed), median(seconds) if seconds else None)


def _probe(node: Mapping[str, Any]) -> Probe:
    cluster, slash, name = str(node.get("name", "")).partition("/")
    paths = _paths(node)
    first = next(iter(paths), {})
    return Probe(
        peer=cluster if slash else _UNNAMED,
        node=name if slash else cluster,
        is_reached=all(any(map(_answers, _protocols(path))) for path in paths),
        seconds=next((_seconds(each) for each in _protocols(first) if _answers(each) and each.get("latency")), None),
    )


def _paths(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [path for where in _PATHS for path in _addresses(node.get(where) or {})]


def _addresses(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if primary := status.get("primary-address"):
        yield primary
    yield from status.get("secondary-addresses") or ()


def _protocols(path: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [path[name] for name in ("icmp", "http") if path.get(name)]


def _answers(protocol: Mapping[str, Any]) -> bool:
    return not protocol.get("status")  # empty, and therefore absent, is healthy


def _seconds(protocol: Mapping[str, Any]) -> float:
    latency = float(protocol["latency"])
    if not isfinite(latency):
        raise ValueError("a round trip that is no number")
    return max(0.0, latency) / _NANOSECONDS
