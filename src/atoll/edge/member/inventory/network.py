"""Which network plugin a cluster has and which addresses it uses: what the mesh must not see twice. Pure."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

from atoll.edge.member.inventory.nodes import NodeFacts

Json = Mapping[str, Any]


class CiliumNodeFacts(NamedTuple):
    """One CiliumNode: where its pods' addresses come from, and its own."""

    pod_cidrs: tuple[str, ...]
    addresses: tuple[str, ...]


def project_cilium_node(obj: Json) -> CiliumNodeFacts:
    """Keep what an inventory needs of a CiliumNode; pools are those of the multi-pool IPAM mode."""
    spec = obj.get("spec") or {}
    ipam = spec.get("ipam") or {}
    pools = (ipam.get("pools") or {}).get("allocated") or ()
    cidrs = (*(ipam.get("podCIDRs") or ()), *(cidr for pool in pools for cidr in pool.get("cidrs") or ()))
    addresses = (entry for entry in spec.get("addresses") or () if entry.get("type") == "InternalIP")
    return CiliumNodeFacts(tuple(map(str, cidrs)), tuple(str(entry.get("ip", "")) for entry in addresses))


def pod_cidrs(nodes: Iterable[NodeFacts], cilium_nodes: Iterable[CiliumNodeFacts]) -> tuple[str, ...]:
    """Sum up the pods' networks: Cilium's own where it hands them out, else the nodes'."""
    cilium = [cidr for node in cilium_nodes for cidr in node.pod_cidrs]
    return _collapsed(cilium or (cidr for node in nodes for cidr in node.pod_cidrs))


def node_cidrs(nodes: Iterable[NodeFacts], cilium_nodes: Iterable[CiliumNodeFacts]) -> tuple[str, ...]:
    """Sum up the nodes' addresses."""
    own = (address for node in nodes for address in node.addresses)
    return _collapsed((*own, *(address for node in cilium_nodes for address in node.addresses)))


def cni_of(nodes: Iterable[NodeFacts], versions: Set[str], cilium_version: str) -> tuple[str, str]:
    """Name the network plugin and, if it is Cilium, its oldest version: a rollout is done when the last node has it.

    Args:
        nodes: of the cluster.
        versions: of Cilium's agent, as its pods' images say.
        cilium_version: what the Cilium agent beside us says; empty if nothing.
    """
    if cilium_version or versions:
        return "cilium", cilium_version or min(versions, key=_version_order)
    names = Counter(node.cni for node in nodes if node.cni)
    return (names.most_common(1)[0][0] if names else ""), ""


def _collapsed(texts: Iterable[str]) -> tuple[str, ...]:
    """Write networks as the fewest that cover exactly the same addresses; what is none is left out."""
    fours: list[ipaddress.IPv4Network] = []
    sixes: list[ipaddress.IPv6Network] = []
    for text in set(texts):
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue
        if isinstance(network, ipaddress.IPv4Network):
            fours.append(network)
        else:
            sixes.append(network)
    return (*map(str, ipaddress.collapse_addresses(fours)), *map(str, ipaddress.collapse_addresses(sixes)))


def _version_order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdecimal())
