"""Atoll's long-lived processes: `hub serve`, `agent`, `gateway run`, `sink`, `mover`, `sandbox serve`.

Each command turns options into that room's settings, sets up logs and signals, and runs the room's main.
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from atoll import __version__
from atoll.cli import hub_credentials
from atoll.cli.groups import Noun
from atoll.cli.listings import gateway

if TYPE_CHECKING:
    from atoll.federation.bus.membership import Membership

hub = typer.Typer(cls=Noun, no_args_is_help=True, help="The hub's own process.")

NatsUrl = Annotated[str, typer.Option("--nats", envvar="ATOLL_NATS", metavar="URL", help="NATS server.")]
OpenNats = Annotated[
    str, typer.Option("--nats", envvar="ATOLL_NATS", metavar="URL", help="A NATS server that asks for no credentials.")
]
CredentialsFolder = Annotated[
    Path | None, typer.Option("--credentials", metavar="FOLDER", help="Credentials of this process for NATS.")
]
HubUrl = Annotated[str, typer.Option("--hub", metavar="URL", help="Hub to enrol with, at the first start.")]
HubCa = Annotated[Path | None, typer.Option("--hub-ca", metavar="FILE", help="CA of the hub's certificate.")]
TokenFile = Annotated[
    Path | None, typer.Option("--enrolment-token-file", metavar="FILE", help="One-time token, for the first start.")
]
ConnectTo = Annotated[
    list[str] | None,
    typer.Option(
        "--connect-to",
        envvar="ATOLL_CONNECT_TO",
        metavar="HOST:PORT=HOST:PORT",
        help="Dial the second address where the first is named, as through a relay; repeatable.",
    ),
]
StateDir = Annotated[Path, typer.Option("--state-dir", metavar="FOLDER", help="Folder of this process alone.")]
LogLevel = Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")]
ClusterName = Annotated[str, typer.Option("--cluster", help="Cluster that this process belongs to.")]
NamespaceName = Annotated[str, typer.Option("--namespace", "-n", help="Namespace that it serves.")]
Root = Annotated[Path, typer.Option("--root", metavar="FOLDER", help="Mount point of the namespace's datasets.")]
BrokerUsername = Annotated[
    str | None,
    typer.Option("--broker-username", envvar="ATOLL_BROKER_USERNAME", help="Who the gateway is to its broker."),
]
BrokerPasswordFile = Annotated[
    Path | None, typer.Option("--broker-password-file", metavar="FILE", help="File with the password for the broker.")
]
BrokerCa = Annotated[
    Path | None,
    typer.Option("--broker-ca", metavar="FILE", help="CA of the broker's certificate; the system's if unset."),
]
BrokerCertificate = Annotated[
    Path | None, typer.Option("--broker-certificate", metavar="FILE", help="Client certificate to show to the broker.")
]
BrokerKey = Annotated[
    Path | None, typer.Option("--broker-key", metavar="FILE", help="Its key, unless it is in the same file.")
]
FilesRoots = Annotated[
    list[str] | None,
    typer.Option(
        "--files-root",
        metavar="[NAME=]DIR",
        help="A folder that Streams may take files from, whatever the hub says; repeatable. Named by its last part.",
    ),
]
ReceiverName = Annotated[
    Literal["paho", "fast"],
    typer.Option("--receiver", help="paho: the Eclipse project's client; fast: Atoll's own, at a tenth of its CPU."),
]

HeartbeatTimeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=0.5, help="How long a member may be silent and count as there.")
]
RunLease = Annotated[
    float, typer.Option(metavar="SECONDS", help="How long a run of lossPolicy Failover goes on unheard.")
]
QueueHalfLife = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, help="After which what a queue held counts half against it.")
]
DataImage = Annotated[str, typer.Option(metavar="IMAGE", help="Image of the sink and mover containers.")]
AccountsKeep = Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long it is kept what runs took.")]
FinishedKeep = Annotated[
    float, typer.Option(metavar="SECONDS", min=0, help="How long finished Jobs and Transfers stay; 0: for ever.")
]
FinishedCount = Annotated[
    int, typer.Option(metavar="N", min=0, help="How many finished ones of each kind stay; 0: all.")
]
NatsReplicas = Annotated[
    int, typer.Option(min=1, max=5, help="Servers of a NATS cluster that keep each stream: 3 of three or more.")
]

NatsWait = Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for NATS at the start.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    hub.command()(hub_credentials.credentials)
    app.add_typer(hub, name="hub")
    app.command()(agent)
    app.command()(sink)
    app.command()(mover)


@hub.command()
def serve(  # noqa: PLR0913, PLR0917 - an option of a command line is a parameter to typer
    nats: NatsUrl,
    state_dir: StateDir,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8700,
    member_nats: Annotated[str, typer.Option(metavar="URL", help="NATS as the clusters reach it.")] = "",
    nats_keys: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keys of NATS's accounts; without, NATS must have none.")
    ] = None,
    nats_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA of NATS's certificate.")] = None,
    nats_replicas: NatsReplicas = 1,
    nats_wait: NatsWait = 300.0,
    data_command: Annotated[str, typer.Option(help="Program of the sink and mover containers.")] = "atoll",
    data_image: DataImage = f"atoll:{__version__}",
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate of the API, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None,
    client_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA of the clients' certificates.")] = None,
    oidc_issuer: Annotated[str, typer.Option(metavar="URL", help="Identity provider whose tokens are taken.")] = "",
    oidc_audience: Annotated[str, typer.Option(metavar="ID", help="Client id for which they are made.")] = "",
    oidc_jwks: Annotated[str, typer.Option(metavar="URL|FILE", help="Its keys; default: where it says they are.")] = "",
    oidc_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA of its own certificate.")] = None,
    oidc_username_claim: Annotated[str, typer.Option(help="Claim that names the user: oidc:USER.")] = "sub",
    oidc_groups_claim: Annotated[str, typer.Option(help="Claim that names the groups: oidc:GROUP.")] = "groups",
    oidc_admins: Annotated[str, typer.Option(metavar="GROUP", help="Group whose members are admins.")] = "",
    insecure_http: Annotated[bool, typer.Option("--insecure-http", help="No TLS: a proxy ends it before us.")] = False,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Let everybody on this machine in.")] = False,
    heartbeat_timeout: HeartbeatTimeout = 30.0,
    run_lease: RunLease = 60.0,
    queue_half_life: QueueHalfLife = 86_400.0,
    accounts_keep: AccountsKeep = 400 * 86_400.0,
    finished_keep: FinishedKeep = 30 * 86_400.0,
    finished_count: FinishedCount = 10_000,
    log_level: LogLevel = "info",
) -> None:
    """Serve the API, schedule, reconcile.

    \b
    Example:
      atoll hub serve --nats nats://127.0.0.1:4222 --state-dir /var/lib/atoll/hub \\
        --tls-cert hub.crt --tls-key hub.key --client-ca ca.crt
    """
    from atoll.hub import main
    from atoll.hub.settings import HubSettings, nats_files, oidc_settings, tls_files

    settings = HubSettings(
        nats_url=nats, state_dir=state_dir, host=host, port=port, member_nats_url=member_nats,
        data_command=tuple(shlex.split(data_command)), data_image=data_image, log_level=log_level,
        heartbeat_timeout_seconds=heartbeat_timeout, run_lease_seconds=run_lease, nats=nats_files(nats_keys, nats_ca),
        queue_half_life_seconds=queue_half_life, nats_replicas=nats_replicas, accounts_keep_seconds=accounts_keep,
        nats_wait_seconds=nats_wait,
        finished_keep_seconds=finished_keep, finished_keep_count=finished_count,
        tls=tls_files(tls_cert, tls_key, client_ca=client_ca), insecure_http=insecure_http, no_auth=no_auth,
        oidc=oidc_settings(
            oidc_issuer, oidc_audience, keys=oidc_jwks, ca=oidc_ca,
            username_claim=oidc_username_claim, groups_claim=oidc_groups_claim, admins=oidc_admins,
        ),
    )  # fmt: skip
    _run(main.run(settings), log_level)


def agent(  # noqa: PLR0913, PLR0917 - an option of a command line is a parameter to typer
    cluster: ClusterName,
    state_dir: StateDir,
    nats: OpenNats = "",
    hub: HubUrl = "",
    hub_ca: HubCa = None,
    enrolment_token_file: TokenFile = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="How to reach the API server; default: as a pod.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    cilium_socket: Annotated[Path | None, typer.Option(help="The Cilium agent's socket.")] = None,
    cilium_exec: Annotated[
        bool, typer.Option("--cilium-exec", help="Ask the Cilium of all nodes by commands in its pods (pods/exec).")
    ] = False,
    job_exec: Annotated[
        bool, typer.Option("--job-exec", help="Let people run commands in the pods of their runs (pods/exec).")
    ] = False,
    observe_only: Annotated[
        bool, typer.Option("--observe-only", help="Touch no network policy; report what differs from a set.")
    ] = False,
    connect_to: ConnectTo = None,
    heartbeat_seconds: Annotated[float, typer.Option(min=0.1, help="How often the hub hears from it.")] = 10.0,
    log_level: LogLevel = "info",
) -> None:
    """Run the agent of one cluster.

    It applies what the hub wants and reports what is. At its first start it enrols with the hub by a one-time token
    (see 'atoll cluster join') and keeps its key and its credentials in its state folder; later starts need no token.

    \b
    Example:
      atoll agent --cluster onprem-gpu --hub https://hub:8700 --hub-ca ca.crt \\
        --enrolment-token-file token --state-dir /var/lib/atoll --kubeconfig ~/.kube/config
    """
    from atoll.edge.enrolment import EnrolmentSettings
    from atoll.edge.member import main
    from atoll.edge.member.settings import MemberSettings
    from atoll.federation.bus.routes import Routes

    enrolment = EnrolmentSettings(nats, hub, hub_ca, enrolment_token_file, Routes.parse(connect_to or ()))
    settings = MemberSettings(
        cluster=cluster, enrolment=enrolment, kubeconfig=kubeconfig, context=context, state_dir=state_dir,
        cilium_socket=cilium_socket, cilium_exec=cilium_exec, job_exec=job_exec, heartbeat_seconds=heartbeat_seconds,
        observe_only=observe_only,
    )  # fmt: skip
    _run(main.run(settings), log_level)


@gateway.command("run")
def gateway_run(  # noqa: PLR0913, PLR0917 - an option of a command line is a parameter to typer
    name: Annotated[str, typer.Option("--gateway", help="Name of the Gateway that this process is.")],
    state_dir: StateDir,
    nats: OpenNats = "",
    hub: HubUrl = "",
    hub_ca: HubCa = None,
    enrolment_token_file: TokenFile = None,
    broker: Annotated[str | None, typer.Option(metavar="URL", help="MQTT broker, unless the Gateway says it.")] = None,
    broker_username: BrokerUsername = None,
    broker_password_file: BrokerPasswordFile = None,
    broker_ca: BrokerCa = None,
    broker_certificate: BrokerCertificate = None,
    broker_key: BrokerKey = None,
    receiver: ReceiverName = "paho",
    files_root: FilesRoots = None,
    connect_to: ConnectTo = None,
    heartbeat_seconds: Annotated[float, typer.Option(min=0.1, help="How often the hub hears from it.")] = 2.0,
    log_level: LogLevel = "info",
) -> None:
    """Run the agent of one lab: take MQTT messages and files of instruments, keep them safe, forward them.

    At its first start it enrols with the hub by a one-time token (see 'atoll gateway enroll').

    \b
    Example:
      atoll gateway run --gateway lab-a --hub https://hub:8700 --hub-ca ca.crt \\
        --enrolment-token-file token --state-dir /var/lib/atoll --broker mqtt://localhost:1883

    The broker's password is read from a file, or from ATOLL_BROKER_PASSWORD.
    """
    import os

    from atoll.edge.enrolment import EnrolmentSettings
    from atoll.edge.gateway import main
    from atoll.edge.gateway.file_source.roots import Roots
    from atoll.edge.gateway.mqtt.settings import BrokerSettings
    from atoll.edge.gateway.settings import GatewaySettings
    from atoll.federation.bus.routes import Routes

    enrolment = EnrolmentSettings(nats, hub, hub_ca, enrolment_token_file, Routes.parse(connect_to or ()))
    broker_settings = BrokerSettings(
        broker, broker_username, broker_password_file, os.environ.get("ATOLL_BROKER_PASSWORD"),
        broker_ca, broker_certificate, broker_key, receiver,
    )  # fmt: skip
    settings = GatewaySettings(
        gateway=name, enrolment=enrolment, state_dir=state_dir,
        broker=broker_settings, files=Roots.parse(files_root or ()), heartbeat_seconds=heartbeat_seconds,
    )  # fmt: skip
    _run(main.run(settings), log_level)


def sink(
    cluster: ClusterName,
    namespace: NamespaceName,
    root: Root,
    nats: OpenNats = "",
    credentials: CredentialsFolder = None,
    connect_to: ConnectTo = None,
    log_level: LogLevel = "info",
) -> None:
    """Write one namespace's streams to files; runs inside a cluster.

    \b
    Example:
      atoll sink --cluster onprem-gpu --namespace seismology \\
        --credentials /credentials --root /datasets
    """
    from atoll.edge.sink import main
    from atoll.edge.sink.settings import SinkSettings

    member = _data_member(cluster, namespace, nats, credentials=credentials, connect_to=connect_to)
    _run(main.run(SinkSettings(cluster=cluster, namespace=namespace, membership=member, root=root)), log_level)


def mover(
    cluster: ClusterName,
    namespace: NamespaceName,
    root: Root,
    nats: OpenNats = "",
    credentials: CredentialsFolder = None,
    connect_to: ConnectTo = None,
    log_level: LogLevel = "info",
) -> None:
    """Copy one namespace's datasets between clusters; runs inside one.

    \b
    Example:
      atoll mover --cluster onprem-gpu --namespace seismology \\
        --credentials /credentials --root /datasets
    """
    from atoll.edge.mover import main
    from atoll.edge.mover.settings import MoverSettings

    member = _data_member(cluster, namespace, nats, credentials=credentials, connect_to=connect_to)
    _run(main.run(MoverSettings(cluster=cluster, namespace=namespace, membership=member, root=root)), log_level)


def _data_member(
    cluster: str, namespace: str, nats: str, *, credentials: CredentialsFolder, connect_to: ConnectTo
) -> "Membership":
    """Read as whom a data service of one namespace comes to NATS, and by which way."""
    from atoll.federation.bus.membership import membership
    from atoll.federation.bus.permissions import Identity
    from atoll.federation.bus.routes import Routes

    way = Routes.parse(connect_to or ())
    return membership(nats, credentials, Identity.of_data(cluster, namespace), routes=way)


def _run(main: Any, log_level: str) -> None:
    from atoll.cli.logs import configure_logging
    from atoll.local.signals import run_until_signalled

    configure_logging(log_level)
    run_until_signalled(main)
