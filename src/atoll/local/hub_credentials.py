"""The keys and certificates of a hub that runs elsewhere, as files in a folder which its operator keeps.

Owns that folder: makes what is missing, renews what ends soon or lacks a name, never replaces a key of NATS or a CA.
It reaches no cluster: `kubectl apply -k FOLDER` does.
"""

import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from atoll.federation.bus.nats_keys import Keys
from atoll.federation.errors import Unavailable
from atoll.installation.hub import ACCOUNTS_FILE, KEYS_FOLDER, Addresses, accounts_config, kustomization
from atoll.local import certificates, kubeconfig, pki
from atoll.local.credentials import Credentials
from atoll.local.home import write_atomically
from atoll.local.kubeconfig import Context
from atoll.local.pki import ADMIN_GROUP, Files

_ADMIN = "admin"
_PRIVATE = 0o600


def ensure(folder: Path, wanted: Addresses, *, port: int, now: datetime) -> tuple[str, ...]:
    """Bring a folder up to date; name the files that are new or changed.

    Args:
        port: under which clients reach the hub at the first of its names.

    Raises:
        InvalidInput: the CA or a key of NATS in it cannot be used. Unavailable: the folder cannot be written.
    """
    before = _contents(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make the folder {folder}: {error.strerror or error}; name another one") from error
    ca = _certificates(folder, wanted, now)
    keys = Keys.ensure(folder / KEYS_FOLDER)
    if not (folder / ACCOUNTS_FILE).exists():  # a newer one, which revokes nobody, would let in who was revoked
        write_atomically(folder / ACCOUNTS_FILE, accounts_config(keys).encode(), mode=_PRIVATE, durable=True)
    kubeconfig.write(folder / "kubeconfig", _context(folder, ca, wanted, port))
    write_atomically(folder / "kustomization.yaml", kustomization(wanted.namespace).encode())
    after = _contents(folder)
    return tuple(sorted(name for name, content in after.items() if before.get(name) != content))


def foresee(folder: Path, wanted: Addresses, *, port: int, now: datetime) -> tuple[str, ...]:
    """Name the files that `ensure` would make or change, and change nothing."""
    with tempfile.TemporaryDirectory(prefix="atoll-") as place:
        copy = Path(place) / "folder"
        if folder.exists():
            shutil.copytree(folder, copy)
        return ensure(copy, wanted, port=port, now=now)


def _certificates(folder: Path, wanted: Addresses, now: datetime) -> Files:
    files = _files(folder, "ca")
    ca = pki.ensure_ca(files, now)

    def server(key: bytes) -> bytes:
        return certificates.issue_server(pki.signing(ca, files), key, names=wanted.hub_names, now=now)

    def peer(key: bytes) -> bytes:
        return certificates.issue_peer(pki.signing(ca, files), key, names=wanted.nats_names, now=now)

    def admin(key: bytes) -> bytes:
        return certificates.issue_client(pki.signing(ca, files), key, user=_ADMIN, groups=(ADMIN_GROUP,), now=now)

    named = {"hub": (server, wanted.hub_names), "nats": (peer, wanted.nats_names), _ADMIN: (admin, frozenset[str]())}
    for name, (issue, names) in named.items():
        place = _files(folder, name)
        if not pki.is_good(place, ca, now) or not certificates.read(place.read().certificate).names >= names:
            pki.renew(place, issue)
    return files


def _files(folder: Path, name: str) -> Files:
    return Files(folder / f"{name}.crt", folder / f"{name}.key")


def _context(folder: Path, ca: Files, wanted: Addresses, port: int) -> Context:
    admin, host = _files(folder, _ADMIN).read(), (*wanted.hub, "localhost")[0]
    credentials = Credentials(ca.read().certificate, admin.certificate, admin.key)
    return Context(name="atoll", server=f"https://{host}:{port}", credentials=credentials)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
