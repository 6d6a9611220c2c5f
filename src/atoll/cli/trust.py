"""Why two sides of a TLS connection did not come to trust each other, in words that say what to do. Pure."""

import ssl
from collections.abc import Iterator

from atoll.federation.errors import AtollError, Unauthorized, Unavailable

# Results of OpenSSL's verification (openssl-verification-options(1), x509_vfy.h).
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_CA = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})


def tls_trouble(server: str, error: BaseException) -> AtollError | None:
    """Find what TLS had against a connection; None if it was something else."""
    found = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    if isinstance(found, ssl.SSLCertVerificationError):
        return Unauthorized(_about_server(server, found))
    if found is None or found.reason is None:
        return None
    if found.reason in _NO_TLS:
        return Unavailable(f"{server} does not speak TLS: is its address http://…, or its port another one?")
    return Unauthorized(_about_us(server, found.reason)) if "ALERT" in found.reason else None


def _about_server(server: str, error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return f"the certificate of {server} has expired: who runs it renews it with 'atoll up'"
    if code == _NOT_YET_VALID:
        return f"the certificate of {server} is not valid yet: is the clock of this machine right?"
    if code in _UNKNOWN_CA:
        remedy = "get its CA's certificate from who runs it, and name the file with --certificate-authority"
        return f"the certificate of {server} is signed by a CA that you do not trust: {remedy}"
    if code in _OTHER_NAME:
        return f"the certificate of {server} is for other names: use one of those, or ask who runs it to add this one"
    return f"the certificate of {server} is refused: {error.verify_message}"


def _about_us(server: str, reason: str) -> str:
    """Read the alert by which a server ends a handshake (RFC 8446, section 6.2)."""
    if "EXPIRED" in reason:
        return "your client certificate has expired: 'atoll up' renews that of the hub on this machine"
    if "UNKNOWN_CA" in reason or "CERTIFICATE" in reason:
        return f"{server} does not trust your client certificate ({reason.lower()}): atoll login {server}"
    return f"{server} refused the TLS connection ({reason.lower()})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
