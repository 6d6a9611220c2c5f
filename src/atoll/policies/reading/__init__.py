"""From manifests to rules, as the engine of a cluster reads them. Pure; refuses what the rule model cannot say."""

from collections.abc import Iterable, Sequence

from atoll.policies.manifest import (
    CILIUM_CIDR_GROUP,
    CILIUM_POLICIES,
    CLUSTER_NETWORK_POLICY,
    NETWORK_POLICY,
    Manifest,
)
from atoll.policies.reading import cilium, kubernetes
from atoll.policies.reading.context import Reader
from atoll.policies.rules import Rule, Unsupported


def read_rules(
    manifests: Iterable[Manifest],
    cluster: str,
    *,
    default_local_cluster: bool,
    non_default_deny: bool = True,
    is_cilium: bool = True,
) -> tuple[Rule, ...]:
    """Read the policies that one cluster holds.

    Args:
        manifests: all of them, CIDR groups included; they need not have been validated, but must be well-formed.
        cluster: the cluster's name.
        default_local_cluster: Cilium's policy-default-local-cluster.
        non_default_deny: Cilium's enable-non-default-deny-policies.
        is_cilium: whether Cilium enforces them; any other engine takes Kubernetes' policies by the
            word of their API.

    Raises:
        Unsupported: a construct that the rule model cannot say.
    """
    known = list(manifests)
    groups = tuple(manifest for manifest in known if manifest.kind == CILIUM_CIDR_GROUP)
    # Without Cilium pods of other clusters are addresses like any other: peers are always local.
    local = default_local_cluster or not is_cilium
    reader = Reader(cluster, local, non_default_deny, groups, is_cilium)
    return tuple(rule for manifest in known for rule in _rules(manifest, reader))


def _rules(manifest: Manifest, reader: Reader) -> Sequence[Rule]:
    if not reader.is_cilium and manifest.kind not in (NETWORK_POLICY, CLUSTER_NETWORK_POLICY):
        raise Unsupported("kind", f"only Cilium enforces {manifest.kind}")
    if manifest.kind in CILIUM_POLICIES:
        return list(cilium.rules(manifest, reader))
    if manifest.kind == NETWORK_POLICY:
        return list(kubernetes.network_policy_rules(manifest, reader))
    if manifest.kind == CLUSTER_NETWORK_POLICY:
        return list(kubernetes.cluster_policy_rules(manifest, reader))
    return ()
