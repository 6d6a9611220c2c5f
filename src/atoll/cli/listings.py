"""`atoll queue list`, `gateway list` and `stream list`: nouns that one can only look at so far."""

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import (
    AllNamespaces,
    Namespace,
    Output,
    OutputFormat,
    Watch,
)

queue = typer.Typer(no_args_is_help=True, help="Queues: who may run how much.")
gateway = typer.Typer(no_args_is_help=True, help="Lab gateways: their brokers, outboxes and lag.")
stream = typer.Typer(no_args_is_help=True, help="Streams: which topics become which dataset.")


def register(app: typer.Typer) -> None:
    """Add the nouns."""
    app.add_typer(queue, name="queue")
    app.add_typer(gateway, name="gateway")
    app.add_typer(stream, name="stream")


@queue.command("list")
@chooses_hub
def queue_list(output: OutputFormat = Output.TABLE, watch: Watch = False, *, hub: HubChoice) -> None:
    """Show the queues with their pending and running jobs.

    \b
    Example:
      atoll queue list
    """
    show_all("queues", output=output, watch=watch, hub=hub)


@gateway.command("list")
@chooses_hub
def gateway_list(output: OutputFormat = Output.TABLE, watch: Watch = False, *, hub: HubChoice) -> None:
    """Show the lab gateways with their outbox and lag.

    \b
    Example:
      atoll gateway list -w
    """
    show_all("gateways", output=output, watch=watch, hub=hub)


@stream.command("list")
@chooses_hub
def stream_list(
    namespace: Namespace = "default",
    all_namespaces: AllNamespaces = False,
    output: OutputFormat = Output.TABLE,
    watch: Watch = False,
    *,
    hub: HubChoice,
) -> None:
    """Show the streams with what they received and committed.

    \b
    Example:
      atoll stream list -A
    """
    show_all("streams", "" if all_namespaces else namespace, output=output, watch=watch, hub=hub)


def show_all(kind: str, namespace: str = "", *, output: Output, watch: bool, hub: HubChoice) -> None:
    """Print all objects of a kind, then their changes if asked."""
    from atoll.cli import listing
    from atoll.cli.hub import connect

    query = listing.Query.of(kind, None, namespace=namespace)
    with connect(hub) as api:
        listing.show(api, query, output, watch=watch)
