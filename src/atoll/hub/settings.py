"""What a hub is told when it starts. Owns the values, and which of them contradict each other; the command line fills
them in.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll import __version__
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.budget import MOST_PERIOD_DAYS
from atoll.policies.remotes.reach import DEFAULT_REACH, Reach

_LEAST_LEASE_SECONDS = 4.0
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class TlsFiles:
    """Where the certificate of the server is, its key, and the CA of its clients' certificates; all PEM."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True)
class OidcSettings:
    """Whose ID tokens are taken. `keys` is a URL or a file of a JWK set; empty: what the issuer announces."""

    issuer: str
    audience: str
    keys: str = ""
    ca: Path | None = None
    username_claim: str = "sub"
    groups_claim: str = "groups"
    # A group of the provider whose members are admins: without client certificates nobody could bind the first role.
    admins: str = ""


@dataclass(frozen=True)
class NatsFiles:
    """The folder with the keys of NATS's operator and accounts, and the CA of its certificate (None: the system's)."""

    keys: Path
    ca: Path | None = None


@dataclass(frozen=True)
class HubSettings:
    """Settings of one hub process.

    `member_nats_url` is where sinks and movers inside the clusters dial; it differs from `nats_url` when the hub sits
    beside its NATS server. `port` 0 lets the system choose.
    """

    nats_url: str
    state_dir: Path
    # Without these NATS has no accounts: whoever reaches it may do everything.
    nats: NatsFiles | None = None
    # How long a hub that starts waits until NATS answers and can keep something. Shorter than servers take after a
    # power cut to elect leaders for all of their streams, and the hub ends before there is anything to lead; a
    # Deployment starts it again in any case, so it need not wait for ever.
    nats_wait_seconds: float = 300.0
    # How many servers keep each stream: 3 of a NATS cluster. More than the cluster has, and nothing can be stored.
    nats_replicas: int = 1
    host: str = "127.0.0.1"
    port: int = 8700
    member_nats_url: str = ""
    # Program of the sink and mover containers, and the image that holds it (the sandbox runs the program directly).
    data_command: tuple[str, ...] = ("atoll",)
    data_image: str = f"atoll:{__version__}"
    # Three missed heartbeats of 10 s. Shorter, and a busy agent looks lost; longer, and placement trusts the dead.
    heartbeat_timeout_seconds: float = 30.0
    # A predecessor that was killed holds the lease this long; below 2 s a slow fsync of NATS loses it.
    lease_seconds: float = 3.0
    # Readings that NATS keeps per gateway. NATS sets this much of its disk aside at once; with less, a gateway's own
    # outbox has to hold more of what waits for a cluster that is away.
    lab_log_bytes: int = 4_000_000_000
    # How long a filled log keeps the envelopes of a deleted Stream. Shorter than a person takes to see a mistake and
    # apply the Stream again, and they are lost to it; longer, and they hold up the gateway's other Streams.
    orphan_keep_seconds: float = 600.0
    # How long a run of lossPolicy Failover goes on unheard, and what is waited beyond its lease and its pods' grace
    # before it is placed again (controllers/fence.py). A shorter lease, and a link that is down for a moment costs
    # work; a shorter margin, and a Job controller that is slow for a moment lets two attempts meet.
    run_lease_seconds: float = 60.0
    run_lease_margin_seconds: float = 10.0
    # What a queue held this long ago counts half against it. Shorter: who filled the federation overnight is even with
    # all others in the morning. Longer: a burst is held against a queue for weeks (Slurm's default is seven days).
    queue_half_life_seconds: float = 86_400.0
    event_retention_seconds: float = 3600.0
    # Finished Jobs (with their Runs) and Transfers that stay, of each kind, and for how long; 0 keeps them all. More,
    # and hubs and clients hold in memory what nobody reads any more; accounts keep what was spent (docs/accounting.md).
    finished_keep_count: int = 10_000
    finished_keep_seconds: float = 30 * 86_400.0
    # Audit records go when they are this old, or when this much is full: of half a kilobyte each, two million.
    audit_keep_seconds: float = 90 * 86_400.0
    audit_bytes: int = 1_000_000_000
    # Account records, and the sums of their days, go when they are this old; records also when this much is full: of
    # half a kilobyte each, four million. At least as long as the longest period of a budget (federation/resources).
    accounts_keep_seconds: float = 400 * 86_400.0
    accounts_bytes: int = 2_000_000_000
    log_level: str = "info"
    # Without TLS the hub serves only if told that somebody else ends it before; without authentication, on loopback.
    tls: TlsFiles | None = None
    insecure_http: bool = False
    no_auth: bool = False
    oidc: OidcSettings | None = None
    # Where the repositories of policy sets may be. By default all but loopback, link-local and their like.
    git_reach: Reach = DEFAULT_REACH

    def check(self) -> None:
        """Refuse what would expose the hub or cannot work.

        Raises:
            InvalidInput: each problem names the options to change.
        """
        problems = (*_exposures(self), *_contradictions(self))
        if problems:
            raise InvalidInput("; ".join(problems))

    @property
    def nats_url_for_members(self) -> str:
        """Where members dial; the hub's own URL unless told otherwise."""
        return self.member_nats_url or self.nats_url


def nats_files(keys: Path | None, ca: Path | None) -> NatsFiles | None:
    """Put the options of NATS together; None if none is given: NATS has no accounts then.

    Raises:
        InvalidInput: one is missing.
    """
    if keys is None and ca is not None:
        raise InvalidInput("--nats-ca needs --nats-keys: a NATS with a certificate has accounts, too")
    return NatsFiles(keys, ca) if keys is not None else None


def tls_files(certificate: Path | None, key: Path | None, *, client_ca: Path | None) -> TlsFiles | None:
    """Put the options of TLS together; None if none is given.

    Raises:
        InvalidInput: one is missing.
    """
    if certificate is not None and key is not None:
        return TlsFiles(certificate, key, client_ca)
    if certificate is None and key is None and client_ca is None:
        return None
    raise InvalidInput("TLS needs both --tls-cert and --tls-key, and --client-ca needs TLS")


def oidc_settings(issuer: str, audience: str, **others: Any) -> OidcSettings | None:
    """Put the options of OIDC together; None if none is given.

    Args:
        others: the other fields of OidcSettings.

    Raises:
        InvalidInput: one is missing.
    """
    if issuer and audience:
        return OidcSettings(issuer, audience, **others)
    if not issuer and not audience and not others.get("keys"):
        return None
    raise InvalidInput("OIDC needs both --oidc-issuer and --oidc-audience, whatever else is given")


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _contradictions(settings: HubSettings) -> Iterator[str]:
    if settings.accounts_keep_seconds < MOST_PERIOD_DAYS * _DAY_SECONDS:
        yield (
            f"--accounts-keep is too short: budgets have periods of up to {MOST_PERIOD_DAYS} days, and what was spent "
            f"in one must be known; give at least {MOST_PERIOD_DAYS * _DAY_SECONDS:.0f} seconds"
        )
    # Job deadlines are whole seconds, and a heartbeat comes every ten: less than this is over before it is renewed.
    least = max(_LEAST_LEASE_SECONDS, settings.heartbeat_timeout_seconds)
    if settings.run_lease_seconds < least:
        yield (
            f"--run-lease {settings.run_lease_seconds:g} is too short: a run would be given up before its cluster "
            f"counts as unreachable; give at least {least:g} seconds"
        )


def _exposures(settings: HubSettings) -> Iterator[str]:
    if settings.tls is None and not settings.insecure_http:
        yield (
            "the hub has no certificate: give --tls-cert and --tls-key, "
            "or --insecure-http if a proxy before it ends the TLS of its clients"
        )
    if settings.tls is not None and settings.insecure_http:
        yield "--insecure-http contradicts --tls-cert: leave one out"
    if not settings.no_auth:
        return
    if not is_loopback(settings.host):
        yield (
            f"--no-auth on {settings.host} would let everybody in who reaches it: "
            "listen on 127.0.0.1, or leave --no-auth out"
        )
    if settings.oidc is not None or (settings.tls is not None and settings.tls.client_ca is not None):
        yield "--no-auth contradicts --oidc-issuer and --client-ca: leave it out, or them"
