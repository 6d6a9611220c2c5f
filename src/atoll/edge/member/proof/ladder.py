"""The ladder: which rung a policy is on, from what the API server and the Cilium agents of the nodes say. Pure.

Rules:
1. A node that was not asked, or not since the policy was written, proves nothing. k of n is always of all nodes.
2. A policy is realized on a node if every endpoint there that it selects is ready, enforces in the policy's directions,
   and shows the very object: by the uid, and where the engine carries it the content, behind what it has realized. A
   direction in which a policy only closes leaves no filter behind that could show it: there the agent must hold the
   object, and the endpoint have realized all that the agent holds (which is what `cilium policy wait` waits for).
3. A policy is resolved if each cluster that its peers name, or any if they mean every cluster, is met by an identity.
4. A policy is observed if Hubble has shown a connection that it decided about. Whether there is one is up to whoever
   opens connections, so that nobody waits for this rung.
5. A policy for nodes is proven like any other, by the endpoint that every node is to its own agent.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from atoll.edge.member.proof.meaning import Meaning
from atoll.edge.member.proof.reading import EndpointView, Mark, Repository
from atoll.edge.member.proof.verdicts import Verdict
from atoll.federation.resources.policyset_proof import PolicyRung
from atoll.policies.manifest import CILIUM_POLICIES, Manifest
from atoll.policies.reading.context import CLUSTER, NAMESPACE
from atoll.policies.rules import Direction, Identity, Labelled, Rule

_HOST = "reserved:host"
_FIREWALL = "a nodeSelector needs Cilium's host firewall (hostFirewall.enabled)"
_SHOWN = 3


@dataclass(frozen=True)
class Live:
    """What the API server says of an applied object. `is_valid` is Cilium's own check; None: it has said nothing."""

    uid: str
    is_valid: bool | None = None
    message: str = ""
    checked_at: datetime | None = None


@dataclass(frozen=True)
class Claim:
    """One object of which more is to be proven than that it was applied.

    Attributes:
        live: what the API server says of it; None if it is not there as ordered.
        since: answers of nodes from before this time are of what the object was before.
        observed_at: the newest connection that it is known to have decided about; None: none.
    """

    policy: Manifest
    meaning: Meaning
    live: Live | None
    since: datetime
    observed_at: datetime | None = None

    @property
    def mark(self) -> Mark:
        """What realized rules of it bear."""
        return Mark(self.live.uid if self.live is not None else "", self.meaning.content)


@dataclass(frozen=True)
class NodeLook:
    """What the agent of one node has said. `began_at` is before it was asked; a node has only its newest look.

    `drops` counts packets that policies have denied there; None if it was not told. `verdicts` are Hubble's newest.
    """

    began_at: datetime
    endpoints: tuple[EndpointView, ...]
    repository: Repository | None = None
    selectors: Mapping[str, frozenset[int]] = field(default_factory=dict)
    drops: int | None = None
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class Scene:
    """The cluster that is looked at.

    Attributes:
        cluster: its name in the mesh.
        engine: what enforces policies; only Cilium can be asked.
        nodes: all of its nodes.
        peer_ids: the mesh ids of other clusters by name, as far as known.
        identity_bits: how many low bits of an identity are the cluster's own.
        oldest: looks from before this time prove nothing any more.
    """

    cluster: str
    engine: str
    nodes: frozenset[str]
    peer_ids: Mapping[str, int] = field(default_factory=dict)
    identity_bits: int = 16
    oldest: datetime | None = None


@dataclass(frozen=True)
class Judgement:
    """How far one object is proven, on which nodes it is realized, as of when, and why no further."""

    rung: PolicyRung | None
    reason: str = ""
    nodes: frozenset[str] = frozenset()
    realized_at: datetime | None = None
    observed_at: datetime | None = None


# By node: its look, the policies and marks it was compared with, and what did not show. Only what is new is compared.
Memory = dict[str, tuple[NodeLook, object, Mapping[int, str]]]


def judge(
    claims: Sequence[Claim], looks: Mapping[str, NodeLook], scene: Scene, memory: Memory | None = None
) -> tuple[Judgement, ...]:
    """Judge each claim by the newest look at each node; `memory` of an earlier call is brought up to date."""
    known = {} if memory is None else memory
    fresh = {node: look for node, look in looks.items() if node in scene.nodes and _is_fresh(look, scene)}
    for node in known.keys() - fresh.keys():
        del known[node]
    compared = tuple((claim.meaning, claim.mark) for claim in claims)
    failures: dict[int, dict[str, str]] = defaultdict(dict)
    for node, look in fresh.items():
        standing = known.get(node)
        if standing is None or standing[0] is not look or standing[1] != compared:
            standing = known[node] = (look, compared, _failures(claims, look))
        for index, why in standing[2].items():
            failures[index][node] = why
    return tuple(_judged(claim, fresh, failures.get(index, {}), scene) for index, claim in enumerate(claims))


def _is_fresh(look: NodeLook, scene: Scene) -> bool:
    return scene.oldest is None or look.began_at >= scene.oldest


def _failures(claims: Sequence[Claim], look: NodeLook) -> dict[int, str]:
    """Give the claims that are not realized on a node by their place, each with the first reason why."""
    found: dict[int, str] = {}
    by_namespace: dict[str | None, list[int]] = defaultdict(list)
    for index, claim in enumerate(claims):
        by_namespace[claim.policy.namespace].append(index)
    for endpoint in look.endpoints:
        if _HOST in endpoint.labels:
            _look_at_host(claims, endpoint, look.repository, found)
            continue
        identity = Identity(endpoint.labels)
        namespaces = {endpoint.labels.get(f"k8s:{NAMESPACE}"), None}
        for index in (index for namespace in namespaces for index in by_namespace.get(namespace, ())):
            claim = claims[index]
            chosen = [rule for rule in claim.meaning.rules or () if rule.subject.matches(identity)]
            why = _why_unrealized(claim.mark, chosen, endpoint, look.repository) if chosen else ""
            if why:
                found.setdefault(index, f"{endpoint.name} {why}")
    return found


def _look_at_host(
    claims: Sequence[Claim], host: EndpointView, repository: Repository | None, found: dict[int, str]
) -> None:
    """Note the claims for nodes that a node's own endpoint does not show."""
    identity = Identity(host.labels)
    for index, claim in enumerate(claims):
        chosen = [rule for rule in claim.meaning.host_rules if rule.subject.matches(identity)]
        why = _why_unrealized(claim.mark, chosen, host, repository) if chosen else ""
        if why:
            is_off = f"; {_FIREWALL}" if not host.enforced else ""
            found.setdefault(index, f"the host {why}{is_off}")


def _why_unrealized(mark: Mark, rules: Iterable[Rule], endpoint: EndpointView, repository: Repository | None) -> str:
    """Say why an endpoint does not show an object whose rules select it; empty if it does."""
    if endpoint.state != "ready":
        return f"is {endpoint.state or 'in no known state'}"
    leaves_filter: dict[Direction, bool] = defaultdict(bool)
    for rule in rules:
        leaves_filter[rule.direction] |= rule.peers != () and rule.traffic != ()
    for direction in leaves_filter.keys() - endpoint.enforced:
        return f"does not enforce {direction} (policy-enabled: {endpoint.mode})"
    for direction, is_shown in leaves_filter.items():
        if is_shown and mark not in endpoint.marks.get(direction, frozenset()):
            return f"has not realized it for {direction}"
    if all(leaves_filter.values()):
        return ""
    if repository is None:
        return "cannot show it: it only closes, and this Cilium does not tell its rules"
    if mark not in repository.marks:
        return "cannot have realized it: the node's agent does not hold it"
    behind = repository.revision - endpoint.revision
    return f"has realized revision {endpoint.revision}, the agent holds {repository.revision}" if behind > 0 else ""


def _judged(claim: Claim, looks: Mapping[str, NodeLook], failures: Mapping[str, str], scene: Scene) -> Judgement:
    if claim.live is None:
        return Judgement(None, "it is not in the cluster as ordered")
    if claim.live.is_valid is False:
        return Judgement("Applied", f"Cilium refuses it: {claim.live.message}")
    if claim.live.is_valid is None and claim.policy.kind in CILIUM_POLICIES:
        return Judgement("Applied", "Cilium's operator has not checked it yet (no condition Valid)")
    if scene.engine != "cilium":
        return Judgement("Valid", f"{scene.engine or 'the network plugin'} tells nobody what it enforces")
    if claim.meaning.rules is None:
        return Judgement("Valid", claim.meaning.why_not)
    asked = {node: look.began_at for node, look in looks.items() if look.began_at >= claim.since}
    failures = {**_hostless(claim, looks), **failures}
    nodes = frozenset(asked.keys() - failures.keys())
    if nodes != scene.nodes or not scene.nodes:
        return Judgement("Valid", _why_not_everywhere(nodes, asked.keys(), failures, scene), nodes)
    realized_at = min(asked.values())
    missing = _unresolved(claim, looks.values(), scene)
    if missing:
        return Judgement("Realized", f"no endpoint of {missing} is known to its selectors", nodes, realized_at)
    if claim.observed_at is None:
        return Judgement("Resolved", "", nodes, realized_at)
    return Judgement("Observed", "", nodes, realized_at, claim.observed_at)


def _hostless(claim: Claim, looks: Mapping[str, NodeLook]) -> dict[str, str]:
    """Name the nodes that show no endpoint of their own to a policy that is for nodes."""
    if not claim.meaning.host_rules:
        return {}
    shown = {node for node, look in looks.items() if any(_HOST in each.labels for each in look.endpoints)}
    return dict.fromkeys(looks.keys() - shown, f"shows no endpoint of the host; {_FIREWALL}")


def _why_not_everywhere(
    nodes: frozenset[str], asked: Collection[str], failures: Mapping[str, str], scene: Scene
) -> str:
    told = [f"{node}: {failures[node]}" for node in sorted(failures.keys() & asked)]
    silent = sorted(scene.nodes - set(asked))
    if silent:
        more = f" and {len(silent) - _SHOWN} more" if len(silent) > _SHOWN else ""
        told.append(f"not asked since: {', '.join(silent[:_SHOWN])}{more}")
    return f"realized on {len(nodes)} of {len(scene.nodes)} nodes; " + "; ".join(told[:_SHOWN])


def _unresolved(claim: Claim, looks: Iterable[NodeLook], scene: Scene) -> str:
    """Name the clusters that the policy's peers mean and no identity is of; empty if there are none."""
    rules = (*(claim.meaning.rules or ()), *claim.meaning.host_rules)
    named, means_any = _remote_clusters(rules, scene.cluster)
    if not named and not means_any:
        return ""
    identities = {number for look in looks for number in look.selectors.get(claim.mark.uid, ())}
    # Reserved identities and those of addresses have no cluster: 1 to 255, and from 2^24 on (pkg/identity).
    met = {number >> scene.identity_bits for number in identities if number < 1 << 24}
    missing = sorted(name for name in named if scene.peer_ids.get(name, -1) not in met)
    if missing:
        return ", ".join(missing)
    peers = scene.peer_ids.values()
    return "any other cluster" if means_any and peers and met.isdisjoint(peers) else ""


def _remote_clusters(rules: Iterable[Rule], own: str) -> tuple[frozenset[str], bool]:
    """Give the other clusters that peers name, and whether some peer means every cluster."""
    named: set[str] = set()
    means_any = False
    for rule in rules:
        for peer in rule.peers or ():
            for term in peer.terms if isinstance(peer, Labelled) else ():
                if term.key == CLUSTER and term.operator == "In":
                    named |= term.values - {own}
                elif term.key == CLUSTER and term.operator != "DoesNotExist":
                    means_any = True
    return frozenset(named), means_any
