"""`atoll hub credentials`: the keys and certificates of a hub that will run elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where they are kept; yours, and nobody else's.")]
HubName = Annotated[
    list[str] | None,
    typer.Option("--hub-name", metavar="NAME", help="DNS name or address of the hub from outside; repeatable."),
]
NatsName = Annotated[
    list[str] | None,
    typer.Option("--nats-name", metavar="NAME", help="DNS name or address of NATS from outside; repeatable."),
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace in which hub and NATS will run.")]
HubPort = Annotated[int, typer.Option("--hub-port", min=1, max=65535, help="Port of the hub from outside.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be made; change nothing.")]


def credentials(
    folder: Folder,
    hub_name: HubName = None,
    nats_name: NatsName = None,
    namespace: Namespace = "atoll",
    hub_port: HubPort = 8700,
    dry_run: DryRun = False,
) -> None:
    """Make the keys and certificates that a hub and its NATS cluster need, and Secrets of them for kubectl.

    The folder gets a CA, certificates for the hub, for NATS and for an administrator (with a kubeconfig), the keys of
    NATS's accounts, and a kustomization. Given again it renews certificates that end within 30 days or lack a name; the
    CA and the keys of NATS stay as they are. Keep the folder safe and out of Git: who has it is the federation.

    \b
    Example:
      atoll hub credentials ~/atoll-hub --hub-name hub.example.org --nats-name nats.example.org
      kubectl apply -k ~/atoll-hub && kubectl apply -k deploy/overlays/cloud
    """
    from datetime import UTC, datetime

    from atoll.cli.output import hint, say
    from atoll.installation.hub import Addresses
    from atoll.local import hub_credentials

    wanted = Addresses(tuple(hub_name or ()), tuple(nats_name or ()), namespace)
    work = hub_credentials.foresee if dry_run else hub_credentials.ensure
    changed = work(folder.expanduser(), wanted, port=hub_port, now=datetime.now(UTC))
    for name in changed:
        say(f"{folder / name} written{' (dry run)' if dry_run else ''}")
    if not changed:
        hint(f"{folder} has everything, and nothing in it ends soon")
    elif not dry_run:
        hint(f"next: kubectl apply -k {folder}; pods read new certificates when they start again")
