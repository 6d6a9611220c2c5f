"""Kubernetes' own policies where Cilium enforces them: clusters are written into podSelector. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from atoll.policies.dialects.scope import (
    SIDES,
    Refusal,
    Scope,
    names_cluster,
    network_policy_peers,
    selector_keys,
    with_clusters,
)

_NAMESPACE_KEY = "io.kubernetes.pod.namespace"
_Peer = Mapping[str, Any]


def explicit_network_policy(body: Mapping[str, Any], scope: Scope | None) -> dict[str, Any]:
    """Write a NetworkPolicy's clusters out (None: leave them to Cilium) and drop what Kubernetes ignores in it."""
    spec = _without_ignored_sections(body["spec"])
    if scope is not None:
        spec = _map_peers(spec, lambda peer: _explicit_pods(peer, scope))
    return {**body, "spec": spec}


def explicit_cluster_policy(body: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """Write a ClusterNetworkPolicy's clusters out."""
    return {**body, "spec": _map_peers(body["spec"], lambda peer: _explicit_cluster_peer(peer, scope))}


def refusals(body: Mapping[str, Any]) -> Iterator[Refusal]:
    """Name the peers that Cilium reads differently from Kubernetes."""
    for path, peer in network_policy_peers(body):
        pods = peer.get("pods", peer)
        selector = pods.get("podSelector") or {}
        namespaces = peer.get("namespaces", pods.get("namespaceSelector")) or {}
        is_scoped = "namespaces" not in peer and not names_cluster(selector)
        if _NAMESPACE_KEY in selector_keys(selector):
            yield Refusal(path, f"{_NAMESPACE_KEY} in a podSelector: Cilium replaces it; use a namespaceSelector")
        elif _only_excludes(namespaces) and not is_scoped and ("namespaces" in peer or _only_excludes(selector)):
            yield Refusal(path, "only excludes, so Cilium takes it to mean world and nodes too; name some namespaces")


def _only_excludes(selector: Mapping[str, Any]) -> bool:
    terms = selector.get("matchExpressions") or []
    negative = all(term["operator"] in ("NotIn", "DoesNotExist") for term in terms)
    return bool(terms) and negative and not selector.get("matchLabels")


def _without_ignored_sections(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what Kubernetes ignores because policyTypes does not name it; Cilium would enforce it."""
    types = spec.get("policyTypes")
    ignored = {"ingress", "egress"} - {name.lower() for name in types} if types else set()
    return {name: value for name, value in spec.items() if name not in ignored}


def _map_peers(spec: Mapping[str, Any], change: Callable[[_Peer], _Peer]) -> dict[str, Any]:
    result = dict(spec)
    for direction, side in SIDES:
        if spec.get(direction):
            result[direction] = [
                {**rule, side: [change(peer) for peer in rule[side]]} if rule.get(side) else dict(rule)
                for rule in spec[direction]
            ]
    return result


def _explicit_pods(peer: Mapping[str, Any], scope: Scope) -> Mapping[str, Any]:
    pods = peer.get("podSelector") or {}
    if "ipBlock" in peer or names_cluster(pods) or any(key.startswith("reserved:") for key in selector_keys(pods)):
        return peer
    return {**peer, "podSelector": with_clusters(pods, scope)}


def _explicit_cluster_peer(peer: _Peer, scope: Scope) -> _Peer:
    """Name the clusters of pods.

    A `namespaces` peer stays: it means the namespaces of every cluster under every setting (hm-174 of the verdict
    corpus). Only a group narrows it.
    """
    if "pods" in peer:
        return {"pods": _explicit_pods(peer["pods"], scope)}
    if "namespaces" in peer and scope.group is not None:
        return {"pods": _explicit_pods({"namespaceSelector": peer["namespaces"], "podSelector": {}}, scope)}
    return peer
