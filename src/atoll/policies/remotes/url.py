"""A repository's URL, read so strictly that git, curl and ssh can make no other host of it.

Owns the grammar. Pure: it must resolve nothing, and not judge where a URL leads.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from atoll.federation.errors import InvalidInput
from atoll.policies.validation.shapes import show

Scheme = Literal["https", "ssh"]
_DEFAULT_PORTS: dict[Scheme, int] = {"https": 443, "ssh": 22}
_ON_DISK = ("file:///", "/")

_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]*"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST = rf"(?:(?P<name>{_NAME})|\[(?P<bracketed>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?"
# git decodes %40 and %2F of an ssh URL before it looks for the host (connect.c, parse_connect_url): no '%' before it.
_USER = r"(?P<user>[A-Za-z0-9_.][A-Za-z0-9_.+-]*)"
_FORMS: tuple[tuple[Scheme, re.Pattern[str]], ...] = (
    ("https", re.compile(rf"https://(?:[^/@\\?#\s\[\]]*@)?{_HOST}(?:/.*)?")),
    ("ssh", re.compile(rf"ssh://(?:{_USER}@)?{_HOST}/.*")),
    ("ssh", re.compile(rf"{_USER}@(?P<name>{_NAME})(?P<bracketed>)(?P<port>):[^\s:].*")),
)
# What inet_aton takes for an address although it is none of four numbers: 127.1, 0x7f000001, 2130706433.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


@dataclass(frozen=True)
class Remote:
    """A repository on another machine.

    Attributes:
        scheme: how it is spoken to.
        host: its name in small letters, or its address without brackets.
        port: where; None is the scheme's own, or what the hub user's configuration of ssh says.
        user: of ssh; empty: nobody was named.
    """

    scheme: Scheme
    host: str
    port: int | None = None
    user: str = ""

    @property
    def port_or_default(self) -> int:
        """Give the port, if need be the scheme's own."""
        return self.port or _DEFAULT_PORTS[self.scheme]


def parse_remote(repository: str) -> Remote | None:
    """Read where a repository is; None: on this machine's disk.

    Raises:
        InvalidInput: it is none of the forms that are taken, or could be read in two ways.
    """
    if re.search(r"[\s\x00-\x1f\x7f]", repository):
        raise _refusal(repository, "blanks and control characters are refused")
    if repository.startswith(_ON_DISK):
        return None
    for scheme, form in _FORMS:
        if found := form.fullmatch(repository):
            host = found["name"] or found["bracketed"]
            return Remote(scheme, _host(repository, host), _port(repository, found["port"]), _user(found))
    if repository.startswith(("https://", "ssh://")):
        why = "write its host as letters, digits, dots and hyphens, or an IPv6 address in brackets"
        raise _refusal(repository, why)
    raise _refusal(repository, "write an https://, ssh:// or file:/// URL, user@host:path or an absolute path")


def is_name(text: str) -> bool:
    """Say whether a text is a name of a host, and nothing that is taken for an address."""
    return re.fullmatch(_NAME, text) is not None and not _NUMBER.fullmatch(text.rpartition(".")[2])


def public_url(repository: str) -> str:
    """Give a repository's URL without the password or token that may stand in it."""
    return re.sub(r"^([a-z]+://)[^/]*@", r"\1", repository)


def _host(repository: str, host: str) -> str:
    if is_name(host):
        return host.lower()
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise _refusal(repository, f"{host} is no address: write an IPv4 address as four numbers") from None


def _port(repository: str, port: str | None) -> int | None:
    if not port:
        return None
    if not 0 < int(port) < 1 << 16:
        raise _refusal(repository, f"{port} is no port")
    return int(port)


def _user(found: re.Match[str]) -> str:
    return found.groupdict().get("user") or ""


def _refusal(repository: str, why: str) -> InvalidInput:
    return InvalidInput(f"source.repository {show(public_url(repository))}: {why}")
