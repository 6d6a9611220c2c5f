"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy to rules, as Cilium 1.16 to 1.20 read them.

Source: pkg/k8s/apis/cilium.io/utils/utils.go (scoping of selectors), pkg/policy/api (entities, ports, ICMP).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.policies.manifest import Manifest
from atoll.policies.reading.context import (
    CLUSTER,
    EVERYTHING,
    NAMESPACE,
    NAMESPACE_LABELS,
    Reader,
    address_range,
    equals,
    exists,
    has_key,
    is_reserved,
    network,
    terms_of,
)
from atoll.policies.rules import (
    Action,
    Direction,
    Domain,
    Grouped,
    Icmp,
    Labelled,
    NamedPort,
    Peer,
    Ports,
    Rule,
    Source,
    Term,
    Traffic,
    Unsupported,
)
from atoll.policies.selectors import selector_of
from atoll.policies.validation.cilium_rules import rules_of
from atoll.policies.validation.icmp import TYPES

_WITH_PORTS = frozenset({"TCP", "UDP", "SCTP"})
_WORLD = ("world", "world-ipv4", "world-ipv6")
# Reserved labels behind each entity (pkg/policy/api/entity.go); `cluster` also means this cluster's pods.
_ENTITIES: Mapping[str, tuple[str, ...]] = {
    "world": _WORLD,
    "world-ipv4": ("world-ipv4",),
    "world-ipv6": ("world-ipv6",),
    "host": ("host",),
    "remote-node": ("remote-node",),
    "init": ("init",),
    "ingress": ("ingress",),
    "health": ("health",),
    "unmanaged": ("unmanaged",),
    "kube-apiserver": ("kube-apiserver",),
    "none": (),
    "cluster": ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"),
}
_NOT_MODELLED = ("Services", "Groups", "Nodes", "Requires")
# Of these an empty list selects nobody; an empty list of another kind is as if it were not there, so that toFQDNs: []
# with ports means everyone (mergeEndpointSelectors, pkg/policy/utils).
_NOBODY_IF_EMPTY = ("Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes")


@dataclass(frozen=True)
class _Place:
    """Where in which manifest the reader stands, and whose endpoints the rule is for."""

    manifest: Manifest
    reader: Reader
    field: str
    is_for_init: bool = False

    def at(self, step: str) -> "_Place":
        return _Place(self.manifest, self.reader, f"{self.field}{step}", self.is_for_init)

    @property
    def source(self) -> Source:
        manifest = self.manifest
        return Source(manifest.kind, manifest.namespace, manifest.name, self.field)


def rules(manifest: Manifest, reader: Reader) -> Iterator[Rule]:
    """Give the rules of a policy. Host policies (nodeSelector) have none: they are not about endpoints."""
    for field, body in rules_of(manifest.body):
        if "nodeSelector" not in body:
            yield from _rule(body, _Place(manifest, reader, field))


def _rule(body: Mapping[str, Any], place: _Place) -> Iterator[Rule]:
    subject = _subject(body.get("endpointSelector") or {}, place.at(".endpointSelector"))
    init = any(term.source == "reserved" and term.key == "init" for term in subject.terms)
    for name in ("ingress", "ingressDeny", "egress", "egressDeny"):
        direction = Direction.INGRESS if name.startswith("ingress") else Direction.EGRESS
        switch = (body.get("enableDefaultDeny") or {}).get(direction.value, True)
        for index, item in enumerate(body.get(name) or []):
            where = _Place(place.manifest, place.reader, f"{place.field}.{name}[{index}]", init)
            yield Rule(
                source=where.source,
                direction=direction,
                subject=subject,
                action=Action.DENY if name.endswith("Deny") else Action.ALLOW,
                peers=_peers(item, direction, where),
                traffic=_traffic(item, where),
                default_deny=switch or not place.reader.non_default_deny,
                is_l7=any(_looks_further(port) for port in item.get("toPorts") or []),
            )


def _looks_further(port_rule: Mapping[str, Any]) -> bool:
    rules = port_rule.get("rules") or {}
    others = ("serverNames", "listener", "terminatingTLS", "originatingTLS")
    return any(rules.values()) or any(port_rule.get(name) for name in others)


def _subject(selector: Mapping[str, Any], place: _Place) -> Labelled:
    terms = terms_of(selector, place.field)
    namespace = place.manifest.namespace
    if namespace is None:
        return Labelled(terms)
    # matchLabels k8s:io.kubernetes.pod.namespace is overridden; every other form is kept and ANDed (cilium#45231).
    overridden = selector.get("matchLabels") or {}
    if f"k8s:{NAMESPACE}" in overridden:
        terms = tuple(term for term in terms if (term.source, term.key, term.operator) != ("k8s", NAMESPACE, "In"))
    return Labelled((*terms, equals(NAMESPACE, namespace)))


def _peers(item: Mapping[str, Any], direction: Direction, place: _Place) -> tuple[Peer, ...] | None:
    side = "from" if direction is Direction.INGRESS else "to"
    for kind in _NOT_MODELLED:
        if item.get(side + kind):
            raise Unsupported(f"{place.field}.{side}{kind}", "is not modelled")
    if any(item.get(side + kind) == [] for kind in _NOBODY_IF_EMPTY):
        return ()
    if not any(item.get(side + kind) for kind in (*_NOBODY_IF_EMPTY, "FQDNs")):
        # No peer member at all means everyone, but only if the item says something: {} selects nobody.
        return None if item.get("toPorts") or item.get("icmps") else ()
    peers: list[Peer] = []
    for index, selector in enumerate(item.get(f"{side}Endpoints") or []):
        peers.append(Labelled(_endpoints(selector, place.at(f".{side}Endpoints[{index}]"))))
    for text in item.get(f"{side}CIDR") or []:
        peers.append(address_range(text, [], f"{place.field}.{side}CIDR"))
    for block in item.get(f"{side}CIDRSet") or []:
        peers += _cidr_set(block, place.at(f".{side}CIDRSet"))
    for entity in item.get(f"{side}Entities") or []:
        peers += _entity(entity, place.at(f".{side}Entities"))
    peers += [Domain(name.get("matchPattern") or name["matchName"]) for name in item.get("toFQDNs") or []]
    return tuple(peers)


def _endpoints(selector: Mapping[str, Any], place: _Place) -> tuple[Term, ...]:
    """Scope a peer: the policy's namespace and cluster, unless the selector names them or reserved identities."""
    terms = terms_of(selector, place.field)
    if is_reserved(terms):
        return terms
    if not has_key(terms, NAMESPACE):
        terms = (*terms, *_own_namespaces(terms, place))
    return place.reader.local(terms)


def _own_namespaces(terms: tuple[Term, ...], place: _Place) -> Iterator[Term]:
    """Give what is added to a peer that names no namespace (getEndpointSelector, pkg/policy/utils)."""
    namespace = place.manifest.namespace
    if namespace is None:
        if not place.is_for_init:
            yield exists(NAMESPACE)
    elif not any(term.key.startswith(NAMESPACE_LABELS) and term.source in ("any", "k8s") for term in terms):
        yield equals(NAMESPACE, namespace)


def _cidr_set(block: Mapping[str, Any], place: _Place) -> Iterator[Peer]:
    exceptions = block.get("except") or []
    if "cidr" in block:
        yield address_range(block["cidr"], exceptions, place.field)
    elif "cidrGroupSelector" in block:
        yield _grouped(block["cidrGroupSelector"], exceptions, place)
    else:
        for group in place.reader.cidr_groups:
            for text in group.body["spec"]["externalCIDRs"] if group.name == block.get("cidrGroupRef") else ():
                yield address_range(text, exceptions, place.field)


def _grouped(selector: Mapping[str, Any], exceptions: list[str], place: _Place) -> Grouped:
    """Read a selector over CIDR groups (newCIDRRuleSelector, pkg/policy/types/selector.go)."""
    found = []
    for group in place.reader.cidr_groups:
        labels = tuple(sorted((group.body["metadata"].get("labels") or {}).items()))
        found += [(network(text, place.field), labels) for text in group.body["spec"]["externalCIDRs"]]
    terms = (Term("cidrgroup", term.key, term.operator, frozenset(term.values)) for term in selector_of(selector).terms)
    return Grouped(tuple(terms), tuple(found), tuple(network(part, place.field) for part in exceptions))


def _entity(name: str, place: _Place) -> Iterator[Peer]:
    if name == "all":
        yield EVERYTHING
        return
    if name not in _ENTITIES:
        raise Unsupported(place.field, f"entity {name!r} is not modelled")
    for label in _ENTITIES[name]:
        yield Labelled((Term("reserved", label, "Exists"),))
    if name == "cluster":
        yield Labelled((equals(CLUSTER, place.reader.cluster),))


def _traffic(item: Mapping[str, Any], place: _Place) -> tuple[Traffic, ...] | None:
    port_rules, icmps = item.get("toPorts") or [], item.get("icmps") or []
    if not port_rules and not icmps:
        return None
    traffic: list[Traffic] = [_port(port, place) for rule in port_rules for port in rule.get("ports") or []]
    traffic += [_icmp(field) for icmp in icmps for field in icmp.get("fields") or []]
    return tuple(traffic)


def _port(port: Mapping[str, Any], place: _Place) -> Traffic:
    protocol = port.get("protocol") or "ANY"
    protocols = _WITH_PORTS if protocol == "ANY" else frozenset({protocol})
    if not protocols <= _WITH_PORTS:
        raise Unsupported(f"{place.field}.toPorts", f"protocol {protocol} is not modelled")
    written = str(port.get("port") or "0")
    if not written.isdigit():
        return NamedPort(protocols, written.lower())
    # strconv.ParseUint(base 0): a leading zero means octal.
    first = int(written, 8) if written.startswith("0") else int(written)
    if first == 0:
        return Ports(protocols)
    return Ports(protocols, first, max(first, port.get("endPort") or 0))


def _icmp(field: Mapping[str, Any]) -> Icmp:
    family = field.get("family") or "IPv4"
    written = str(field["type"])
    number = int(written) if written.lstrip("-").isdigit() else TYPES[family][written]
    # Type 0 becomes port 0 in the agent, which is every port: so every type (hm-072 of the verdict corpus).
    return Icmp("ICMP" if family == "IPv4" else "ICMPv6", number if number > 0 else None)
