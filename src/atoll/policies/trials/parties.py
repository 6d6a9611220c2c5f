"""Who can tell whom apart: live workloads, nodes and addresses as the fewest parties that policies treat alike. Pure.

Ten thousand sets of labels are told apart by what some selector speaks of, and by nothing else: of each label only what
the policies mention counts. So as many parties are left as there are different answers, however many pods run.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from atoll.federation.resources.labelsets import ClusterWorkloads, LabelSet
from atoll.policies.identity import Address, Endpoint, Entity, Party, PortName, identity_of
from atoll.policies.rules import Domain, Grouped, Labelled, NamedPort, Network, Range, Rule
from atoll.policies.verdict import CLOSED_LABEL, UNPOLICED_LABEL

# Ranges of addresses and names of hosts that are looked at one by one; more are not, and the plan says so.
MOST_OUTSIDE = 500
_NODES = ("host", "remote-node", "kube-apiserver")
_OTHER = "\0other"
_WORLD = ipaddress.ip_network("0.0.0.0/0")
# By these labels people name what they deploy, the most telling first.
_NAMING = ("app.kubernetes.io/name", "app", "k8s-app", "name", "app.kubernetes.io/component", "component", "job-name")


@dataclass(frozen=True)
class Group:
    """Workloads that no policy tells apart, a node, or addresses outside. `sets` is empty but for workloads."""

    party: Party
    name: str
    cluster: str = ""
    sets: tuple[LabelSet, ...] = ()

    @property
    def pods(self) -> int:
        """Count its pods; 1 for what is no pod."""
        return sum(one.pods for one in self.sets) or 1


@dataclass
class Mentioned:
    """All that rules speak of."""

    values: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    port_names: set[str] = field(default_factory=set)
    networks: set[Network] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)

    @classmethod
    def by(cls, rules: Iterable[Rule]) -> "Mentioned":
        """Collect what rules speak of, and what Cilium itself looks at."""
        found = cls()
        found.values |= {UNPOLICED_LABEL: set(), CLOSED_LABEL: set()}
        for rule in rules:
            found._take(rule.subject)
            for peer in rule.peers or ():
                if isinstance(peer, Labelled):
                    found._take(peer)
                elif isinstance(peer, Range | Grouped):
                    found.networks |= {*peer.networks, *peer.exceptions}
                elif isinstance(peer, Domain):
                    found.domains.add(peer.pattern)
            for traffic in rule.traffic or ():
                if isinstance(traffic, NamedPort):
                    found.port_names.add(traffic.name.lower())
        return found

    def _take(self, selector: Labelled) -> None:
        for term in selector.terms:
            self.values[term.key] |= term.values

    def seen_of(self, labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
        """Give what selectors can see of an identity's labels: the keys that one mentions, with mentioned values."""
        seen = []
        for label, value in labels.items():
            values = self.values.get(label.partition(":")[2])
            if values is not None:
                seen.append((label, value if value in values else _OTHER))
        return frozenset(seen)


def groups_of(workloads: Mapping[str, ClusterWorkloads], mentioned: Mentioned) -> list[Group]:
    """Give all parties: the workloads of each cluster by its name in the mesh, then nodes and addresses outside."""
    namespaces = namespaces_of(workloads)
    found: dict[object, tuple[Endpoint, list[LabelSet]]] = {}
    for cluster, running in workloads.items():
        for one in running.sets:
            pod = _endpoint(cluster, one)
            # Every engine sees at least what Cilium does not drop; agents report no other labels.
            identity = identity_of(pod, namespaces, is_cilium=False)
            named = frozenset(port for port in pod.port_names if port.name.lower() in mentioned.port_names)
            key = (cluster, mentioned.seen_of(identity.labels), named)
            found.setdefault(key, (pod, []))[1].append(one)
    pods = [Group(pod, _named(pod, sets), pod.cluster, tuple(sets)) for pod, sets in found.values()]
    return [*pods, *(Group(Entity(name), name) for name in _NODES), *_outside(mentioned)]


def namespaces_of(workloads: Mapping[str, ClusterWorkloads]) -> dict[str, Mapping[str, str]]:
    """Give the labels of all namespaces by `cluster/name`."""
    return {
        f"{cluster}/{name}": labels
        for cluster, running in workloads.items()
        for name, labels in running.namespaces.items()
    }


def endpoints_of(workloads: Mapping[str, ClusterWorkloads]) -> Iterator[tuple[Endpoint, LabelSet]]:
    """Give each set of labels as an endpoint."""
    for cluster, running in workloads.items():
        for one in running.sets:
            yield _endpoint(cluster, one), one


def _endpoint(cluster: str, one: LabelSet) -> Endpoint:
    ports = tuple(
        PortName(name, int(port), protocol or "TCP")
        for name, (port, _, protocol) in ((name, text.partition("/")) for name, text in one.ports.items())
        if port.isdecimal()
    )
    return Endpoint(f"{one.namespace}/{name_of(one)}", cluster, one.namespace, one.labels, one.service_account, ports)


def name_of(one: LabelSet) -> str:
    """Name a set of labels as people would."""
    named = (one.labels[key] for key in _NAMING if one.labels.get(key))
    rest = (f"{key}={value}" for key, value in sorted(one.labels.items()))
    return next(named, None) or next(rest, None) or "(no labels)"


def _named(pod: Endpoint, sets: list[LabelSet]) -> str:
    """Name a group by its members: one by its own name, several of one sort by that, others by their namespace."""
    names = sorted({f"{one.namespace}/{name_of(one)}" for one in sets})
    if len(names) == 1:
        return f"{names[0]}@{pod.cluster}"
    spaces = sorted({one.namespace for one in sets})
    if len(spaces) == 1:
        return f"{spaces[0]}/*@{pod.cluster} ({len(names)} sorts)"
    shown = ",".join(spaces[:2]) + (f",… {len(spaces)} namespaces" if len(spaces) > 2 else "")
    return f"{shown}@{pod.cluster} ({len(names)} sorts)"


def _outside(mentioned: Mentioned) -> Iterator[Group]:
    """Give the world, and one address of each range and one host of each name that rules speak of."""
    networks = sorted(mentioned.networks, key=lambda net: (net.version, net.prefixlen, int(net.network_address)))
    networks = networks[:MOST_OUTSIDE]
    world = _address_in(_WORLD, networks)
    if world is not None:
        yield Group(Address(world), "world")
        for pattern in sorted(mentioned.domains)[:MOST_OUTSIDE]:
            yield Group(Address(world, domain_names=(_host(pattern),)), pattern)
    for network in networks:
        inside = _address_in(network, networks) if network.prefixlen or network.version == 6 else None
        if inside is not None:
            yield Group(Address(inside), str(network))


def _address_in(network: Network, known: Iterable[Network]) -> str | None:
    """Find an address of a range that is in none of the smaller ranges within it; None if those cover it."""
    inner = [one for one in known if one != network and one.version == network.version and _is_within(one, network)]
    starts = (int(network.network_address), *(int(one.broadcast_address) + 1 for one in inner))
    for start in starts:
        # Ranges nest or are apart, so the end of one that leaves a gap is in the gap.
        if start > int(network.broadcast_address):
            continue
        address = ipaddress.ip_address(start) if network.version == 4 else ipaddress.IPv6Address(start)
        if not any(address in one for one in inner):
            return str(address)
    return None


def _is_within(one: Network, other: Network) -> bool:
    return (
        other.network_address <= one.network_address  # type: ignore[operator]  # both are of one version
        and one.broadcast_address <= other.broadcast_address  # type: ignore[operator]
    )


def _host(pattern: str) -> str:
    """Give a name that a pattern means."""
    return pattern.lower().rstrip(".").replace("**.", "any.").replace("*", "any")
