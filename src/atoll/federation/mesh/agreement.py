"""Settings that must be the same in every cluster of a mesh. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from atoll.federation.mesh.members import Member, Violation
from atoll.federation.mesh.naming import LIMITS
from atoll.federation.resources.mesh import MeshFacts


@dataclass(frozen=True)
class _Rule:
    """One setting by its key in cilium-config; `read` gives None where it is not known."""

    reason: str
    key: str
    read: Callable[[MeshFacts], object]
    harm: str
    caution: str = ""


_RULES = (
    _Rule(
        "MaxConnectedClustersDiffer",
        "max-connected-clusters",
        lambda facts: facts.max_connected_clusters if facts.max_connected_clusters in LIMITS else None,
        "they read each other's identities wrongly and refuse to connect",
        "; it can only be set at installation",
    ),
    _Rule(
        "RoutingModeDiffers",
        "routing-mode",
        lambda facts: facts.routing_mode or None,
        "pods of one kind cannot answer those of the other",
    ),
    _Rule(
        "TunnelProtocolDiffers",
        "tunnel-protocol",
        lambda facts: facts.tunnel_protocol or None,
        "their nodes cannot read each other's packets",
    ),
    _Rule(
        "LabelFiltersDiffer",
        "labels",
        lambda facts: facts.label_filters,
        "a policy's selector matches pods of some clusters only",
    ),
    _Rule(
        "PolicyDefaultDiffers",
        "policy-default-local-cluster",
        lambda facts: facts.default_local_cluster,
        "a policy that names no cluster allows pods of all clusters in some, and only their own in others",
    ),
)


def agreement_faults(members: Sequence[Member]) -> Iterator[Violation]:
    """Find settings that differ, and those that must be known but are not."""
    for member in members:
        limit = member.facts.max_connected_clusters
        if limit is not None and limit not in LIMITS:
            message = f"max-connected-clusters is {limit}: Cilium takes only {LIMITS[0]} and {LIMITS[1]}"
            remedy = f"install Cilium anew with clustermesh.maxConnectedClusters={LIMITS[0]}"
            yield Violation("InvalidMaxConnectedClusters", (member.cluster,), message, remedy)
    for rule in _RULES:
        yield from _differing(rule, members)
    yield from _unknown_default(members)


def _differing(rule: _Rule, members: Sequence[Member]) -> Iterator[Violation]:
    values = {member.cluster: rule.read(member.facts) for member in members}
    known = {cluster: value for cluster, value in values.items() if value is not None}
    counts = Counter(known.values())
    if len(counts) < 2:
        return
    usual = usual_value(list(known.values()))
    others = tuple(cluster for cluster, value in known.items() if usual is None or value != usual)
    said = "; ".join(f"{_text(value)} in {_names(known, value)}" for value, _ in counts.most_common())
    target = "the same value everywhere" if usual is None else _text(usual)
    remedy = f"set {rule.key} to {target}{rule.caution}"
    yield Violation(rule.reason, others, f"{rule.key} is {said}: {rule.harm}", remedy)


def usual_value(values: Sequence[object]) -> object | None:
    """Give the value that more than half of those who tell one have; None if there is none."""
    if not values:
        return None
    value, count = Counter(values).most_common(1)[0]
    return value if 2 * count > len(values) else None


def _names(known: dict[str, object], value: object) -> str:
    names = [cluster for cluster, each in known.items() if each == value]
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} clusters"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if value == "" else str(value)


def _unknown_default(members: Sequence[Member]) -> Iterator[Violation]:
    """Find clusters that told their settings but not this one: without it no verdict on a policy holds."""
    who = tuple(each.cluster for each in members if each.facts.name and each.facts.default_local_cluster is None)
    if who:
        message = "policy-default-local-cluster is not known: what a policy that names no cluster allows is not either"
        remedy = "set clustermesh.policyDefaultLocalCluster in Cilium's Helm values"
        yield Violation("PolicyDefaultUnknown", who, message, remedy)
