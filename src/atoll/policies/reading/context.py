"""What readers share: the cluster's settings, and label selectors as Cilium understands them."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.policies.manifest import Manifest
from atoll.policies.rules import Labelled, Network, Range, Term, Unsupported
from atoll.policies.selectors import selector_of

CLUSTER = "io.cilium.k8s.policy.cluster"
NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
# Sources whose labels only exist inside an agent; no selector of a manifest should speak of them.
_INTERNAL_SOURCES = frozenset({"cidr", "cidrgroup", "fqdn", "node"})
_SOURCES = _INTERNAL_SOURCES | {"any", "k8s", "reserved", "container", "unspec"}


@dataclass(frozen=True)
class Reader:
    """The settings of the cluster whose policies are read, and the CIDR groups it holds."""

    cluster: str
    default_local_cluster: bool
    non_default_deny: bool = True
    cidr_groups: tuple[Manifest, ...] = ()
    is_cilium: bool = True

    def local(self, terms: tuple[Term, ...]) -> tuple[Term, ...]:
        """Add the own cluster to a peer's terms, unless they name clusters or the setting is off."""
        if not self.default_local_cluster or has_key(terms, CLUSTER):
            return terms
        return (*terms, equals(CLUSTER, self.cluster))


def terms_of(selector: Mapping[str, Any], field: str, *, default_source: str = "any") -> tuple[Term, ...]:
    """Read a label selector; a key without a source gets the default one."""
    result = []
    for requirement in selector_of(selector).terms:
        source, colon, key = requirement.key.partition(":")
        if not colon or source not in _SOURCES:
            source, key = default_source, requirement.key
        if source in _INTERNAL_SOURCES:
            raise Unsupported(field, f"labels of source {source!r} are not modelled")
        result.append(Term(source, key, requirement.operator, frozenset(requirement.values)))
    return tuple(result)


def has_key(terms: tuple[Term, ...], key: str) -> bool:
    """Say whether terms speak of a Kubernetes label."""
    return any(term.key == key and term.source in ("any", "k8s") for term in terms)


def is_reserved(terms: tuple[Term, ...]) -> bool:
    """Say whether terms speak of reserved identities; Cilium then takes the selector as it is."""
    return any(term.source == "reserved" for term in terms)


def equals(key: str, value: str) -> Term:
    """Require a Kubernetes label to have a value."""
    return Term("k8s", key, "In", frozenset({value}))


def exists(key: str) -> Term:
    """Require a Kubernetes label."""
    return Term("k8s", key, "Exists")


def namespace_terms(selector: Mapping[str, Any], field: str) -> tuple[Term, ...]:
    """Read a selector over namespaces; the empty one means every namespace, that is: pods only."""
    terms = terms_of(selector, field, default_source="k8s")
    prefixed = tuple(Term("k8s", NAMESPACE_LABELS + term.key, term.operator, term.values) for term in terms)
    return prefixed or (exists(NAMESPACE),)


def network(text: str, field: str) -> Network:
    """Read an address range, host bits masked; a bare address is itself alone."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise Unsupported(field, f"{text!r} is no address range") from error


def address_range(cidr: str, exceptions: list[str], field: str) -> Range:
    """Read a range with exceptions."""
    return Range(network(cidr, field), tuple(network(part, field) for part in exceptions))


EVERYTHING = Labelled()
