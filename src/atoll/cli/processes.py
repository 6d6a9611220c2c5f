"""Atoll's long-lived processes: `hub serve`, `agent`, `gateway run`, `sink`, `mover`.

Each command turns options into that room's settings, sets up logs and signals, and runs the room's main.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atoll.cli import gateway_run, hub_credentials, hub_serve
from atoll.cli.choosing import gathering
from atoll.cli.groups import Noun
from atoll.cli.listings import gateway
from atoll.cli.process_options import ConnectTo, Enrolling, LogLevel, OpenNats, StateDir, enrols, run

if TYPE_CHECKING:
    from atoll.federation.bus.membership import Membership

hub = typer.Typer(cls=Noun, no_args_is_help=True, help="The hub's own process.")
hub_serve.register(hub)
gateway_run.register(gateway)

ClusterName = Annotated[str, typer.Option("--cluster", help="Cluster that this process belongs to.")]
NamespaceName = Annotated[str, typer.Option("--namespace", "-n", help="Namespace that it serves.")]
Root = Annotated[Path, typer.Option("--root", metavar="FOLDER", help="Mount point of the namespace's datasets.")]


@dataclass(frozen=True)
class Coming:
    """As whom a data service of one namespace comes to NATS, and by which way."""

    nats: OpenNats = ""
    credentials: Annotated[
        Path | None, typer.Option("--credentials", metavar="FOLDER", help="Credentials of this process for NATS.")
    ] = None
    connect_to: ConnectTo = None

    def membership(self, cluster: str, namespace: str) -> "Membership":
        """Give them as the service takes them. Raises InvalidInput."""
        from atoll.federation.bus.membership import membership
        from atoll.federation.bus.permissions import Identity
        from atoll.federation.bus.routes import Routes

        way = Routes.parse(self.connect_to or ())
        return membership(self.nats, self.credentials, Identity.of_data(cluster, namespace), routes=way)


def _comes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of Coming; it gets them together as its parameter `coming`."""
    return gathering(command, "coming", Coming)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    hub.command()(hub_credentials.credentials)
    app.add_typer(hub, name="hub")
    app.command()(agent)
    app.command()(sink)
    app.command()(mover)


@enrols
def agent(  # noqa: PLR0913, PLR0917 - an option of a command line is a parameter to typer
    cluster: ClusterName,
    state_dir: StateDir,
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
    heartbeat_seconds: Annotated[float, typer.Option(min=0.1, help="How often the hub hears from it.")] = 10.0,
    log_level: LogLevel = "info",
    *,
    enrolling: Enrolling,
) -> None:
    """Run the agent of one cluster.

    It applies what the hub wants and reports what is. At its first start it enrols with the hub by a one-time token
    (see 'atoll cluster join') and keeps its key and its credentials in its state folder; later starts need no token.

    \b
    Example:
      atoll agent --cluster onprem-gpu --hub https://hub:8700 --hub-ca ca.crt \\
        --enrolment-token-file token --state-dir /var/lib/atoll --kubeconfig ~/.kube/config
    """
    from atoll.edge.member import main
    from atoll.edge.member.settings import MemberSettings

    settings = MemberSettings(
        cluster=cluster,
        enrolment=enrolling.settings(),
        kubeconfig=kubeconfig,
        context=context,
        state_dir=state_dir,
        cilium_socket=cilium_socket,
        cilium_exec=cilium_exec,
        job_exec=job_exec,
        heartbeat_seconds=heartbeat_seconds,
        observe_only=observe_only,
    )
    run(main.run(settings), log_level)


@_comes
def sink(
    cluster: ClusterName,
    namespace: NamespaceName,
    root: Root,
    log_level: LogLevel = "info",
    *,
    coming: Coming,
) -> None:
    """Write one namespace's streams to files; runs inside a cluster.

    \b
    Example:
      atoll sink --cluster onprem-gpu --namespace seismology \\
        --credentials /credentials --root /datasets
    """
    from atoll.edge.sink import main
    from atoll.edge.sink.settings import SinkSettings

    member = coming.membership(cluster, namespace)
    run(main.run(SinkSettings(cluster=cluster, namespace=namespace, membership=member, root=root)), log_level)


@_comes
def mover(
    cluster: ClusterName,
    namespace: NamespaceName,
    root: Root,
    log_level: LogLevel = "info",
    *,
    coming: Coming,
) -> None:
    """Copy one namespace's datasets between clusters; runs inside one.

    \b
    Example:
      atoll mover --cluster onprem-gpu --namespace seismology \\
        --credentials /credentials --root /datasets
    """
    from atoll.edge.mover import main
    from atoll.edge.mover.settings import MoverSettings

    member = coming.membership(cluster, namespace)
    run(main.run(MoverSettings(cluster=cluster, namespace=namespace, membership=member, root=root)), log_level)
