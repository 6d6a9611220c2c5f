"""What policies do on stated workloads that is hardly meant. Pure."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations

from atoll.policies.identity import Endpoint, Party, identity_of
from atoll.policies.lint.finding import LintFinding, Places
from atoll.policies.manifest import Manifest
from atoll.policies.reading import read_rules
from atoll.policies.rules import Action, Grouped, Identity, Labelled, Network, Ports, Range, Rule, Source, Traffic
from atoll.policies.trials.fleet import Fleet
from atoll.policies.verdict import Flow, Side

# bpf-policy-map-max of Cilium: entries that one endpoint's map takes; more are dropped and so is their traffic.
POLICY_MAP_ENTRIES = 16_384


def lint_on(
    manifests: Iterable[Manifest],
    fleet: Fleet,
    parties: Mapping[str, Party],
    *,
    namespaces: Mapping[str, Mapping[str, str]],
    pod_networks: Mapping[str, Sequence[Network]],
) -> tuple[LintFinding, ...]:
    """Look at what policies do among parties.

    Args:
        manifests: the policies as written.
        fleet: the clusters with what they hold of them.
        parties: pods and others by name.
        namespaces: labels by namespace name; `cluster/name` stands before `name`.
        pod_networks: where each cluster's pods have their addresses, as far as known.
    """
    policies = tuple(manifests)
    places = Places(policies)
    rules = read_rules(policies, "", default_local_cluster=False)
    identities = [identity_of(party, namespaces) for party in parties.values() if isinstance(party, Endpoint)]
    found: list[LintFinding] = []
    for rule in rules:
        if identities and not any(rule.subject.matches(identity) for identity in identities):
            found.append(places.finding(rule.source, "SelectsNothing", "selects none of the stated workloads"))
        found += _addresses_of_pods(rule, pod_networks, places)
        entries = map_entries(rule, sum(is_peer(rule, identity) for identity in identities))
        if entries > POLICY_MAP_ENTRIES:
            message = f"takes some {entries} entries of each policy map, which holds {POLICY_MAP_ENTRIES}; narrow it"
            found.append(places.finding(rule.source, "PolicyMapSize", message))
    return tuple(sorted({*found, *_one_sided(fleet, parties, places)}))


def _addresses_of_pods(rule: Rule, networks: Mapping[str, Sequence[Network]], places: Places) -> Iterator[LintFinding]:
    addressed = (peer for peer in rule.peers or () if isinstance(peer, Range | Grouped))
    for named in (network for peer in addressed for network in peer.networks if network.prefixlen):
        for cluster, ranges in networks.items():
            if any(_overlap(named, network) for network in ranges):
                message = (
                    f"names {named}, where pods of {cluster} have their addresses: "
                    "a CIDR never means pods on Cilium; select them by labels"
                )
                yield places.finding(rule.source, "CidrMeansPods", message)


def _overlap(left: Network, right: Network) -> bool:
    return left.version == right.version and left.overlaps(right)


def is_peer(rule: Rule, identity: Identity) -> bool:
    """Tell whether a rule's peers include a pod's identity."""
    return rule.peers is None or any(isinstance(peer, Labelled) and peer.matches(identity) for peer in rule.peers)


def map_entries(rule: Rule, peers: int) -> int:
    """Estimate the entries of one rule in one endpoint's policy map: one per identity and range of ports by prefix.

    Args:
        rule: the rule.
        peers: how many identities of pods its peers include.
    """
    if rule.peers is None or rule.action is Action.PASS:
        return 0
    ranges = sum(_prefixes(traffic) for traffic in rule.traffic) if rule.traffic is not None else 1
    addressed = (peer for peer in rule.peers if isinstance(peer, Range | Grouped))
    networks = sum(len(peer.networks) + len(peer.exceptions) for peer in addressed)
    return (peers + networks) * ranges


def _prefixes(traffic: Traffic) -> int:
    """Count the aligned blocks that a range of ports is cut into (the map is a longest-prefix trie)."""
    if not isinstance(traffic, Ports) or (traffic.first, traffic.last) == (0, 65535):
        return 1
    first, last = ipaddress.IPv4Address(traffic.first), ipaddress.IPv4Address(traffic.last)
    return sum(1 for _ in ipaddress.summarize_address_range(first, last)) * len(traffic.protocols)


def _one_sided(fleet: Fleet, parties: Mapping[str, Party], places: Places) -> Iterator[LintFinding]:
    """Find allows across clusters that the other side's default deny takes back: both must allow."""
    seen: dict[tuple[Source, str], set[int]] = defaultdict(set)
    for (source_name, source), (name, destination) in permutations(parties.items(), 2):
        if not isinstance(source, Endpoint) or not isinstance(destination, Endpoint):
            continue
        if source.cluster == destination.cluster:
            continue
        for port in sorted(fleet.boundaries(source, destination, "TCP")):
            if port > 65535:
                continue
            judged = fleet.judge(Flow(source, destination, port))
            for allowing, closed, missing in (
                (judged.ingress, judged.egress, f"egress of {source_name}"),
                (judged.egress, judged.ingress, f"ingress of {name}"),
            ):
                if allowing is not None and closed is not None and _is_taken_back(allowing, closed):
                    for rule in allowing.rules:
                        seen[rule, f"{source_name} -> {name}, which no {missing} allows"].add(port)
    for (rule, what), ports in seen.items():
        message = f"allows {what} (port {min(ports)}): a connection across clusters needs both; write the other side"
        yield places.finding(rule, "OneSideMissing", message)


def _is_taken_back(allowing: Side, closed: Side) -> bool:
    return allowing.allowed and allowing.because == "Rule" and closed.because == "DefaultDeny"
