"""The TLS of the hub's HTTP server: its certificate and the CA of its clients, read again when the files change.

Owns ssl contexts. A file that cannot be used replaces nothing: what was loaded last stays in use. Whoever shows no
certificate may connect; whoever shows one that the CA did not sign, or that has expired, may not.
"""

import ssl
from pathlib import Path

import structlog

from atoll.federation.errors import InvalidInput
from atoll.hub.settings import TlsFiles

log = structlog.get_logger(__name__)

Print = tuple[tuple[int, int, int], ...]


class Tls:
    """The contexts of one server. Files are looked at in every handshake: three calls of stat beside a signature."""

    def __init__(self, files: TlsFiles) -> None:
        """Load the files.

        Raises:
            InvalidInput: one cannot be read, or they do not fit each other.
        """
        self._files = files
        self._seen = _fingerprint(files)
        self.context = self._current = _load(files)
        # OpenSSL asks whether the client names a server or not, and before it verifies the client's certificate.
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        self._refresh()
        connection.context = self._current

    def _refresh(self) -> None:
        seen = _fingerprint(self._files)
        if seen == self._seen:
            return
        self._seen = seen  # before they are read: what changes meanwhile is read again
        try:
            self._current = _load(self._files)
        except InvalidInput as error:
            log.warning("the new certificate files cannot be used; the old ones stay in use", problem=str(error))
            return
        log.info("the certificate files were read again", certificate=str(self._files.certificate))


def _fingerprint(files: TlsFiles) -> Print:
    """Tell versions of the files apart; a file that is missing is a version of its own."""
    paths = (files.certificate, files.key, *((files.client_ca,) if files.client_ca else ()))
    return tuple(_stat(path) for path in paths)


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


def _load(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # The client's certificate is looked at once, after a full handshake: a resumed session would bring one back that
    # was verified under files that may be gone by now.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except OSError as error:
        raise InvalidInput(
            f"{files.certificate} and {files.key} are no certificate with its key in PEM form, without a password: "
            f"{error.strerror or error}"
        ) from error
    if files.client_ca is not None:
        _trust(context, files.client_ca)
    return context


def _trust(context: ssl.SSLContext, client_ca: Path) -> None:
    try:
        context.load_verify_locations(client_ca)
    except OSError as error:
        raise InvalidInput(f"{client_ca} is no CA certificate in PEM form: {error.strerror or error}") from error
    context.verify_mode = ssl.CERT_OPTIONAL
