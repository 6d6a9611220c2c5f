"""What a client trusts and what it proves itself with. Values, and the TLS that follows from them."""

import ssl
import tempfile
from dataclasses import dataclass, field

from atoll.federation.errors import InvalidInput


@dataclass(frozen=True)
class Credentials:
    """Certificates and keys are PEM; empty means none, and for `ca` the CAs that this system trusts."""

    ca: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)


def tls_context(credentials: Credentials) -> ssl.SSLContext:
    """Make the TLS of a client: the server is verified always.

    Raises:
        InvalidInput: the CA, the certificate or the key cannot be read.
    """
    try:
        context = ssl.create_default_context(cadata=credentials.ca.decode("ascii") or None)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise InvalidInput("the certificate authority holds no certificate in PEM form") from error
    if credentials.certificate:
        _load_certificate(context, credentials)
    return context


def _load_certificate(context: ssl.SSLContext, credentials: Credentials) -> None:
    # `ssl` takes client certificates from files only: one for a moment, which nobody else can read.
    with tempfile.NamedTemporaryFile(prefix="atoll-", suffix=".pem") as file:
        file.write(credentials.certificate + b"\n" + credentials.key)
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise InvalidInput(f"the client certificate and its key do not fit ({error.reason})") from error
