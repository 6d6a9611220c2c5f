"""From the policies of a bundle to the objects that one cluster shall hold. Pure.

What is emitted means the same on that cluster as in the file, under every setting of its CNI; what cannot be made to
mean the same is reported as `Unenforceable` and then nothing of its file is emitted. It never weakens (guarantee G4).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atoll.policies.dialects import cilium, plain
from atoll.policies.dialects.scope import Refusal, Scope
from atoll.policies.features import DEFAULT_FEATURES, Features
from atoll.policies.manifest import (
    CILIUM_CIDR_GROUP,
    CILIUM_POLICIES,
    CLUSTER_GROUP_ANNOTATION,
    CLUSTER_NETWORK_POLICY,
    CLUSTERS_ANNOTATION,
    NETWORK_POLICY,
    Manifest,
    Origin,
)
from atoll.policies.selectors import parse_selector

# A cluster's own name, as a label that the selectors in annotations can use beside the labels people gave it.
CLUSTER_NAME_LABEL = "atoll.dev/cluster"
# CNIs that enforce networking.k8s.io/v1 NetworkPolicy. On any other, an applied policy would only look enforced.
ENFORCING_CNIS = frozenset(
    {"antrea", "calico", "canal", "cilium", "kindnet", "kube-ovn", "kube-router", "ovn-kubernetes", "weave-net"}
)


@dataclass(frozen=True)
class Target:
    """One cluster as the compiler sees it.

    Attributes:
        cluster: its name in the mesh.
        labels: its labels, which `atoll.dev/clusters` selects by.
        cni: what enforces policies there, such as cilium, calico or kube-router.
        cilium_version: such as 1.19.2; empty if unknown, then nothing that depends on it is emitted.
        kinds_served: policy kinds that its API server has; None if unknown (then all but ClusterNetworkPolicy).
        peers: the other clusters of its mesh with their labels.
        default_local_cluster: Cilium's policy-default-local-cluster; None if unknown.
        features: what its Cilium has switched on; what is not known to be on counts as off.
    """

    cluster: str
    labels: Mapping[str, str] = field(default_factory=dict)
    cni: str = "cilium"
    cilium_version: str = ""
    kinds_served: frozenset[str] | None = None
    peers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    default_local_cluster: bool | None = None
    features: Features = DEFAULT_FEATURES


@dataclass(frozen=True, order=True)
class Unenforceable:
    """A rule that a cluster cannot enforce exactly: where it is written, which it is, why and what would help."""

    origin: Origin
    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.rule}: {self.reason}"


@dataclass(frozen=True)
class Compiled:
    """What a cluster shall hold, in a fixed order, and what it cannot enforce."""

    manifests: tuple[Manifest, ...]
    unenforceable: tuple[Unenforceable, ...]


@dataclass(frozen=True)
class _Result:
    """What became of a manifest, which is held so that no other one gets its id()."""

    manifest: Manifest
    result: Manifest | Sequence[Refusal]


# What became of manifests in one cluster, by their id(): it depends on nothing but the manifest and the target.
Memory = dict[int, _Result]


def compile_for(manifests: Iterable[Manifest], target: Target, memory: Memory | None = None) -> Compiled:
    """Give what one cluster shall hold of a bundle's manifests.

    Args:
        manifests: all of the bundle.
        target: the cluster.
        memory: of earlier calls for this very target; it is added to.
    """
    known = {} if memory is None else memory
    chosen = [manifest for manifest in manifests if is_meant_for(manifest, target)]
    refused = _twice(chosen)
    emitted: list[Manifest] = []
    scopes = {group: _scope(group, target) for group in {_group(manifest) for manifest in chosen}}
    for manifest in chosen:
        known_result = known.get(id(manifest))
        if known_result is None:
            known_result = _Result(manifest, _compile_one(manifest, target, scopes[_group(manifest)]))
            known[id(manifest)] = known_result
        result = known_result.result
        if isinstance(result, Manifest):
            emitted.append(result)
        else:
            refused += [_unenforceable(manifest, refusal) for refusal in result]
    kept = _whole_files(emitted, refused)
    while missing := _missing_groups(chosen, kept):
        refused += missing
        kept = _whole_files(kept, refused)
    return Compiled(tuple(sorted(kept, key=lambda manifest: manifest.key)), tuple(sorted(set(refused))))


def forget_others(memory: dict[int, Any], manifests: Iterable[Manifest]) -> None:
    """Drop from a memory by id() of manifests all but what is of these."""
    living = {id(manifest) for manifest in manifests}
    for key in [key for key in memory if key not in living]:
        del memory[key]


def _whole_files(manifests: Iterable[Manifest], refused: Iterable[Unenforceable]) -> list[Manifest]:
    """Drop every manifest of a file of which something is refused."""
    broken = {item.origin.path for item in refused}
    return [manifest for manifest in manifests if manifest.origin.path not in broken]


def _missing_groups(chosen: Iterable[Manifest], kept: Iterable[Manifest]) -> list[Unenforceable]:
    wanted = [manifest for manifest in chosen if manifest.kind == CILIUM_CIDR_GROUP]
    held = [manifest for manifest in kept if manifest.kind == CILIUM_CIDR_GROUP]
    return [
        _unenforceable(manifest, refusal)
        for manifest in kept
        if manifest.kind in CILIUM_POLICIES
        for refusal in cilium.missing_groups(manifest.body, wanted, held)
    ]


def is_meant_for(manifest: Manifest, target: Target) -> bool:
    """Say whether `atoll.dev/clusters` selects the cluster; without the annotation every cluster is meant."""
    text = manifest.annotations.get(CLUSTERS_ANNOTATION)
    return text is None or parse_selector(text).matches(_labels(target.cluster, target.labels))


def _labels(cluster: str, labels: Mapping[str, str]) -> dict[str, str]:
    return {**labels, CLUSTER_NAME_LABEL: cluster}


def _group(manifest: Manifest) -> str | None:
    return manifest.annotations.get(CLUSTER_GROUP_ANNOTATION)


def _scope(group: str | None, target: Target) -> Scope:
    """Say which clusters the peers of manifests with this group annotation mean."""
    if group is None:
        return Scope(target.cluster, (target.cluster,), None)
    selector = parse_selector(group)
    members = {**target.peers, target.cluster: target.labels}
    chosen = sorted(name for name, labels in members.items() if selector.matches(_labels(name, labels)))
    return Scope(target.cluster, tuple(chosen), group)


def _compile_one(manifest: Manifest, target: Target, scope: Scope) -> Manifest | Sequence[Refusal]:
    cni = target.cni.lower()
    if cni not in ENFORCING_CNIS:
        known = ", ".join(sorted(ENFORCING_CNIS))
        return [
            Refusal("", f"the CNI of {target.cluster}, {target.cni!r}, is not known to enforce policies ({known} do)")
        ]
    if target.kinds_served is not None and manifest.kind not in target.kinds_served | {NETWORK_POLICY}:
        also = (
            ", and on Cilium set enable-k8s-cluster-network-policy" if manifest.kind == CLUSTER_NETWORK_POLICY else ""
        )
        why = f"the API server of {target.cluster} has no {manifest.kind}; install its CRD there{also}"
        return [Refusal("", why)]
    if cni != "cilium":
        return plain.compile_manifest(manifest, scope, cni)
    agent = cilium.Agent(
        version=cilium.parse_version(target.cilium_version),
        serves_cluster_policies=target.kinds_served is not None,
        scopes_peers_itself=target.default_local_cluster is True,
        features=target.features,
    )
    return cilium.compile_manifest(manifest, scope, agent)


def _twice(manifests: Iterable[Manifest]) -> list[Unenforceable]:
    """Report objects that are written more than once for one cluster: only one of them could be held."""
    by_key: dict[tuple[str, str, str], list[Manifest]] = defaultdict(list)
    for manifest in manifests:
        by_key[manifest.key].append(manifest)
    return [
        _unenforceable(manifest, Refusal("", f"is also written in {_others(manifest, group)}; rename one"))
        for group in by_key.values()
        if len(group) > 1
        for manifest in group
    ]


def _others(manifest: Manifest, group: Iterable[Manifest]) -> str:
    return ", ".join(str(other.origin) for other in group if other is not manifest)


def _unenforceable(manifest: Manifest, refusal: Refusal) -> Unenforceable:
    name = "/".join(part for part in (manifest.namespace, manifest.name) if part)
    origin = Origin(manifest.origin.path, manifest.line_of(refusal.field))
    return Unenforceable(origin, f"{manifest.kind} {name} {refusal.field}".strip(), refusal.reason)
