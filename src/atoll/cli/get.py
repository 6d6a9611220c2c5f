"""`atoll get`, `describe` and `delete`: any kind, by the hub's own tables."""

from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import (
    AllNamespaces,
    DryRun,
    Namespace,
    Output,
    OutputFormat,
    Selector,
    ShowManagedFields,
    Watch,
)

Kind = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        help="cluster, queue, job, run, dataset, stream, … or KIND/NAME.",
        autocompletion=completing.kinds,
    ),
]
Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="One object; all of them without it.", autocompletion=completing.of_kind),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(get)
    app.command()(describe)
    app.command()(delete)


@chooses_hub
def get(  # noqa: PLR0913 - an option of a command line is a parameter to typer
    kind: Kind,
    name: Name = None,
    namespace: Namespace = "default",
    all_namespaces: AllNamespaces = False,
    selector: Selector = "",
    output: OutputFormat = Output.TABLE,
    watch: Watch = False,
    show_managed_fields: ShowManagedFields = False,
    *,
    hub: HubChoice,
) -> None:
    """Show objects of a kind.

    \b
    Examples:
      atoll get clusters -o wide
      atoll get jobs -n seismology -w
      atoll get dataset/shots.2026-11-22 -n seismology -o yaml
    """
    from atoll.cli import listing
    from atoll.cli.hub import connect

    query = listing.Query.of(kind, name, namespace="" if all_namespaces else namespace, selector=selector)
    with connect(hub) as api:
        listing.show(api, query, output, watch=watch, show_managed_fields=show_managed_fields)


@chooses_hub
def describe(kind: Kind, name: Name = None, namespace: Namespace = "default", *, hub: HubChoice) -> None:
    """Show one object in full, with its conditions and events.

    \b
    Example:
      atoll describe cluster onprem-gpu
    """
    from atoll.cli import describing, listing
    from atoll.cli.hub import connect

    query = listing.Query.of(kind, name, namespace=namespace)
    with connect(hub) as api:
        describing.describe(api, query)


@chooses_hub
def delete(
    kind: Kind,
    name: Name = None,
    namespace: Namespace = "default",
    force: Annotated[bool, typer.Option("--force", help="A gateway, though streams name it.")] = False,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Delete one object.

    \b
    Example:
      atoll delete job picks-2026-11-22 -n seismology
    """
    from atoll.cli import enrolling, kinds, listing
    from atoll.cli.hub import connect
    from atoll.cli.output import say

    query = listing.Query.of(kind, name, namespace=namespace)
    with connect(hub) as api:
        if query.ref == kinds.atoll("Gateway") and query.name:
            enrolling.check_unused(api, query.name, force=force)
            enrolling.delete_gateway(api, query.name, force=force, dry_run=dry_run)
        else:
            api.delete(query.object_path, dry_run=dry_run)
    say(f"{query.ref.qualified}/{query.name} deleted{' (dry run)' if dry_run else ''}")
