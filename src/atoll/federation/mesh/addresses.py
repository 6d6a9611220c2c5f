"""Networks of the mesh: no address may be in two clusters. Pure.

Pods' networks and nodes' addresses are looked at together: a pod network over another cluster's nodes cuts those off.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from atoll.federation.mesh.members import Member, Violation

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Range:
    """Addresses from first to last, as numbers of one IP version, and whose they are."""

    version: int
    first: int
    last: int
    cluster: str
    is_pods: bool
    text: str


def address_faults(members: Sequence[Member]) -> Iterator[Violation]:
    """Find addresses that two clusters use, and native routing that leaves out a peer's pods."""
    for (one, other), (mine, theirs) in _overlaps(ranges_of(members)).items():
        reason = "PodCidrOverlap" if mine.is_pods or theirs.is_pods else "NodeAddressOverlap"
        message = (
            f"{_kind(mine)} {mine.text} of {one} and {_kind(theirs)} {theirs.text} of {other} overlap: "
            "packets to them end in the wrong cluster"
        )
        remedy = "give one of them other networks; 'atoll mesh plan NAME' proposes free ones"
        yield Violation(reason, (one, other), message, remedy)
    yield from _narrow_routes(members)


def ranges_of(members: Iterable[Member]) -> list[Range]:
    """Give all networks that members told; what is none is left out."""
    return [
        made
        for member in members
        for is_pods, cidrs in ((True, member.facts.pod_cidrs), (False, member.facts.node_cidrs))
        for cidr in cidrs
        if (made := _range(cidr, member.cluster, is_pods=is_pods)) is not None
    ]


def network_of(cidr: str) -> Network | None:
    """Read a network; None if it is none."""
    try:
        return ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return None


def _range(cidr: str, cluster: str, *, is_pods: bool) -> Range | None:
    network = network_of(cidr)
    if network is None:
        return None
    first, last = int(network.network_address), int(network.broadcast_address)
    return Range(network.version, first, last, cluster, is_pods, str(network))


def _overlaps(ranges: Iterable[Range]) -> dict[tuple[str, str], tuple[Range, Range]]:
    """Find the first overlap of each two clusters, in one sweep over the addresses."""
    found: dict[tuple[str, str], tuple[Range, Range]] = {}
    active: list[Range] = []
    for each in sorted(ranges, key=lambda item: (item.version, item.first, item.last, item.cluster)):
        active = [other for other in active if other.version == each.version and other.last >= each.first]
        for other in active:
            if other.cluster != each.cluster:
                mine, theirs = sorted((other, each), key=lambda item: item.cluster)
                found.setdefault((mine.cluster, theirs.cluster), (mine, theirs))
        active.append(each)
    return dict(sorted(found.items()))


def _kind(item: Range) -> str:
    return "pods" if item.is_pods else "nodes"


def _narrow_routes(members: Sequence[Member]) -> Iterator[Violation]:
    """Find clusters that route natively, but masquerade what they send to some peers' pods."""
    for member in members:
        own = network_of(member.facts.native_routing_cidr)
        if member.facts.routing_mode != "native" or own is None:
            continue
        outside = [peer for peer in members if peer is not member and _leaves(peer.facts.pod_cidrs, own)]
        if outside:
            names = ", ".join(peer.cluster for peer in outside)
            message = (
                f"ipv4-native-routing-cidr {own} leaves out the pods of {names}: their peers see the node's address, "
                "and no policy knows who called"
            )
            remedy = "set ipv4NativeRoutingCIDR to a network that holds all clusters' pods"
            yield Violation("NativeRoutingTooNarrow", (member.cluster,), message, remedy)


def _leaves(cidrs: Iterable[str], whole: Network) -> bool:
    networks = (network_of(cidr) for cidr in cidrs)
    same = (network for network in networks if network is not None and network.version == whole.version)
    return any(not network.subnet_of(whole) for network in same)  # type: ignore[arg-type]  # of one version, see above
