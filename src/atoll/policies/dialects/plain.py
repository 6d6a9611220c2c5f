"""Clusters whose CNI knows Kubernetes' NetworkPolicy only (kube-router of K3s, Calico, …). Pure."""

from collections.abc import Sequence

from atoll.policies.dialects.scope import CLUSTER_KEY, Refusal, Scope, names_cluster, network_policy_peers
from atoll.policies.manifest import NETWORK_POLICY, Manifest


def compile_manifest(manifest: Manifest, scope: Scope, cni: str) -> Manifest | Sequence[Refusal]:
    """Pass a NetworkPolicy that speaks of this cluster only; refuse everything else."""
    if manifest.kind != NETWORK_POLICY:
        return [Refusal("", f"only Cilium enforces {manifest.kind}, {scope.cluster} runs {cni}; write a NetworkPolicy")]
    refusals = [
        Refusal(path, f"names clusters by {CLUSTER_KEY}, which {cni} takes for a pod's label; only Cilium knows it")
        for path, peer in network_policy_peers(manifest.body)
        if names_cluster(peer.get("podSelector") or {})
    ]
    if not scope.is_local and any("ipBlock" not in peer for _, peer in network_policy_peers(manifest.body)):
        reason = f"means pods of other clusters ({scope.group}), which {cni} cannot tell from other addresses"
        refusals.append(Refusal("metadata.annotations", reason))
    return refusals or manifest
