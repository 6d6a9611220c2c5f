"""Verdicts: may this party open a connection to that one, and which rules say so. Pure.

Agrees with Cilium's own engine (data/verdicts: CNP, CCNP, NetworkPolicy, ClusterNetworkPolicy at L3 and L4). It judges
new connections; replies are always allowed. It does not look into L7 rules: what they cover is allowed and marked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from atoll.policies.identity import Address, Endpoint, Entity, Party, identity_of
from atoll.policies.manifest import Manifest
from atoll.policies.reading import read_rules
from atoll.policies.reading.context import NAMESPACE
from atoll.policies.rules import Action, Direction, Icmp, Identity, NamedPort, Ports, Rule, Source, Tier, Traffic

__all__ = ["Address", "Endpoint", "Entity", "Flow", "Options", "Side", "Verdict", "World", "verdict"]

# Cilium asks for the labels reserved:host and reserved:init by these keys whatever their source is, so that a pod's own
# label counts, too: without the host firewall the first frees a pod of all policies, and the second closes it
# (computePolicyEnforcementAndRules, pkg/policy/repository.go).
UNPOLICED_LABEL, CLOSED_LABEL = "host", "init"

Protocol = Literal["TCP", "UDP", "SCTP", "ICMP", "ICMPv6"]
Because = Literal["NoPolicy", "Rule", "DefaultDeny", "LocalHost"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What enforces the policies and how it is set; Cilium's defaults (`default_local_cluster` is true from 1.19 on).

    Engine Kubernetes is any CNI that enforces Kubernetes' policies by the word of their API; the other settings but
    `dual_stack` are Cilium's alone.
    """

    engine: Literal["Cilium", "Kubernetes"] = "Cilium"
    default_local_cluster: bool = True
    enforcement: Literal["default", "always", "never"] = "default"
    allow_localhost: bool = True
    non_default_deny: bool = True
    dual_stack: bool = True
    host_firewall: bool = False


@dataclass(frozen=True)
class Flow:
    """A new connection. For ICMP the port is the type."""

    source: Party
    destination: Party
    port: int
    protocol: Protocol = "TCP"


@dataclass(frozen=True)
class Side:
    """The word of one side: allowed or not, why, by which rules, and whether a proxy looks further."""

    allowed: bool
    because: Because
    rules: tuple[Source, ...] = ()
    is_l7: bool = False


@dataclass(frozen=True)
class Verdict:
    """Both sides' word; None where no policy can apply (no endpoint, or a cluster that holds none)."""

    egress: Side | None
    ingress: Side | None

    @property
    def allowed(self) -> bool:
        """Say whether both sides allow it."""
        return all(side is None or side.allowed for side in (self.egress, self.ingress))


@dataclass
class World:
    """The clusters' policies and what is needed to judge by them. Remembers what it has worked out.

    Attributes:
        policies: what each cluster holds; clusters that are not named hold no policies.
        namespaces: labels by namespace name; `cluster/name` stands before `name`.
    """

    policies: Mapping[str, Iterable[Manifest]]
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    options: Options = Options()

    def __post_init__(self) -> None:
        """Read all policies; Unsupported if one says what the model cannot."""
        self._rules: dict[str, tuple[Rule, ...]] = {
            cluster: read_rules(
                manifests,
                cluster,
                default_local_cluster=self.options.default_local_cluster,
                non_default_deny=self.options.non_default_deny,
                is_cilium=self.options.engine == "Cilium",
            )
            for cluster, manifests in self.policies.items()
        }
        self._shelves = {cluster: _shelved(rules) for cluster, rules in self._rules.items()}
        self._identities: dict[int, tuple[Party, Identity]] = {}
        self._stances: dict[tuple[int, Direction], Stance | None] = {}
        self._selected: dict[tuple[int, int], bool] = {}

    def identity(self, party: Party) -> Identity:
        """Give a party's identity."""
        known = self._identities.get(id(party))
        if known is None:
            options = self.options
            is_cilium = options.engine == "Cilium"
            found = identity_of(party, self.namespaces, dual_stack=options.dual_stack, is_cilium=is_cilium)
            # The party is kept beside its identity, so that its id() stays its own.
            known = self._identities[id(party)] = (party, found)
        return known[1]

    def rules(self) -> Iterator[Rule]:
        """Give all rules of all clusters."""
        return (rule for rules in self._rules.values() for rule in rules)

    def stance(self, party: Party, direction: Direction) -> "Stance | None":
        """Give what policies make of a party in a direction; None if no policy can apply to it."""
        key = (id(party), direction)
        if key not in self._stances:
            self._stances[key] = self._stance(party, direction)
        return self._stances[key]

    def _stance(self, party: Party, direction: Direction) -> "Stance | None":
        identity = self.identity(party)
        if not isinstance(party, Endpoint) or party.cluster not in self._rules:
            return None
        shelf = self._shelves[party.cluster][direction]
        near = sorted([*shelf.get(party.namespace, ()), *shelf.get("", ())])
        candidates = (self._rules[party.cluster][index] for index in near)
        enforcement, is_cilium = self.options.enforcement, self.options.engine == "Cilium"
        is_taken_for_host = is_cilium and not self.options.host_firewall and UNPOLICED_LABEL in identity.by_key
        if enforcement == "never" or is_taken_for_host:
            return Stance((), closed=False)
        rules = tuple(rule for rule in candidates if rule.subject.matches(identity))
        # Endpoints without an identity yet (reserved:init) are always closed.
        always = enforcement == "always" or (is_cilium and CLOSED_LABEL in identity.by_key)
        return Stance(rules, closed=always or any(rule.default_deny for rule in rules))

    def boundaries(self, party: Party, direction: Direction, protocol: Protocol) -> Iterator[int]:
        """Give the ports at which what policies say of a party may change; between two of them it does not."""
        stance = self.stance(party, direction)
        for rule in stance.rules if stance is not None else ():
            for traffic in rule.traffic or ():
                if isinstance(traffic, Ports) and protocol in traffic.protocols:
                    yield from (traffic.first, traffic.last + 1)

    def selects(self, rule: Rule, party: Party) -> bool:
        """Say whether a rule's peers include a party."""
        if rule.peers is None:
            return True
        identity = self.identity(party)
        key = (id(rule), id(identity))
        known = self._selected.get(key)
        if known is None:
            known = self._selected[key] = any(peer.matches(identity) for peer in rule.peers)
        return known


# The places of rules in the order of their reading: by direction, then by the one namespace whose pods they can select
# ("" for any).
Shelves = Mapping[Direction, Mapping[str, Sequence[int]]]


def _shelved(rules: Sequence[Rule]) -> Shelves:
    """Put rules where the endpoints that they may select will look for them."""
    found: dict[Direction, dict[str, list[int]]] = {direction: {} for direction in Direction}
    for index, rule in enumerate(rules):
        found[rule.direction].setdefault(_namespace_of(rule), []).append(index)
    return found


def _namespace_of(rule: Rule) -> str:
    for term in rule.subject.terms:
        if (term.source, term.key, term.operator) == ("k8s", NAMESPACE, "In") and len(term.values) == 1:
            return next(iter(term.values))
    return ""


@dataclass(frozen=True)
class Stance:
    """The rules that select an endpoint in a direction, and whether what none of them matches is dropped."""

    rules: tuple[Rule, ...]
    closed: bool


_OPEN = Side(True, "NoPolicy")
_CLOSED = Side(False, "DefaultDeny")
_LOCAL_HOST = Side(True, "LocalHost")
_HOST = Entity("host")
_TIERS = tuple(Tier)
_WITHOUT_BASELINE = (Tier.ADMIN, Tier.NORMAL)


def verdict(world: World, flow: Flow) -> Verdict:
    """Judge a connection at both its ends."""
    return Verdict(
        egress=_side(world, flow, Direction.EGRESS, flow.source, flow.destination),
        ingress=_side(world, flow, Direction.INGRESS, flow.destination, flow.source),
    )


def _side(world: World, flow: Flow, direction: Direction, subject: Party, peer: Party) -> Side | None:
    stance = world.stance(subject, direction)
    if stance is None:
        return None
    if not stance.rules and not stance.closed:
        return _OPEN
    matching = [rule for rule in stance.rules if _covers(rule, flow, world) and world.selects(rule, peer)]
    from_host = direction is Direction.INGRESS and peer == _HOST and world.options.allow_localhost
    # Kubernetes asks the baseline only for endpoints that no NetworkPolicy selects, Cilium before it drops (hm-206).
    tiers = _WITHOUT_BASELINE if stance.closed and world.options.engine == "Kubernetes" else _TIERS
    side = _decided(matching, tiers, from_host=from_host)
    return side or (_CLOSED if stance.closed else _OPEN)


def _decided(matching: list[Rule], tiers: tuple[Tier, ...], *, from_host: bool) -> Side | None:
    """Ask tier after tier; the first rule by rank decides, a pass hands over to the next tier."""
    for tier in tiers if matching or from_host else ():
        best = _first([rule for rule in matching if rule.tier is tier])
        if best and best[0].action is not Action.PASS:
            allowed = best[0].action is Action.ALLOW
            is_l7 = allowed and any(rule.is_l7 for rule in best)
            return Side(allowed, "Rule", tuple(rule.source for rule in best), is_l7)
        if tier is Tier.NORMAL and from_host:
            return _LOCAL_HOST
    return None


def _first(rules: list[Rule]) -> list[Rule]:
    """Give the rules of the lowest rank and action: they decide together."""
    if len(rules) < 2:
        return rules
    lowest = min((rule.rank, rule.action) for rule in rules)
    return [rule for rule in rules if (rule.rank, rule.action) == lowest]


def _covers(rule: Rule, flow: Flow, world: World) -> bool:
    if rule.traffic is None:
        return True
    for traffic in rule.traffic:  # noqa: SIM110 # `any` of a generator costs as much again; a million flows come by
        if _is_of(traffic, flow, world):
            return True
    return False


def _is_of(traffic: Traffic, flow: Flow, world: World) -> bool:
    if isinstance(traffic, Icmp):
        return flow.protocol == traffic.protocol and traffic.type in (None, flow.port)
    if flow.protocol not in traffic.protocols:
        return False
    if isinstance(traffic, Ports):
        return traffic.first <= flow.port <= traffic.last
    return _has_port(flow.destination, traffic, flow, world)


def _has_port(receiver: Party, traffic: NamedPort, flow: Flow, world: World) -> bool:
    """Named ports are those of the receiving pod, whichever side asks.

    Containers of a pod may give one name to several ports: Kubernetes means all of them, Cilium keeps the last
    (NamedPortMap.AddPort, pkg/policy/types/portmap.go).
    """
    if not isinstance(receiver, Endpoint):
        return False
    named = [port for port in receiver.port_names if port.name.lower() == traffic.name]
    kept = named[-1:] if world.options.engine == "Cilium" else named
    return any((port.port, port.protocol) == (flow.port, flow.protocol) for port in kept)
