"""X.509 for one machine: keys, a CA, and the certificates of a server and of a client. The door to `cryptography`.

Takes and gives PEM. It touches no file and decides nothing about renewal.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from atoll.federation.errors import InvalidInput

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
# A client whose clock is behind would refuse a certificate of this minute; an hour is what kubeadm's peers allow too.
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class Pair:
    """A certificate with its private key."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Facts:
    """What a certificate says. `names` are its DNS names and addresses, `user` its common name, `groups` its O's."""

    not_before: datetime
    not_after: datetime
    names: frozenset[str]
    user: str
    groups: tuple[str, ...]


def new_key() -> bytes:
    """Make a private key on the curve P-256: every TLS library has it, and its signatures are fast."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def issue_ca(key: bytes, *, now: datetime) -> bytes:
    """Sign a CA's own certificate. Its name ends with its key's id, so that no two CAs of Atoll share one."""
    public = _private(key).public_key()
    key_id = x509.SubjectKeyIdentifier.from_public_key(public)
    subject = _name(common=f"atoll-ca-{key_id.digest.hex()[:8]}", organizations=())
    builder = (
        _builder(subject, subject, public, (now - CLOCK_SKEW, now + CA_LIFETIME))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(key_id, critical=False)
    )
    return _pem(builder.sign(_private(key), hashes.SHA256()))


def issue_server(ca: Pair, key: bytes, *, names: Iterable[str], now: datetime) -> bytes:
    """Sign the certificate of a server that clients reach by these DNS names and addresses."""
    return _issue_named(ca, key, names, (ExtendedKeyUsageOID.SERVER_AUTH,), now=now)


def issue_peer(ca: Pair, key: bytes, *, names: Iterable[str], now: datetime) -> bytes:
    """Sign the certificate of a server that is also a client of its peers, as one of a NATS cluster is."""
    return _issue_named(ca, key, names, (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH), now=now)


def issue_client(ca: Pair, key: bytes, *, user: str, groups: Sequence[str], now: datetime) -> bytes:
    """Sign the certificate of a client: the user is its common name, the groups are its organizations.

    Kubernetes reads client certificates so (kubernetes.io: Authenticating, X509 client certificates).
    """
    builder = _leaf(ca, key, _name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, now=now)
    return _pem(builder.sign(_private(ca.key), hashes.SHA256()))


def read(certificate: bytes) -> Facts:
    """Read a certificate.

    Raises:
        InvalidInput: it is none.
    """
    found = _certificate(certificate)
    return Facts(
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        names=_alternative_names(found),
        user=next(iter(_values(found, NameOID.COMMON_NAME)), ""),
        groups=tuple(_values(found, NameOID.ORGANIZATION_NAME)),
    )


def belong_together(pair: Pair) -> bool:
    """Tell whether both can be read and the certificate is of this key."""
    try:
        return _certificate(pair.certificate).public_key() == _private(pair.key).public_key()
    except InvalidInput:
        return False


def is_key(key: bytes) -> bool:
    """Tell whether this is a private key as `new_key` makes it."""
    try:
        _private(key)
    except InvalidInput:
        return False
    return True


def is_issued_by(certificate: bytes, ca: bytes) -> bool:
    """Tell whether a CA signed a certificate."""
    try:
        _certificate(certificate).verify_directly_issued_by(_certificate(ca))
    except (InvalidInput, InvalidSignature, ValueError, TypeError):
        return False
    return True


def fingerprint(certificate: bytes) -> str:
    """Give the SHA-256 fingerprint as people compare it: colons between upper-case bytes.

    Raises:
        InvalidInput: it is no certificate.
    """
    return _certificate(certificate).fingerprint(hashes.SHA256()).hex(":").upper()


def _issue_named(
    ca: Pair, key: bytes, names: Iterable[str], usages: Sequence[x509.ObjectIdentifier], *, now: datetime
) -> bytes:
    builder = _leaf(ca, key, _name(common="atoll-hub", organizations=()), *usages, now=now)
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in sorted(names)])
    return _pem(builder.add_extension(alternatives, critical=False).sign(_private(ca.key), hashes.SHA256()))


def _leaf(
    ca: Pair, key: bytes, subject: x509.Name, *usages: x509.ObjectIdentifier, now: datetime
) -> x509.CertificateBuilder:
    """Begin a certificate that is no CA; it ends with its CA at the latest."""
    issuer, public = _certificate(ca.certificate), _private(key).public_key()
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    until = min(now + LEAF_LIFETIME, issuer.not_valid_after_utc)
    return (
        _builder(subject, issuer.subject, public, (now - CLOCK_SKEW, until))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str, organizations: Iterable[str]) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _alternative_names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(str(name.value) for name in names)


def _values(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(kind)]


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise InvalidInput("is no certificate in PEM form") from error


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise InvalidInput("is no private key in PEM form without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidInput("is no key on an elliptic curve")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
