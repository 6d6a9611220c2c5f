"""`atoll queue list`, `gateway list`, `stream list` and `mesh status`: nouns that one can only look at so far."""

import typer

from atoll.cli.options import (
    AllNamespaces,
    HubHome,
    Namespace,
    ObjectFormat,
    ObjectOutput,
    Output,
    OutputFormat,
    Server,
    Watch,
)

queue = typer.Typer(no_args_is_help=True, help="Queues: who may run how much.")
gateway = typer.Typer(no_args_is_help=True, help="Lab gateways: their brokers, outboxes and lag.")
stream = typer.Typer(no_args_is_help=True, help="Streams: which topics become which dataset.")
mesh = typer.Typer(no_args_is_help=True, help="The Cluster Mesh: who reaches whom.")


def register(app: typer.Typer) -> None:
    """Add the nouns."""
    app.add_typer(queue, name="queue")
    app.add_typer(gateway, name="gateway")
    app.add_typer(stream, name="stream")
    app.add_typer(mesh, name="mesh")


@queue.command("list")
def queue_list(
    output: OutputFormat = Output.TABLE, watch: Watch = False, server: Server = None, home: HubHome = None
) -> None:
    """Show the queues with their pending and running jobs.

    \b
    Example:
      atoll queue list
    """
    show_all("queues", output=output, watch=watch, server=server, home=home)


@gateway.command("list")
def gateway_list(
    output: OutputFormat = Output.TABLE, watch: Watch = False, server: Server = None, home: HubHome = None
) -> None:
    """Show the lab gateways with their outbox and lag.

    \b
    Example:
      atoll gateway list -w
    """
    show_all("gateways", output=output, watch=watch, server=server, home=home)


@stream.command("list")
def stream_list(
    namespace: Namespace = "default",
    all_namespaces: AllNamespaces = False,
    output: OutputFormat = Output.TABLE,
    watch: Watch = False,
    server: Server = None,
    home: HubHome = None,
) -> None:
    """Show the streams with what they received and committed.

    \b
    Example:
      atoll stream list -A
    """
    show_all("streams", "" if all_namespaces else namespace, output=output, watch=watch, server=server, home=home)


@mesh.command("status")
def mesh_status(output: ObjectFormat = ObjectOutput.TABLE, server: Server = None, home: HubHome = None) -> None:
    """Show each cluster's view of every other one, and when it was last proven. Exit 3 if a link is down.

    \b
    Example:
      atoll mesh status
    """
    from atoll.cli import meshing
    from atoll.cli.hub import connect

    with connect(server, home) as api:
        whole = meshing.show(api, Output(output))
    if not whole:
        raise typer.Exit(3)


def show_all(
    kind: str, namespace: str = "", *, output: Output, watch: bool, server: str | None, home: str | None
) -> None:
    """Print all objects of a kind, then their changes if asked."""
    from atoll.cli import listing
    from atoll.cli.hub import connect

    query = listing.Query.of(kind, None, namespace=namespace)
    with connect(server, home) as api:
        listing.show(api, query, output, watch=watch)
