"""The rule model: what all policy kinds come down to. Pure values, no text and no cluster in them.

A rule says, for one direction of the endpoints it selects: traffic of this kind with these peers is allowed, denied or
passed on. `verdict.py` decides with it; `reading/` makes it from manifests.
"""

import functools
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Unsupported(ValueError):
    """A construct the engine does not model; it must not guess. `field` is its path in the manifest."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class Direction(StrEnum):
    """Which way a connection goes, as its endpoint sees it."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Tier(IntEnum):
    """Rules of an earlier tier decide first (Cilium pkg/policy/types: Admin, Normal, Baseline)."""

    ADMIN = 100
    NORMAL = 200
    BASELINE = 250


class Action(IntEnum):
    """What a rule does with traffic; of rules of one rank the lower value wins (deny, allow, pass)."""

    DENY = 0
    ALLOW = 1
    PASS = 2


@dataclass(frozen=True)
class Identity:
    """What policies see of a peer: labels by `source:key`, the same by bare key, its address if it is outside."""

    labels: Mapping[str, str]
    address: IpAddress | None = None
    domain_names: tuple[str, ...] = ()
    is_all_of: int | None = None

    @functools.cached_property
    def by_key(self) -> Mapping[str, str]:
        """Give the labels without their sources, as `any:` selectors see them."""
        return {label.partition(":")[2]: value for label, value in self.labels.items()}


@dataclass(frozen=True)
class Term:
    """One requirement on labels; source `any` looks at labels of every source."""

    source: str
    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str], by_key: Mapping[str, str]) -> bool:
        """Say whether labels meet it; NotIn also holds where the key is absent."""
        value = by_key.get(self.key) if self.source == "any" else labels.get(f"{self.source}:{self.key}")
        if self.operator == "In":
            return value in self.values
        if self.operator == "NotIn":
            return value not in self.values
        return (value is not None) == (self.operator == "Exists")


@dataclass(frozen=True)
class Labelled:
    """Peers or subjects by labels: all terms must hold. No terms: everything there is."""

    terms: tuple[Term, ...] = ()

    def matches(self, identity: Identity) -> bool:
        """Say whether it selects a peer."""
        by_key = identity.by_key
        return all(term.matches(identity.labels, by_key) for term in self.terms)


@dataclass(frozen=True)
class Range:
    """Peers by address: inside the network and in none of the exceptions. Never pods or nodes (cilium#9209)."""

    network: Network
    exceptions: tuple[Network, ...] = ()

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that are selected."""
        return (self.network,)

    def matches(self, identity: Identity) -> bool:
        """Say whether it selects a peer."""
        if identity.is_all_of is not None:
            return identity.is_all_of == self.network.version and self.network.prefixlen == 0
        address = identity.address
        return address is not None and address in self.network and not any(address in part for part in self.exceptions)


@dataclass(frozen=True)
class Domain:
    """Peers by the names that DNS gave for them: a name or a pattern in which * stands for part of a label."""

    pattern: str

    def matches(self, identity: Identity) -> bool:
        """Say whether it selects a peer."""
        return any(_domain_regex(self.pattern).fullmatch(name.lower().rstrip(".")) for name in identity.domain_names)


@dataclass(frozen=True)
class Grouped:
    """Peers by the labels of the CIDR groups that their address lies in, as Cilium's cidrGroupSelector.

    An address has the labels of all groups around it; where two say a key, that of the narrower network holds. Whatever
    lies in no group has none of these labels, pods and nodes included: terms that only exclude match all of it.

    Attributes:
        terms: on labels of source cidrgroup.
        groups: the networks of the groups with their labels.
        exceptions: networks that are left out.
    """

    terms: tuple[Term, ...]
    groups: tuple[tuple[Network, tuple[tuple[str, str], ...]], ...]
    exceptions: tuple[Network, ...] = ()

    def matches(self, identity: Identity) -> bool:
        """Say whether it selects a peer."""
        address, labels = identity.address, dict[str, str]()
        if address is not None:
            around = (group for group in self.groups if address in group[0])
            for _, own in sorted(around, key=lambda group: group[0].prefixlen):
                labels |= own
        if address is not None and any(address in part for part in self.exceptions):
            return False
        return self._has(labels)

    def _has(self, labels: Mapping[str, str]) -> bool:
        by_source = {f"cidrgroup:{key}": value for key, value in labels.items()}
        return all(term.matches(by_source, labels) for term in self.terms)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks of the groups that are selected."""
        return tuple(network for network, own in self.groups if self._has(dict(own)))


Peer = Labelled | Range | Grouped | Domain


def _domain_regex(pattern: str) -> re.Pattern[str]:
    """Write a Cilium pattern as a regular expression: * is any run within a label, a lone * is everything."""
    name = pattern.lower().rstrip(".")
    if name == "*":
        return re.compile(r".*")
    prefix, rest = (r"([-a-zA-Z0-9_]+\.)+", name[3:]) if name.startswith("**.") else ("", name)
    return re.compile(prefix + re.escape(rest).replace(r"\*", "[-a-zA-Z0-9_]*"))


@dataclass(frozen=True)
class Ports:
    """Traffic by protocol and port, ends included."""

    protocols: frozenset[str]
    first: int = 0
    last: int = 65535


@dataclass(frozen=True)
class NamedPort:
    """Traffic to a port that the receiving pod has given a name."""

    protocols: frozenset[str]
    name: str


@dataclass(frozen=True)
class Icmp:
    """ICMP traffic of one family (ICMP or ICMPv6) and type; None is every type."""

    protocol: str
    type: int | None


Traffic = Ports | NamedPort | Icmp


@dataclass(frozen=True)
class Source:
    """Which manifest and which of its fields a rule comes from."""

    kind: str
    namespace: str | None
    name: str
    field: str

    def __str__(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.kind} {where} {self.field}"


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        subject: the endpoints it is for.
        peers: the other side; None is everyone, empty is nobody.
        traffic: what it speaks of; None is everything, empty is nothing.
        default_deny: whether its mere presence closes the direction.
        rank: order within the tier; only ClusterNetworkPolicies differ in it.
        is_l7: whether what it allows goes through a proxy that looks further.
    """

    source: Source
    direction: Direction
    subject: Labelled
    action: Action
    peers: tuple[Peer, ...] | None
    traffic: tuple[Traffic, ...] | None = None
    tier: Tier = Tier.NORMAL
    rank: tuple[int, int] = (0, 0)
    default_deny: bool = True
    is_l7: bool = False
