"""Clusters whose CNI is Cilium, 1.16 to 1.20. Pure.

Every peer that means pods or nodes is written with its clusters. The meaning of a peer without them was turned over
between 1.18 and 1.19 (cilium#40609) and depends on an option since; with them, both settings and all versions agree.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.policies.dialects import cilium_kubernetes
from atoll.policies.dialects.scope import Refusal, Scope, bare_key, names_cluster, selector_keys, with_clusters
from atoll.policies.features import Features
from atoll.policies.manifest import CILIUM_CIDR_GROUP, CILIUM_POLICIES, CLUSTER_NETWORK_POLICY, Manifest
from atoll.policies.selectors import selector_of
from atoll.policies.validation.cilium import PORTLESS_PROTOCOLS
from atoll.policies.validation.cilium_rules import DIRECTIONS, rules_of

Version = tuple[int, int]

_NAMESPACE_KEY = "io.kubernetes.pod.namespace"
_NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
_SELECTING = ("fromEndpoints", "toEndpoints", "fromNodes", "toNodes")
_PROTOCOLS_OF_1_20 = frozenset({"GRE", "IPIP", "IPV6", "ESP", "AH"})


@dataclass(frozen=True)
class Agent:
    """Cilium as it runs in a cluster; `version` is None if unknown."""

    version: Version | None
    serves_cluster_policies: bool
    scopes_peers_itself: bool
    features: Features


def parse_version(text: str) -> Version | None:
    """Read major and minor of 1.19.2 or v1.20.0-rc.1; None for the empty text or nonsense."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def compile_manifest(manifest: Manifest, scope: Scope, agent: Agent) -> Manifest | Sequence[Refusal]:
    """Write a manifest so that this cluster's Cilium takes it for exactly what it says, or say why it cannot."""
    if manifest.kind in CILIUM_POLICIES:
        refusals = [*_too_new(manifest, agent), *_switched_off(manifest.body, agent), *_boundless_peers(manifest)]
        return refusals or _changed(manifest, _explicit_policy(manifest.body, scope))
    if manifest.kind == CILIUM_CIDR_GROUP:
        return _cidr_group(manifest, agent)
    if manifest.kind == CLUSTER_NETWORK_POLICY:
        refusals = [*_cluster_policy_needs(agent), *cilium_kubernetes.refusals(manifest.body)]
        return refusals or _changed(manifest, cilium_kubernetes.explicit_cluster_policy(manifest.body, scope))
    refusals = list(cilium_kubernetes.refusals(manifest.body))
    names_clusters = scope.group is not None or not agent.scopes_peers_itself
    body = cilium_kubernetes.explicit_network_policy(manifest.body, scope if names_clusters else None)
    return refusals or _changed(manifest, body)


def _changed(manifest: Manifest, body: Mapping[str, Any]) -> Manifest:
    return dataclasses.replace(manifest, body=body)


def _explicit_policy(body: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    result = dict(body)
    if "spec" in body:
        result["spec"] = _explicit_rule(body["spec"], scope)
    if "specs" in body:
        result["specs"] = [_explicit_rule(rule, scope) for rule in body["specs"]]
    return result


def _explicit_rule(rule: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    changed = {name: [_explicit_item(item, scope) for item in rule[name]] for name in DIRECTIONS if name in rule}
    return {**rule, **changed}


def _explicit_item(item: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    changed = {name: [_explicit(peer, scope) for peer in item[name]] for name in _SELECTING if name in item}
    return {**item, **changed}


def _explicit(selector: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """Name the clusters, unless the selector does so or is of reserved identities, which have no cluster label."""
    if names_cluster(selector) or any(key.startswith("reserved:") for key in selector_keys(selector)):
        return dict(selector)
    return with_clusters(selector, scope, prefix="k8s:")


def _boundless_peers(manifest: Manifest) -> Iterator[Refusal]:
    """Refuse selectors that only exclude: they match world and nodes too, and whole clusters from 1.20 on."""
    for path, item in _items(manifest.body):
        for name in ("fromEndpoints", "toEndpoints"):
            for index, selector in enumerate(item.get(name) or []):
                if _only_excludes(selector):
                    reason = (
                        "only excludes, so it also means world and nodes; add k8s:io.kubernetes.pod.namespace Exists"
                    )
                    yield Refusal(f"{path}.{name}[{index}]", reason)
        for name in ("fromCIDRSet", "toCIDRSet"):
            for index, block in enumerate(item.get(name) or []):
                if "cidrGroupSelector" in block and _is_negative(block["cidrGroupSelector"]):
                    reason = "asks for no label, so it also means pods, nodes and all of the world; ask for one"
                    yield Refusal(f"{path}.{name}[{index}].cidrGroupSelector", reason)


def _only_excludes(selector: Mapping[str, Any]) -> bool:
    """Say whether nothing is asked for, after Cilium has added the namespace and we the clusters."""
    keys = selector_keys(selector)
    has_namespace = any(bare_key(key).startswith((_NAMESPACE_KEY, _NAMESPACE_LABELS)) for key in keys)
    has_scope = names_cluster(selector) or any(key.startswith("reserved:") for key in keys)
    if not has_scope or (not has_namespace and not any(key.startswith("reserved:") for key in keys)):
        return False
    return _is_negative(selector)


def _is_negative(selector: Mapping[str, Any]) -> bool:
    terms = selector.get("matchExpressions") or []
    return not selector.get("matchLabels") and all(term["operator"] in ("NotIn", "DoesNotExist") for term in terms)


def _items(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, rule in rules_of(body):
        for direction in DIRECTIONS:
            for index, item in enumerate(rule.get(direction) or []):
                yield f"{path}.{direction}[{index}]", item


def missing_groups(body: Mapping[str, Any], wanted: Iterable[Manifest], held: Iterable[Manifest]) -> Iterator[Refusal]:
    """Refuse references to CIDR groups that the cluster will not hold: a deny by such a group would deny nothing.

    Args:
        body: a Cilium policy.
        wanted: the CIDR groups that are meant for the cluster.
        held: those of them that it will hold.
    """
    held_keys = {group.key for group in held}
    meant = list(wanted)
    for path, item in _items(body):
        for name in ("fromCIDRSet", "toCIDRSet"):
            for index, block in enumerate(item.get(name) or []):
                named = [group for group in meant if _names_group(block, group)]
                if "cidr" not in block and (not named or any(group.key not in held_keys for group in named)):
                    what = block.get("cidrGroupRef", "the selector")
                    reason = f"{what!r} stands for a CiliumCIDRGroup that this policy set does not bring to the cluster"
                    yield Refusal(f"{path}.{name}[{index}]", reason)


def _names_group(block: Mapping[str, Any], group: Manifest) -> bool:
    if "cidrGroupSelector" in block:
        return selector_of(block["cidrGroupSelector"]).matches(group.body["metadata"].get("labels") or {})
    return bool(block.get("cidrGroupRef") == group.name)


def _too_new(manifest: Manifest, agent: Agent) -> Iterator[Refusal]:
    """Refuse fields that this version would drop silently (the CRD prunes what it does not know)."""
    for path, needed in _version_needs(manifest.body):
        if agent.version is None:
            yield Refusal(path, f"needs Cilium {_dotted(needed)}, and this cluster's version is unknown")
        elif agent.version < needed:
            yield Refusal(path, f"needs Cilium {_dotted(needed)}, this cluster runs {_dotted(agent.version)}")


def _dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def _version_needs(body: Mapping[str, Any]) -> Iterator[tuple[str, Version]]:
    """Name fields that came after 1.15: enableDefaultDeny cilium#30572, log 1.18, protocols 1.20."""
    for path, rule in rules_of(body):
        if "enableDefaultDeny" in rule:
            yield f"{path}.enableDefaultDeny", (1, 16)
        if "log" in rule:
            yield f"{path}.log", (1, 18)
    for path, item in _items(body):
        for name in ("fromCIDRSet", "toCIDRSet"):
            for index, block in enumerate(item.get(name) or []):
                if "cidrGroupSelector" in block:
                    yield f"{path}.{name}[{index}].cidrGroupSelector", (1, 18)
        for index, ports in enumerate(item.get("toPorts") or []):
            if any(port.get("protocol") in _PROTOCOLS_OF_1_20 for port in ports.get("ports") or []):
                yield f"{path}.toPorts[{index}].ports", (1, 20)


def _switched_off(body: Mapping[str, Any], agent: Agent) -> Iterator[Refusal]:
    """Refuse what the agent would accept and not enforce, or refuse itself, for want of an option."""
    for path, rule in rules_of(body):
        if "nodeSelector" in rule and not agent.features.host_firewall:
            yield Refusal(f"{path}.nodeSelector", "does nothing without Cilium's host firewall; switch it on there")
    for path, item in _items(body):
        if ("fromNodes" in item or "toNodes" in item) and not agent.features.node_selector_labels:
            yield Refusal(path, "peers by node need Cilium's option enable-node-selector-labels there")
        for index, ports in enumerate(item.get("toPorts") or []):
            protocols = {port.get("protocol") for port in ports.get("ports") or []}
            if protocols & set(PORTLESS_PROTOCOLS) and not agent.features.extended_ip_protocols:
                yield Refusal(f"{path}.toPorts[{index}]", "needs Cilium's option enable-extended-ip-protocols there")


def _cidr_group(manifest: Manifest, agent: Agent) -> Manifest | Sequence[Refusal]:
    """Pick the API version: v2alpha1 until 1.17, v2 from 1.18 on."""
    if agent.version is None:
        return [Refusal("apiVersion", "depends on Cilium's version, and this cluster's version is unknown")]
    version = "cilium.io/v2" if agent.version >= (1, 18) else "cilium.io/v2alpha1"
    return _changed(manifest, {**manifest.body, "apiVersion": version})


def _cluster_policy_needs(agent: Agent) -> Iterator[Refusal]:
    if agent.version is None or agent.version < (1, 20):
        has = _dotted(agent.version) if agent.version else "an unknown version"
        yield Refusal("", f"Cilium enforces ClusterNetworkPolicy from 1.20 on, this cluster runs {has}")
    elif not agent.serves_cluster_policies:
        yield Refusal("", "it is not known whether this cluster serves ClusterNetworkPolicy")
