"""The way to the hub: is it there, does its certificate hold, are clock and version like ours, who are we to it.

Speaks to the hub as any command does; looks at the TLS of the connection by itself. Changes nothing.
"""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from atoll import __version__
from atoll.cli.api import Api, Json
from atoll.cli.checkup.findings import Finding, clock, expiry, note, ok, problem, warning
from atoll.federation.errors import AtollError, Forbidden, NotFound
from atoll.local import certificates
from atoll.local.credentials import Credentials, tls_context
from atoll.local.kubeconfig import Context

_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_CERTIFICATE_WARNING, _CA_WARNING, _TOKEN_WARNING = timedelta(days=30), timedelta(days=180), timedelta(days=7)
_CONNECT_SECONDS = 5.0
# A Date header is told to the second, and made anew once a second.
_DATE_SECONDS = 1.0
ROUGHLY = timedelta(seconds=2 * _DATE_SECONDS)
"""How long an exact answer may take and still say more of the hub's clock than a Date header."""


def examine(api: Api, context: Context, *, now: datetime) -> Iterator[Finding]:
    """Look at everything between us and the hub, whatever our role is.

    Raises:
        AtollError: the hub cannot be reached, or does not let us in; nothing more can be seen.
    """
    dated, began, ended = api.date("/version")
    version = str(api.get("/version").get("gitVersion", ""))
    yield ok("hub/reachable", f"{api.server} answers in {(ended - began).total_seconds() * 1000:.0f} ms")
    yield from _version(version)
    yield from _tls(api.server, context.credentials, now=now)
    yield from _ourselves(api, context.credentials, now=now)
    # The date was cut to whole seconds: it lies behind by half of one on average.
    dated += timedelta(seconds=_DATE_SECONDS / 2)
    yield hub_clock(dated, (began, ended), cut_seconds=_DATE_SECONDS)


def hub_clock(dated: datetime, between: tuple[datetime, datetime], *, cut_seconds: float = 0.0) -> Finding:
    """Judge the hub's clock by what it dated between two instants of ours; half of their distance may be wrong."""
    began, ended = between
    half = (ended - began) / 2
    ahead = (dated - (began + half)).total_seconds()
    return clock("hub/clock", "the hub's clock", ahead, within_seconds=cut_seconds + half.total_seconds())


def _version(git_version: str) -> Iterator[Finding]:
    _, _, version = git_version.partition("+atoll-")
    if not version:
        yield warning("hub/version", f"it says to be {git_version!r}", "is this a hub of Atoll? atoll context list")
    elif version == __version__:
        yield ok("hub/version", f"{version}, as this command line")
    else:
        older, newer = sorted((version, __version__), key=version_key)
        which = "the hub" if version == older else "this command line"
        text = f"the hub is {version}, this command line {__version__}"
        yield warning("hub/version", text, f"bring {which} to {newer}")


def version_key(version: str) -> tuple[int, ...]:
    """Order versions; what is no number counts as 0."""
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split("."))


def _tls(server: str, credentials: Credentials, *, now: datetime) -> Iterator[Finding]:
    address = urlsplit(server)
    if address.scheme != "https":
        remedy = "serve it with --tls-cert and --tls-key, or let a proxy end TLS before it"
        yield warning("hub/tls", f"{server} has no TLS", remedy)
        return
    found = _certificate_of(address.hostname or "", address.port or 443, credentials)
    remedy = "who runs the hub renews it ('atoll up' does so for a hub of this machine)"
    yield expiry("hub/tls", "its certificate", found.not_after, now=now, warn=_CERTIFICATE_WARNING, remedy=remedy)
    if credentials.ca:
        ends_at = certificates.read(credentials.ca).not_after
        remedy = "plan for a new CA: every client and member has to be told of it"
        yield expiry("hub/ca", "the CA that we trust", ends_at, now=now, warn=_CA_WARNING, remedy=remedy)


def _certificate_of(host: str, port: int, credentials: Credentials) -> certificates.Facts:
    context = tls_context(credentials)
    with (
        socket.create_connection((host, port), _CONNECT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        return certificates.read(ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"").encode())


def _ourselves(api: Api, credentials: Credentials, *, now: datetime) -> Iterator[Finding]:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    user: Json = api.create(_REVIEW, review).get("status", {}).get("userInfo", {})
    yield ok("hub/user", f"we are {user.get('username', '')}")
    if credentials.certificate:
        ends_at = certificates.read(credentials.certificate).not_after
        remedy = "'atoll up' renews that of the hub on this machine; else atoll login with a token"
        yield expiry("hub/credentials", "our certificate", ends_at, now=now, warn=_CERTIFICATE_WARNING, remedy=remedy)
    elif credentials.token:
        yield _token(api, credentials.token, now=now)


def _token(api: Api, token: str, *, now: datetime) -> Finding:
    """Find out how long our own token is good; only an Admin may see that of Atoll's tokens."""
    ident = token.split("_")[1] if token.count("_") >= 2 else ""
    try:
        items = api.get("/access/tokens").get("items", [])
    except (Forbidden, NotFound):
        return note("hub/credentials", "our token is good now; until when, an Admin sees: atoll token list")
    ends = next((str(each["expiresAt"]) for each in items if each.get("id") == ident and each.get("expiresAt")), "")
    if not ends:
        return ok("hub/credentials", "our token is good")
    ends_at = datetime.fromisoformat(ends).astimezone(UTC)
    remedy = "ask an Admin for a new one: atoll token issue"
    return expiry("hub/credentials", "our token", ends_at, now=now, warn=_TOKEN_WARNING, remedy=remedy)


def unreachable(error: AtollError, *, was_named: bool) -> Finding:
    """Say that nothing can be seen of a hub. None that was asked for is no problem: a machine may have none."""
    message, _, remedy = str(error).partition(": ")
    if not was_named:
        return note("hub/reachable", message, remedy or "start one with 'atoll up', or name one with --server")
    return problem("hub/reachable", message, remedy or "atoll context list shows those that are known")
