"""The keys and certificates of one home: its CA, the hub's certificate and the administrator's.

Owns `<home>/pki`: makes it once, renews it in time. Every file is written whole and the key before its certificate, so
that a start that is killed anywhere leaves nothing that the next one cannot finish. The CA is never replaced: every
client that trusts it would lose the hub.
"""

import getpass
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from atoll.federation.errors import InvalidInput
from atoll.local import certificates
from atoll.local.certificates import Facts, Pair
from atoll.local.home import Home, write_atomically

ADMIN_GROUP = "atoll:admins"
# Long enough that a machine which is started once a month never meets an expired certificate.
RENEW_BEFORE = timedelta(days=30)
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_DNS_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
_PRIVATE = 0o600
_LONGEST_NAME = 64  # X.520 ub-common-name


@dataclass(frozen=True)
class Files:
    """Where one certificate and its key are."""

    certificate: Path
    key: Path

    def read(self) -> Pair:
        """Read both; what is missing is empty."""
        return Pair(_content(self.certificate), _content(self.key))


@dataclass(frozen=True)
class Pki:
    """Where all of it is."""

    ca: Files
    server: Files
    admin: Files

    @classmethod
    def of(cls, home: Home) -> "Pki":
        """Name the files of a home, whether they are there or not."""
        folder = home.root / "pki"
        ca, server, admin = (Files(folder / f"{name}.crt", folder / f"{name}.key") for name in ("ca", "hub", "admin"))
        return cls(ca, server, admin)


def ensure(home: Home, *, now: datetime) -> Pki:
    """Make what is missing and renew what ends soon. The caller holds the home's lock.

    Raises:
        InvalidInput: the CA cannot be used and must not be replaced unasked; the message says what to do.
        Unavailable: the folder cannot be written.
    """
    pki = Pki.of(home)
    home.folder("pki").chmod(0o700)
    ca = ensure_ca(pki.ca, now)
    names, user = server_names(), f"admin-{_login_name()}"[:_LONGEST_NAME]

    def issue_server(key: bytes) -> bytes:
        return certificates.issue_server(signing(ca, pki.ca), key, names=names, now=now)

    def issue_admin(key: bytes) -> bytes:
        return certificates.issue_client(signing(ca, pki.ca), key, user=user, groups=(ADMIN_GROUP,), now=now)

    if not (is_good(pki.server, ca, now) and _facts(pki.server).names >= names):
        renew(pki.server, issue_server)
    if not (is_good(pki.admin, ca, now) and _facts(pki.admin).groups == (ADMIN_GROUP,)):
        renew(pki.admin, issue_admin)
    return pki


def server_names() -> frozenset[str]:
    """Give the names under which a hub on this machine is reached, its host name included where that is a DNS name."""
    host = socket.gethostname()
    return _LOOPBACK_NAMES | ({host} if _DNS_NAME.fullmatch(host) else set())


def ensure_ca(files: Files, now: datetime) -> Pair:
    """Load a CA, or make it where none was ever finished; only its owner may be at it meanwhile.

    Raises:
        InvalidInput: it cannot be used and must not be replaced unasked. Unavailable: it cannot be written.
    """
    found = files.read()
    if not found.certificate:
        # Without a certificate the key has signed nothing: a start was killed between the two, or this is the first.
        key = found.key if certificates.is_key(found.key) else certificates.new_key()
        found = Pair(certificates.issue_ca(key, now=now), key)
        _write(files, found)
    _check_ca(found, files, now)
    return found


def _check_ca(ca: Pair, files: Files, now: datetime) -> None:
    try:
        facts = certificates.read(ca.certificate)
    except InvalidInput as error:
        raise InvalidInput(f"{files.certificate} {error}: {_remedy(files)}") from error
    if now < facts.not_before:
        problem = f"is valid only from {facts.not_before:%Y-%m-%d %H:%M} UTC on: is this machine's clock right?"
        raise InvalidInput(f"{files.certificate} {problem}")
    if now >= facts.not_after:
        raise InvalidInput(f"{files.certificate} expired on {facts.not_after:%Y-%m-%d}: {_remedy(files)}")
    if ca.key and not certificates.belong_together(ca):
        raise InvalidInput(f"{files.key} is not the key of {files.certificate.name}: {_remedy(files)}")


def signing(ca: Pair, files: Files) -> Pair:
    """Give the CA where it must sign; its key may be kept elsewhere for as long as it need not."""
    if not ca.key:
        raise InvalidInput(f"{files.key} is missing, and a certificate must be signed with it: {_remedy(files)}")
    return ca


def _remedy(files: Files) -> str:
    folder = files.certificate.parent
    return f"put the right file back; or remove {folder} for a new CA, which every client has to be told of"


def is_good(files: Files, ca: Pair, now: datetime) -> bool:
    """Tell whether a certificate is whole, of this CA, valid now and for a while yet."""
    found = files.read()
    if not certificates.belong_together(found) or not certificates.is_issued_by(found.certificate, ca.certificate):
        return False
    facts = certificates.read(found.certificate)
    return facts.not_before <= now < facts.not_after - RENEW_BEFORE


def _facts(files: Files) -> Facts:
    return certificates.read(files.read().certificate)


def renew(files: Files, issue: Callable[[bytes], bytes]) -> None:
    """Make a new key, and the certificate that `issue` signs for it. Raises Unavailable."""
    key = certificates.new_key()
    _write(files, Pair(issue(key), key))


def _write(files: Files, pair: Pair) -> None:
    write_atomically(files.key, pair.key, mode=_PRIVATE, durable=True)
    write_atomically(files.certificate, pair.certificate, durable=True)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name (KeyError until Python 3.12)
        return str(os.getuid())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
