"""`atoll apply`: manifests to the hub, by server-side apply."""

from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import DryRun, Namespace

Files = Annotated[list[str], typer.Option("--filename", "-f", metavar="FILE", help="File, folder, or - for stdin.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-R", help="Folders with all that is below them.")]
Force = Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that others manage.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(apply)


@chooses_hub
def apply(
    filename: Files,
    recursive: Recursive = False,
    namespace: Namespace = "default",
    force_conflicts: Force = False,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Create objects, or bring them to what the manifests say.

    All manifests are checked first: nothing is sent if one of them is malformed. What the hub then refuses is told
    object by object, the others are applied, and the exit code is 1.

    \b
    Examples:
      atoll apply -f examples/
      atoll apply -f - < job.yaml --dry-run
    """
    from atoll.cli import applying, manifests
    from atoll.cli.hub import connect

    found = manifests.load(filename, recursive=recursive)
    with connect(hub) as api:
        if not applying.apply_all(api, found, namespace=namespace, dry_run=dry_run, force=force_conflicts):
            raise typer.Exit(1)
