"""`atoll gateway list|status|describe|enroll|leave` and `stream list`: nouns with few verbs so far."""

from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.options import (
    AllNamespaces,
    Namespace,
    Output,
    OutputFormat,
    RecordFormat,
    RecordOutput,
    Watch,
)

gateway = typer.Typer(cls=Noun, no_args_is_help=True, help="Lab gateways: their brokers, outboxes and lag.")
stream = typer.Typer(cls=Noun, no_args_is_help=True, help="Streams: which topics become which dataset.")


GatewayName = Annotated[
    str, typer.Argument(metavar="NAME", help="The gateway.", autocompletion=completing.of("gateways"))
]


def register(app: typer.Typer) -> None:
    """Add the nouns."""
    app.add_typer(gateway, name="gateway")
    app.add_typer(stream, name="stream")


@gateway.command()
@chooses_hub
def enroll(name: GatewayName, *, hub: HubChoice) -> None:
    """Invite a lab gateway: print the one-time token and the command that runs it.

    \b
    Example:
      atoll gateway enroll lab-a
    """
    from atoll.cli.enrolling import show_gateway_invitation
    from atoll.cli.hub import connect

    with connect(hub) as api:
        show_gateway_invitation(api, name)


@gateway.command()
@chooses_hub
def leave(
    name: GatewayName,
    force: Annotated[bool, typer.Option("--force", help="Though streams name it: they get nothing any more.")] = False,
    *,
    hub: HubChoice,
) -> None:
    """Send a lab gateway away: its credentials are worthless at once, and the Gateway is deleted.

    \b
    Examples:
      atoll gateway leave lab-a
      atoll gateway leave lab-a --force
    """
    from atoll.cli.enrolling import remove_gateway
    from atoll.cli.hub import connect

    with connect(hub) as api:
        remove_gateway(api, name, force=force)


@gateway.command("list")
@chooses_hub
def gateway_list(output: OutputFormat = Output.TABLE, watch: Watch = False, *, hub: HubChoice) -> None:
    """Show the lab gateways with their outbox and lag.

    \b
    Example:
      atoll gateway list -w
    """
    show_all("gateways", output=output, watch=watch, hub=hub)


@gateway.command()
@chooses_hub
def status(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Only this gateway.", autocompletion=completing.of("gateways")),
    ] = None,
    output: RecordFormat = RecordOutput.TABLE,
    watch: Watch = False,
    *,
    hub: HubChoice,
) -> None:
    """Show what waits in gateways, how fast it comes and goes, what is shed or lost, and what is wrong.

    IN/S and OUT/S are readings per second of late; WAITING is in the outbox until a sink has it in files, LAG is how
    long the oldest of that has waited, SENT and COMMITTED are the newest readings that the hub has, and files have.

    \b
    Examples:
      atoll gateway status
      atoll gateway status lab-a -o json
      atoll gateway status lab-a --watch
    """
    from atoll.cli import gateways
    from atoll.cli.hub import connect

    with connect(hub) as api:
        gateways.show_status(api, name, output, watch=watch)


@gateway.command()
@chooses_hub
def describe(name: GatewayName, *, hub: HubChoice) -> None:
    """Show one gateway in full: its settings, its status, its conditions, its events.

    \b
    Example:
      atoll gateway describe lab-a
    """
    from atoll.cli import describing, listing
    from atoll.cli.hub import connect

    with connect(hub) as api:
        describing.describe(api, listing.Query.of("gateway", name, namespace=""))


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
