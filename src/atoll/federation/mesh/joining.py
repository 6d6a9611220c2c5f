"""What a cluster that is to join the mesh should be installed with: a free id, free networks, the usual settings. Pure.

It can only keep clear of what members told; what is not known is said in the plan.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.federation.errors import Conflict, InvalidInput
from atoll.federation.mesh.addresses import network_of, ranges_of
from atoll.federation.mesh.agreement import usual_value
from atoll.federation.mesh.members import Member
from atoll.federation.mesh.naming import DEFAULT_MAX_CLUSTERS, name_faults

# RFC 1918 and, last, RFC 6598: the networks that nobody owns.
_POOL = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
# A cluster's own service network must not be its pods': the defaults of kubeadm, K3s and GKE stay free.
_SERVICES = ("10.96.0.0/12", "10.43.0.0/16", "34.118.224.0/20")
_NODE_PREFIX = 24  # Cilium's clusterPoolIPv4MaskSize: 254 pods a node
_LARGEST, _SMALLEST = 10, 24


@dataclass(frozen=True)
class Wish:
    """How large the pods' network shall be, as a prefix length, and out of which networks it is taken."""

    prefix: int = 16
    pool: tuple[str, ...] = _POOL
    avoid: tuple[str, ...] = _SERVICES


@dataclass(frozen=True)
class JoinPlan:
    """What a cluster may be installed with. `cautions` say what could not be taken into account."""

    name: str
    id: int
    pod_cidr: str
    max_connected_clusters: int
    routing_mode: str = ""
    tunnel_protocol: str = ""
    native_routing_cidr: str = ""
    default_local_cluster: bool | None = None
    label_filters: str | None = None
    peers: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


def plan_join(members: Iterable[Member], name: str, wish: Wish = Wish()) -> JoinPlan:
    """Propose a free id and a network that overlaps no other, with the settings that the others have.

    Raises:
        InvalidInput: the name or the wish cannot be. Conflict: the name is taken, or no id or no network is free.
    """
    known = sorted(members, key=lambda member: member.cluster)
    _check_name(known, name)
    limit = _common(known, "max_connected_clusters") or DEFAULT_MAX_CLUSTERS
    default = _common(known, "default_local_cluster")
    return JoinPlan(
        name=name,
        id=_free_id(known, limit),
        pod_cidr=_free_network(known, wish),
        max_connected_clusters=limit,
        routing_mode=_common(known, "routing_mode") or "",
        tunnel_protocol=_common(known, "tunnel_protocol") or "",
        native_routing_cidr=_common(known, "native_routing_cidr") or "",
        default_local_cluster=default,
        label_filters=_common(known, "label_filters"),
        peers=tuple(member.mesh_name for member in known),
        cautions=_cautions(known),
    )


def helm_values(plan: JoinPlan) -> dict[str, Any]:
    """Give the values for Cilium's Helm chart that make a cluster as planned."""
    mesh: dict[str, Any] = {"useAPIServer": True, "maxConnectedClusters": plan.max_connected_clusters}
    if plan.default_local_cluster is not None:
        mesh["policyDefaultLocalCluster"] = plan.default_local_cluster
    pool = {"clusterPoolIPv4PodCIDRList": [plan.pod_cidr], "clusterPoolIPv4MaskSize": _node_prefix(plan.pod_cidr)}
    values: dict[str, Any] = {
        "cluster": {"name": plan.name, "id": plan.id},
        "clustermesh": mesh,
        "ipam": {"mode": "cluster-pool", "operator": pool},
    }
    given = {
        "routingMode": plan.routing_mode,
        "tunnelProtocol": plan.tunnel_protocol,
        "ipv4NativeRoutingCIDR": plan.native_routing_cidr,
        "labels": plan.label_filters,
    }
    return values | {key: value for key, value in given.items() if value}


def _check_name(members: Sequence[Member], name: str) -> None:
    for fault, remedy in name_faults(name):
        raise InvalidInput(f"{fault}: {remedy}")
    for member in members:
        links = {link.peer for link in member.links}
        if name in {member.mesh_name, member.declared_name, member.cluster} | links:
            owner = member.cluster if name not in links else f"a peer of {member.cluster}"
            raise Conflict(f"the mesh has a cluster {name!r} already ({owner}): choose another name")


def _free_id(members: Sequence[Member], limit: int) -> int:
    """Give the least id that nobody has, was declared to have, or was seen with."""
    used = {number for member in members for number in (member.mesh_id, member.declared_id)}
    used |= {link.peer_id for member in members for link in member.links}
    free = next((number for number in range(1, limit + 1) if number not in used), None)
    if free is None:
        raise Conflict(f"all {limit} ids are used: the mesh is full (max-connected-clusters)")
    return free


def _free_network(members: Sequence[Member], wish: Wish) -> str:
    if not _LARGEST <= wish.prefix <= _SMALLEST:
        raise InvalidInput(f"a pod network of /{wish.prefix} cannot be: choose /{_LARGEST} to /{_SMALLEST}")
    avoided = [network for cidr in wish.avoid if (network := network_of(cidr)) is not None]
    taken = [(each.first, each.last) for each in ranges_of(members) if each.version == 4]
    taken += [(int(each.network_address), int(each.broadcast_address)) for each in avoided]
    for cidr in wish.pool:
        pool = network_of(cidr)
        if not isinstance(pool, ipaddress.IPv4Network):
            raise InvalidInput(f"{cidr} is no IPv4 network to take pods' addresses from")
        if (start := _free_block(pool, sorted(taken), 1 << (32 - wish.prefix))) is not None:
            return f"{ipaddress.IPv4Address(start)}/{wish.prefix}"
    raise Conflict(f"no network of /{wish.prefix} is free in {', '.join(wish.pool)}: ask for a smaller one")


def _free_block(pool: ipaddress.IPv4Network, taken: Sequence[tuple[int, int]], size: int) -> int | None:
    """Find the first aligned block that overlaps nothing taken, which is sorted by its first address."""
    start, end = _aligned(int(pool.network_address), size), int(pool.broadcast_address)
    for first, last in taken:
        if last >= start and first < start + size:
            start = _aligned(last + 1, size)
    return start if start + size - 1 <= end else None


def _aligned(address: int, size: int) -> int:
    return -(-address // size) * size


def _common(members: Sequence[Member], field: str) -> Any:
    """Give what most members have; what no majority has is not proposed."""
    values = [getattr(member.facts, field) for member in members]
    return usual_value([value for value in values if value not in (None, "")])


def _cautions(members: Sequence[Member]) -> tuple[str, ...]:
    unknown = [each.cluster for each in members if not each.facts.pod_cidrs or not each.facts.node_cidrs]
    partly = [each.cluster for each in members if each.facts.omitted_cidrs]
    found = [f"the networks of {', '.join(unknown)} are not known: check by hand that they do not overlap"] * bool(
        unknown
    )
    found += [f"not all networks of {', '.join(partly)} are known: check the rest by hand"] * bool(partly)
    return tuple(found)


def _node_prefix(cidr: str) -> int:
    """Give each node a /24, or a sixteenth of a network that is small."""
    return max(_NODE_PREFIX, int(cidr.rpartition("/")[2]) + 4)
