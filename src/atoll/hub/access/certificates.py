"""Client certificates: what one says about its holder. This room's only door to cryptography.

Owns the reading. Whether a certificate is to be trusted is decided before, in the TLS handshake; only its end is
looked at again, for a connection may outlive it. As in Kubernetes the common name is the user and the organizations
are the groups (kubernetes.io: Authenticating, X509 client certificates).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from atoll.hub.access.identity import Refused, identified
from atoll.kubeapi.http.access import User

_TLS_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def tls_extension(certificate: bytes | None, version: str | None) -> dict[str, Any]:
    """Describe a connection in the form of ASGI's TLS extension (asgi.readthedocs.io, TLS extension 0.2).

    Args:
        certificate: the verified certificate of the client, DER; None if it showed none.
        version: as Python's ssl names it, such as TLSv1.3.
    """
    chain, name, error = [], None, None
    if certificate is not None:
        try:
            found = x509.load_der_x509_certificate(certificate)
            chain, name = [_pem(found)], found.subject.rfc4514_string()
        except (ValueError, TypeError, x509.InvalidVersion) as unreadable:
            error = str(unreadable)
    return {
        "server_cert": None,
        "client_cert_chain": chain,
        "client_cert_name": name,
        "client_cert_error": error,
        "tls_version": _TLS_VERSIONS.get(version or ""),
        "cipher_suite": None,
    }


def shows_certificate(extension: Mapping[str, Any]) -> bool:
    """Tell whether a certificate came with a connection."""
    return bool(extension.get("client_cert_chain") or extension.get("client_cert_error"))


def holder(extension: Mapping[str, Any], now: datetime) -> User | Refused:
    """Tell whose certificate came with a connection. Pure.

    Args:
        extension: what `tls_extension` gave for a connection with one.
    """
    if extension["client_cert_error"]:
        return Refused("Malformed")
    said = _read(extension["client_cert_chain"][0])
    about = str(extension["client_cert_name"])
    if now >= said.ends_at:
        return Refused("Expired", about)
    if len(said.names) != 1 or not said.names[0]:  # two names could mean two people
        return Refused("MissingClaim", about)
    return identified(said.names[0], said.organizations, credential=f"X509SHA256={said.fingerprint}")


@dataclass(frozen=True)
class _Said:
    """What a certificate says."""

    names: tuple[str, ...]
    organizations: tuple[str, ...]
    ends_at: datetime
    fingerprint: str


@lru_cache(maxsize=1024)
def _read(pem: str) -> _Said:
    """Read a certificate, once for all requests of its connections: that takes longer than the rest of the check."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return _Said(
        names=_values(certificate, NameOID.COMMON_NAME),
        organizations=_values(certificate, NameOID.ORGANIZATION_NAME),
        ends_at=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _values(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(kind))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")
