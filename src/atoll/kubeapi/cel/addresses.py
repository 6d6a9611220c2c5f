"""Kubernetes' functions of IP addresses and CIDR ranges.

Owns both libraries. Addresses with a zone, with leading zeros, or IPv4 mapped into IPv6 are none.
Source: k8s.io/apiserver/pkg/cel/library/ip.go and cidr.go; predicates as in Go's net/netip.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from ipaddress import IPv4Network as _IPv4Network
from typing import ClassVar

from atoll.kubeapi.cel.overloads import Overload, function, method, parsing
from atoll.kubeapi.cel.values import CelError, Opaque


@dataclass(frozen=True)
class Ip(Opaque):
    """One address."""

    kind: ClassVar[str] = "IP"
    address: IPv4Address | IPv6Address

    @property
    def is_global_unicast(self) -> bool:
        """As Go has it: private addresses are global, the broadcast address is not."""
        found = self.address
        special = found.is_unspecified or found.is_loopback or found.is_multicast or found.is_link_local
        return not special and str(found) != "255.255.255.255"

    @property
    def is_link_local_multicast(self) -> bool:
        """Within 224.0.0.0/24 or ff02::/16."""
        if isinstance(self.address, IPv4Address):
            return self.address in _IPv4Network("224.0.0.0/24")
        return self.address in IPv6Network("ff02::/16")


@dataclass(frozen=True)
class Cidr(Opaque):
    """A range as written: its address may have bits beyond the prefix."""

    kind: ClassVar[str] = "CIDR"
    address: IPv4Address | IPv6Address
    length: int

    @property
    def network(self) -> _IPv4Network | IPv6Network:
        """The range without the bits beyond the prefix."""
        return ip_network((self.address, self.length), strict=False)

    def has(self, other: Cidr) -> bool:
        """Say whether all of another range lies within this one."""
        ours, theirs = self.network, other.network
        if isinstance(ours, _IPv4Network):
            return isinstance(theirs, _IPv4Network) and theirs.subnet_of(ours)
        return isinstance(theirs, IPv6Network) and theirs.subnet_of(ours)


def parsed_ip(text: str) -> Ip | None:
    """Return an address, or None for a text that is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    return None if mapped or "%" in text else Ip(address)


def parsed_cidr(text: str) -> Cidr | None:
    """Return a range, or None for a text that is none."""
    address, slash, length = text.partition("/")
    ip = parsed_ip(address)
    if ip is None or not slash or not (length.isascii() and length.isdigit()) or (length != "0" and length[0] == "0"):
        return None
    return Cidr(ip.address, int(length)) if len(length) < 4 and int(length) <= ip.address.max_prefixlen else None


def _ip(text: str) -> Ip:
    parsed = parsed_ip(text)
    if parsed is None:
        raise CelError(f"IP Address {text[:60]!r} parse error during conversion from string")
    return parsed


def _cidr(text: str) -> Cidr:
    parsed = parsed_cidr(text)
    if parsed is None:
        raise CelError(f"network address parse error during conversion from string {text[:60]!r}")
    return parsed


def _contains_ip(cidr: Cidr, ip: Ip) -> bool:
    return ip.address in cidr.network


def _masked(cidr: Cidr) -> Cidr:
    return Cidr(cidr.network.network_address, cidr.length)


ADDRESSES: tuple[Overload, ...] = (
    function("ip", _ip, "string -> IP", cost=parsing),
    function("isIP", lambda text: parsed_ip(text) is not None, "string -> bool", cost=parsing),
    function("ip.isCanonical", lambda text: str(_ip(text).address) == text, "string -> bool", cost=parsing),
    function("string", lambda ip: str(ip.address), "IP -> string"),
    method("family", lambda ip: ip.address.version, "IP -> int"),
    method("isUnspecified", lambda ip: ip.address.is_unspecified, "IP -> bool"),
    method("isLoopback", lambda ip: ip.address.is_loopback, "IP -> bool"),
    method("isLinkLocalMulticast", lambda ip: ip.is_link_local_multicast, "IP -> bool"),
    method("isLinkLocalUnicast", lambda ip: ip.address.is_link_local, "IP -> bool"),
    method("isGlobalUnicast", lambda ip: ip.is_global_unicast, "IP -> bool"),
    function("cidr", _cidr, "string -> CIDR", cost=parsing),
    function("isCIDR", lambda text: parsed_cidr(text) is not None, "string -> bool", cost=parsing),
    function("string", lambda cidr: f"{cidr.address}/{cidr.length}", "CIDR -> string"),
    method("containsIP", _contains_ip, "CIDR, IP -> bool", cost=parsing),
    method("containsIP", lambda cidr, text: _contains_ip(cidr, _ip(text)), "CIDR, string -> bool", cost=parsing),
    method("containsCIDR", Cidr.has, "CIDR, CIDR -> bool", cost=parsing),
    method("containsCIDR", lambda cidr, text: cidr.has(_cidr(text)), "CIDR, string -> bool", cost=parsing),
    method("ip", lambda cidr: Ip(cidr.address), "CIDR -> IP"),
    method("prefixLength", lambda cidr: cidr.length, "CIDR -> int"),
    method("masked", _masked, "CIDR -> CIDR"),
)
