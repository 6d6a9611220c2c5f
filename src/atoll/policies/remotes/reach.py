"""Where the hub's Git may go: what is refused unless somebody allows it, and what the hub was told.

Pure: addresses come in resolved (`pins.py`).
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from atoll.federation.errors import InvalidInput
from atoll.policies.remotes.url import is_name

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Private networks are not here: laboratories have their Git servers in them. What stands first is what is said.
_REFUSED: tuple[tuple[str, tuple[Network, ...]], ...] = tuple(
    (what, tuple(ipaddress.ip_network(each) for each in networks))
    for what, networks in (
        # Services that give credentials of a machine to whoever asks from it. Most are link-local; these are not: AWS
        # and EKS, Google, Oracle, Scaleway (all IPv6), Alibaba, Oracle Classic, Azure's WireServer.
        (
            "a metadata service of a cloud",
            (
                "169.254.169.254/32", "fd00:ec2::/64", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128",
                "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32",
            ),
        ),
        ("a loopback address", ("127.0.0.0/8", "::1/128")),
        ("a link-local address", ("169.254.0.0/16", "fe80::/10")),
        # Linux takes connections to 0.0.0.0 and :: to itself.
        ("an unspecified address", ("0.0.0.0/8", "::/128")),
        ("a multicast address", ("224.0.0.0/4", "ff00::/8")),
        ("a reserved address", ("240.0.0.0/4",)),
    )
)  # fmt: skip
# IPv6 addresses that end at an IPv4 address: mapped, compatible (RFC 4291 2.5.5), NAT64 (RFC 6052 2.1, RFC 8215).
_ENDING_IN_IPV4 = tuple(
    ipaddress.IPv6Network(each) for each in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48")
)


class AddressRefused(InvalidInput):
    """A repository leads where the hub's Git does not go."""

    reason = "AddressRefused"


@dataclass(frozen=True)
class Places:
    """Hosts and networks. A name `*.example.org` is every name below example.org."""

    names: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, words: Sequence[str], option: str) -> "Places":
        """Read them as an option has them.

        Raises:
            InvalidInput: a word is neither a host, an address nor a network.
        """
        names: list[str] = []
        networks: list[Network] = []
        for word in words:
            if is_name(word.removeprefix("*.")):
                names.append(word.lower())
                continue
            try:
                networks.append(ipaddress.ip_network(word))
            except ValueError as error:
                raise InvalidInput(
                    f"{option} {word}: write a host, *.DOMAIN, an address or a network such as 10.1.0.0/16 ({error})"
                ) from error
        return cls(tuple(names), tuple(networks))

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self.names or self.networks)

    def holds_name(self, host: str) -> bool:
        """Say whether a name is one of the hosts, or below a domain."""
        return any(host.endswith(name[1:]) if name.startswith("*.") else host == name for name in self.names)

    def holds_address(self, address: Address) -> bool:
        """Say whether an address lies in one of the networks."""
        return any(address in network for network in self.networks)


@dataclass(frozen=True)
class Reach:
    """Where the hub's Git goes.

    Attributes:
        allowed: goes there although they are refused by default.
        only: goes nowhere else; empty: no such limit. It allows nothing that is refused by default.
    """

    allowed: Places = Places()
    only: Places = Places()

    @classmethod
    def parse(cls, allow: Sequence[str], only: Sequence[str]) -> "Reach":
        """Read the options of the hub.

        Raises:
            InvalidInput: a word is neither a host, an address nor a network.
        """
        return cls(Places.parse(allow, "--git-allow"), Places.parse(only, "--git-only"))

    def check(self, repository: str, host: str, addresses: Sequence[Address]) -> None:
        """Refuse a repository of which any address is out of reach.

        Args:
            repository: as messages may show it.
            host: its name or address.
            addresses: all that the name stands for; none: somebody else resolves it, so that names alone are judged.

        Raises:
            AddressRefused: names the address, what it is, and the option.
        """
        for address in addresses:
            what = kind_of_refused(address)
            if what and not self.allowed.holds_name(host) and not self.allowed.holds_address(address):
                raise AddressRefused(
                    f"source.repository {repository} leads to {address}, {what}, where the hub's Git does not go; "
                    f"if policies are kept there, start the hub with --git-allow {host}"
                )
        if self.only and not self._is_among_the_only(host, addresses):
            at = ", ".join(str(address) for address in addresses if str(address) != host)
            raise AddressRefused(
                f"source.repository {repository} leads to {host}{at and f' ({at})'}, which is none of the hosts and "
                f"networks of the hub's --git-only; use one of those, or add --git-only {host}"
            )

    def _is_among_the_only(self, host: str, addresses: Sequence[Address]) -> bool:
        if self.only.holds_name(host):
            return True
        return bool(addresses) and all(self.only.holds_address(address) for address in addresses)


DEFAULT_REACH = Reach()


def kind_of_refused(address: Address) -> str:
    """Say what an address is that is refused by default; empty if it is not."""
    return next((what for what, networks in _REFUSED if any(address in each for each in networks)), "") or (
        kind_of_refused(inner) if (inner := _inner(address)) is not None else ""
    )


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """Give the IPv4 address at which an IPv6 address ends, if it is of such a kind."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if any(address in network for network in _ENDING_IN_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo else None)
