"""Other ways to the same servers: what a process dials in the place of the addresses that it was told.

For a member behind a relay, a port forwarding or a bastion, as curl's `--connect-to`. Unlike there, the certificate has
to name the address that is dialled. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from atoll.federation.errors import InvalidInput

_DEFAULT_PORTS = {"http": 80, "https": 443, "nats": 4222, "tls": 4222}


@dataclass(frozen=True)
class Routes:
    """From `host:port` to the `host:port` that is dialled in its place."""

    ways: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read `HOST:PORT=HOST:PORT`.

        Raises:
            InvalidInput: one of them is of another form.
        """
        ways = {}
        for text in texts:
            told, _, dialled = text.partition("=")
            if not (_is_address(told) and _is_address(dialled)):
                raise InvalidInput(f"--connect-to: {text!r} should be HOST:PORT=HOST:PORT")
            ways[told.lower()] = dialled
        return cls(ways)

    def url(self, url: str) -> str:
        """Give what is dialled for a URL, or for several with commas between them, as NATS has them."""
        return ",".join(map(self._one, url.split(","))) if self.ways else url

    def _one(self, url: str) -> str:
        parts = urlsplit(url.strip())
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        dialled = self.ways.get(f"{parts.hostname}:{port}")
        return parts._replace(netloc=dialled).geturl() if dialled else url


DIRECT = Routes()


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and "=" not in host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536
