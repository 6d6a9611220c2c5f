"""`atoll apply`: manifests to the hub, by server-side apply."""

from typing import Annotated

import typer

from atoll.cli.options import DryRun, Namespace, Server

Files = Annotated[list[str], typer.Option("--filename", "-f", metavar="FILE", help="File, folder, or - for stdin.")]
Recursive = Annotated[bool, typer.Option("--recursive", "-R", help="Folders with all that is below them.")]
Force = Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that others manage.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(apply)


def apply(
    filename: Files,
    recursive: Recursive = False,
    namespace: Namespace = "default",
    force_conflicts: Force = False,
    dry_run: DryRun = False,
    server: Server = None,
) -> None:
    """Create objects, or bring them to what the manifests say. Nothing is sent if any of them is wrong.

    \b
    Examples:
      atoll apply -f examples/
      atoll apply -f - < job.yaml --dry-run
    """
    from atoll.cli import applying, manifests
    from atoll.cli.hub import connect
    from atoll.cli.output import say

    found = manifests.load(filename, recursive=recursive)
    with connect(server) as api:
        for manifest in found:
            say(applying.apply(api, manifest, namespace=namespace, dry_run=dry_run, force=force_conflicts))
