"""What all dialects share: which clusters a manifest's peers mean, and how a dialect refuses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# By it Cilium tells the pods of one cluster from those of another (policy-default-local-cluster, cilium#39338).
CLUSTER_KEY = "io.cilium.k8s.policy.cluster"
# A value no cluster can have (names have no dots), for groups that select none: an In list must not be empty.
NO_CLUSTER = "atoll.dev.no-cluster"


@dataclass(frozen=True)
class Scope:
    """The cluster compiled for, the clusters its peers mean, and the group annotation they come from, if any."""

    cluster: str
    clusters: tuple[str, ...]
    group: str | None

    @property
    def is_local(self) -> bool:
        """Say whether peers mean this cluster and no other."""
        return self.clusters == (self.cluster,)


@dataclass(frozen=True)
class Refusal:
    """Why a manifest cannot be enforced exactly; `field` is the path of the rule, empty for the whole object."""

    field: str
    reason: str


_CLUSTER_KEYS = frozenset({CLUSTER_KEY, f"k8s:{CLUSTER_KEY}", f"any:{CLUSTER_KEY}"})


def names_cluster(selector: Mapping[str, object]) -> bool:
    """Say whether a selector already says which clusters it means."""
    return not _CLUSTER_KEYS.isdisjoint(selector_keys(selector))


def selector_keys(selector: Mapping[str, object]) -> tuple[str, ...]:
    """Give the keys of a label selector."""
    labels, expressions = selector.get("matchLabels"), selector.get("matchExpressions")
    keys = list(labels) if isinstance(labels, Mapping) else []
    if isinstance(expressions, list):
        keys += [term["key"] for term in expressions]
    return tuple(keys)


def bare_key(key: str) -> str:
    """Give a label key without the source k8s: or any:, which both mean a Kubernetes label."""
    return key.removeprefix("k8s:").removeprefix("any:")


def with_clusters(selector: Mapping[str, object], scope: Scope, prefix: str = "") -> dict[str, object]:
    """Give a selector that also asks for the scope's clusters."""
    key = prefix + CLUSTER_KEY
    if scope.group is None:
        labels = selector.get("matchLabels")
        own = dict(labels) if isinstance(labels, Mapping) else {}
        return {**selector, "matchLabels": {**own, key: scope.cluster}}
    expressions = selector.get("matchExpressions")
    own_terms = list(expressions) if isinstance(expressions, list) else []
    term = {"key": key, "operator": "In", "values": list(scope.clusters) or [NO_CLUSTER]}
    return {**selector, "matchExpressions": [*own_terms, term]}


# The two directions of Kubernetes' policies and the field of each that holds its peers.
SIDES = (("ingress", "from"), ("egress", "to"))


def network_policy_peers(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give every peer of a NetworkPolicy or ClusterNetworkPolicy with its path."""
    for direction, side in SIDES:
        for index, rule in enumerate(body["spec"].get(direction) or []):
            for number, peer in enumerate(rule.get(side) or []):
                yield f"spec.{direction}[{index}].{side}[{number}]", peer
