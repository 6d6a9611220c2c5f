"""Client certificates: whom one names, and that it names nobody once it has ended."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from atoll.hub.access.certificates import holder, shows_certificate, tls_extension
from atoll.hub.access.identity import Refused
from atoll.kubeapi.http.access import User
from hub.tls_support import Authority

COMMON, ORGANIZATION, UNIT = (
    NameOID.COMMON_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
)
NOW = datetime.now(UTC)


def certificate(*names: tuple[x509.ObjectIdentifier, str]) -> bytes:
    """Make one with these parts in its subject; who signed it is the handshake's business."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in names])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - timedelta(1)).not_valid_after(NOW + timedelta(1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


NAMED = {
    "a user in two groups": (((COMMON, "alice"), (ORGANIZATION, "labs"), (ORGANIZATION, "night")), "alice labs night"),
    "a user in no group": (((COMMON, "alice"),), "alice"),
    "the same group twice": (((COMMON, "alice"), (ORGANIZATION, "labs"), (ORGANIZATION, "labs")), "alice labs"),
    "units are no groups": (((COMMON, "alice"), (UNIT, "atoll:admins")), "alice"),
    "commas are part of a name": (((COMMON, "alice,O=atoll:admins"),), "alice,O=atoll:admins"),
    "nobody": (((ORGANIZATION, "labs"),), "MissingClaim"),
    "two people": (((COMMON, "alice"), (COMMON, "root")), "MissingClaim"),
}


@pytest.mark.parametrize("what", NAMED)
def test_the_subject_names_the_user_and_the_groups(what: str) -> None:
    names, expected = NAMED[what]
    found = holder(tls_extension(certificate(*names), "TLSv1.3"), NOW)
    assert (" ".join((found.name, *found.groups)) if isinstance(found, User) else found.reason) == expected


def test_a_connection_that_outlives_its_certificate_is_nobodys(tmp_path: Path) -> None:
    shown, _ = Authority(tmp_path).client("alice")
    extension = tls_extension(ssl.PEM_cert_to_DER_cert(Path(shown).read_text()), "TLSv1.2")
    assert isinstance(holder(extension, NOW), User)
    assert holder(extension, NOW + timedelta(days=366)) == Refused("Expired", "CN=alice")


def test_a_certificate_that_cannot_be_read_is_shown_and_good_for_nothing() -> None:
    extension = tls_extension(b"\x30\x03\x02\x01\x01", "TLSv1.3")
    assert shows_certificate(extension)
    assert holder(extension, NOW) == Refused("Malformed")
    assert not shows_certificate(tls_extension(None, "TLSv1.3"))
