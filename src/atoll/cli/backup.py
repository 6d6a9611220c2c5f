"""`atoll backup` and `atoll restore`: a hub's state in one file, and a hub made of it."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import DryRun, HomeFolder

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup; it holds secrets.")]
Nats = Annotated[
    str, typer.Option("--nats", metavar="URL", help="Restore into this NATS instead of a home; no hub may run there.")
]
Keys = Annotated[Path | None, typer.Option("--nats-keys", metavar="FOLDER", help="Keys of that NATS's accounts.")]
Ca = Annotated[Path | None, typer.Option("--nats-ca", metavar="FILE", help="CA of that NATS's certificate.")]
Replicas = Annotated[int, typer.Option("--nats-replicas", min=1, max=5, help="Servers of it that keep each stream.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


@chooses_hub
def backup(
    file: BackupFile,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    *,
    hub: HubChoice,
) -> None:
    """Write the hub's state to a file, while the hub goes on.

    Objects, accounts, audit records, what was learned of run times, tokens and members are in it; of a hub of this
    machine also the keys and certificates of its home. Readings on their way from gateways to files are not: gateways
    keep them until they are in files. Only an Admin may do this. The file is readable by you alone: keep it so.

    \b
    Example:
      atoll backup atoll-2026-11-23.tar
    """
    from atoll.cli import backing

    backing.backup(hub, file, force=force)


def restore(
    file: BackupFile,
    home: HomeFolder = None,
    nats: Nats = "",
    nats_keys: Keys = None,
    nats_ca: Ca = None,
    nats_replicas: Replicas = 1,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the state that is there; that of a home is put aside.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Make a hub's state of a backup: in a home of this machine, which 'atoll up' then runs, or in a NATS.

    Every part is checked against its checksum before anything is written. A home or a NATS that holds a hub's state
    already is left alone, unless with --force. --dry-run checks the file and tells what is in it.

    \b
    Examples:
      atoll restore atoll-2026-11-23.tar --home /srv/atoll && atoll up --hub-only --home /srv/atoll
      atoll restore atoll-2026-11-23.tar --dry-run
      atoll restore atoll-2026-11-23.tar --nats tls://nats-0:4222 \\
        --nats-keys /keys --nats-ca /keys/ca.crt
    """
    from atoll.cli import restoring

    into = restoring.IntoNats(nats, nats_keys, nats_ca, nats_replicas) if nats else None
    restoring.restore(file, restoring.Wanted(home=home, into=into, force=force, dry_run=dry_run))
