"""How a connection to NATS proves who it is, and how the server does. Owns nothing but what nats-py is told of it."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.federation.bus.credentials import Credentials, publishable
from atoll.federation.bus.permissions import ANYBODY, Identity
from atoll.federation.errors import InvalidInput


@dataclass(frozen=True)
class Login:
    """How a connection proves who it is, and how the server does; without credentials NATS must ask for none.

    Attributes:
        credentials: asked again at every connect, so that newer ones need no restart.
        identity: whose connection it is; answers arrive where only it may listen.
        ca: the CA of the server's certificate; None means the system's.
    """

    credentials: Callable[[], Credentials] | None = None
    identity: Identity = ANYBODY
    ca: Path | None = None

    def check(self) -> None:
        """Find out now what would fail at the first connect.

        Raises:
            InvalidInput: the credentials or the CA cannot be used.
        """
        self.options()
        if self.credentials is not None:
            self.credentials().sign("")

    def names(self, subject: str) -> bool:
        """Tell whether the credentials name this very subject among those that may be published; without any, all may.

        Those that an older hub has signed lack what came later.
        """
        return self.credentials is None or subject in publishable(self.credentials().jwt)

    def options(self) -> dict[str, Any]:
        """Give what nats-py has to know.

        Raises:
            InvalidInput: the CA cannot be used.
        """
        found: dict[str, Any] = {"inbox_prefix": self.identity.inbox_prefix}
        if self.ca is not None:
            found["tls"] = _trusting(self.ca)
        if self.credentials is not None:
            showing = _Showing(self.credentials)
            found.update(signature_cb=showing.sign, user_jwt_cb=showing.jwt)
        return found


class _Showing:
    """Shows credentials to a server. nats-py asks for the signature, then for the JWT: both must be of one reading."""

    def __init__(self, read: Callable[[], Credentials]) -> None:
        self._read = read
        self._shown: Credentials | None = None

    def sign(self, nonce: str) -> bytes:
        self._shown = self._read()
        return self._shown.sign(nonce)

    def jwt(self) -> bytearray:
        return bytearray((self._shown or self._read()).jwt.encode())


OPEN = Login()


def _trusting(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"cannot use the CA of NATS, {ca}: {error}") from error
