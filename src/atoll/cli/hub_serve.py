"""`atoll hub serve`: the hub's own process, and all that it can be told when it starts."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atoll import __version__
from atoll.cli.choosing import gathering
from atoll.cli.process_options import LogLevel, StateDir, run

if TYPE_CHECKING:
    from atoll.hub.settings import OidcSettings
    from atoll.policies.remotes.reach import Reach

NatsUrl = Annotated[str, typer.Option("--nats", envvar="ATOLL_NATS", metavar="URL", help="NATS server.")]


@dataclass(frozen=True)
class Door:
    """Where the API is served, and with which certificate."""

    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8700
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate of the API, PEM.")] = None
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None
    client_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA of the clients' certificates.")] = None
    insecure_http: Annotated[bool, typer.Option("--insecure-http", help="No TLS: a proxy ends it before us.")] = False
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Let everybody on this machine in.")] = False

    def settings(self) -> dict[str, Any]:
        """Give them as HubSettings names them. Raises InvalidInput."""
        from atoll.hub.settings import tls_files

        tls = tls_files(self.tls_cert, self.tls_key, client_ca=self.client_ca)
        return {
            "host": self.host,
            "port": self.port,
            "tls": tls,
            "insecure_http": self.insecure_http,
            "no_auth": self.no_auth,
        }


@dataclass(frozen=True)
class Nats:
    """What is to be known of NATS beside its address."""

    member_nats: Annotated[str, typer.Option(metavar="URL", help="NATS as the clusters reach it.")] = ""
    nats_keys: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keys of NATS's accounts; without, NATS must have none.")
    ] = None
    nats_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA of NATS's certificate.")] = None
    nats_replicas: Annotated[
        int, typer.Option(min=1, max=5, help="Servers of a NATS cluster that keep each stream: 3 of three or more.")
    ] = 1
    nats_wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for NATS at the start.")
    ] = 300.0

    def settings(self) -> dict[str, Any]:
        """Give them as HubSettings names them. Raises InvalidInput."""
        from atoll.hub.settings import nats_files

        return {
            "member_nats_url": self.member_nats,
            "nats": nats_files(self.nats_keys, self.nats_ca),
            "nats_replicas": self.nats_replicas,
            "nats_wait_seconds": self.nats_wait,
        }


@dataclass(frozen=True)
class Oidc:
    """Whose ID tokens are taken, and what they say of who shows them."""

    oidc_issuer: Annotated[str, typer.Option(metavar="URL", help="Identity provider whose tokens are taken.")] = ""
    oidc_audience: Annotated[str, typer.Option(metavar="ID", help="Client id for which they are made.")] = ""
    oidc_jwks: Annotated[str, typer.Option(metavar="URL|FILE", help="Its keys; default: where it says they are.")] = ""
    oidc_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA of its own certificate.")] = None
    oidc_username_claim: Annotated[str, typer.Option(help="Claim that names the user: oidc:USER.")] = "sub"
    oidc_groups_claim: Annotated[str, typer.Option(help="Claim that names the groups: oidc:GROUP.")] = "groups"
    oidc_admins: Annotated[str, typer.Option(metavar="GROUP", help="Group whose members are admins.")] = ""

    def settings(self) -> "OidcSettings | None":
        """Give them as the hub takes them. Raises InvalidInput."""
        from atoll.hub.settings import oidc_settings

        return oidc_settings(
            self.oidc_issuer,
            self.oidc_audience,
            keys=self.oidc_jwks,
            ca=self.oidc_ca,
            username_claim=self.oidc_username_claim,
            groups_claim=self.oidc_groups_claim,
            admins=self.oidc_admins,
        )


@dataclass(frozen=True)
class Spans:
    """How long things last, and how much is kept."""

    heartbeat_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.5, help="How long a member may be silent and count as there.")
    ] = 30.0
    run_lease: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long a run of lossPolicy Failover goes on unheard.")
    ] = 60.0
    queue_half_life: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="After which what a queue held counts half against it.")
    ] = 86_400.0
    accounts_keep: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long it is kept what runs took.")
    ] = 400 * 86_400.0
    finished_keep: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long finished Jobs and Transfers stay; 0: for ever.")
    ] = 30 * 86_400.0
    finished_count: Annotated[
        int, typer.Option(metavar="N", min=0, help="How many finished ones of each kind stay; 0: all.")
    ] = 10_000

    def settings(self) -> dict[str, Any]:
        """Give them as HubSettings names them."""
        return {
            "heartbeat_timeout_seconds": self.heartbeat_timeout,
            "run_lease_seconds": self.run_lease,
            "queue_half_life_seconds": self.queue_half_life,
            "accounts_keep_seconds": self.accounts_keep,
            "finished_keep_seconds": self.finished_keep,
            "finished_keep_count": self.finished_count,
        }


@dataclass(frozen=True)
class Git:
    """Where policies may be fetched from."""

    git_allow: Annotated[
        list[str] | None,
        typer.Option(
            "--git-allow",
            envvar="ATOLL_GIT_ALLOW",
            metavar="HOST|NETWORK",
            help="Fetch policies from here although it is loopback, link-local or the like; repeatable.",
        ),
    ] = None
    git_only: Annotated[
        list[str] | None,
        typer.Option(
            "--git-only",
            envvar="ATOLL_GIT_ONLY",
            metavar="HOST|NETWORK",
            help="Fetch policies from nowhere else; *.DOMAIN is every host below it; repeatable.",
        ),
    ] = None

    def reach(self) -> "Reach":
        """Give them as the hub takes them. Raises InvalidInput."""
        from atoll.policies.remotes.reach import Reach

        return Reach.parse(self.git_allow or (), self.git_only or ())


def serve(  # noqa: PLR0913 - an option of a command line is a parameter to typer
    nats: NatsUrl,
    state_dir: StateDir,
    data_command: Annotated[str, typer.Option(help="Program of the sink and mover containers.")] = "atoll",
    data_image: Annotated[
        str, typer.Option(metavar="IMAGE", help="Image of the sink and mover containers.")
    ] = f"atoll:{__version__}",
    log_level: LogLevel = "info",
    *,
    door: Door,
    more_of_nats: Nats,
    oidc: Oidc,
    spans: Spans,
    git: Git,
) -> None:
    """Serve the API, schedule, reconcile.

    \b
    Example:
      atoll hub serve --nats nats://127.0.0.1:4222 --state-dir /var/lib/atoll/hub \\
        --tls-cert hub.crt --tls-key hub.key --client-ca ca.crt
    """
    from atoll.hub import main
    from atoll.hub.settings import HubSettings

    settings = HubSettings(
        nats_url=nats,
        state_dir=state_dir,
        data_command=tuple(shlex.split(data_command)),
        data_image=data_image,
        oidc=oidc.settings(),
        git_reach=git.reach(),
        log_level=log_level,
        **(door.settings() | more_of_nats.settings() | spans.settings()),
    )
    run(main.run(settings), log_level)


def register(hub: typer.Typer) -> None:
    """Add the command; its options stand in this order."""
    command = serve
    for parameter, options in (("door", Door), ("more_of_nats", Nats), ("oidc", Oidc), ("spans", Spans), ("git", Git)):
        command = gathering(command, parameter, options)
    hub.command()(command)
