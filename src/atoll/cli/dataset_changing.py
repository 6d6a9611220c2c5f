"""The commands of `atoll dataset` that change what there is of one: copies, pins, deletion, files that were there."""

from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import DatasetName, DatasetVersion, DryRun, Namespace

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is done, or leave it to the hub.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for changing in (replicate, pin, unpin, delete):
        app.command()(changing)
    app.command("register")(register_files)


@chooses_hub
def replicate(  # noqa: PLR0913 - an option of a command line is a parameter to typer
    name: DatasetName,
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="CLUSTER",
            help="Where to; may be given several times.",
            autocompletion=completing.of("clusters"),
        ),
    ],
    namespace: Namespace = "default",
    version: DatasetVersion = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CLUSTER",
            help="Whom to ask first; default: the home.",
            autocompletion=completing.of("clusters"),
        ),
    ] = None,
    rate: Annotated[
        str, typer.Option("--rate", metavar="BYTES", help="Most bytes a second of each copy, such as 10Mi.")
    ] = "",
    wait: Wait = True,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Copy a version to other clusters, with a bar. Exit 1 if a copy fails.

    Ctrl-C ends the bar, not the copy. For copies that are kept by rule, set spec.replicas of the Dataset.

    \b
    Examples:
      atoll dataset replicate shots.2026-11-22 -n seismology --to cloud
      atoll dataset replicate shots.2026-11-22 -n seismology --to cloud --rate 10Mi --no-wait
    """
    from atoll.cli import copying, datasets
    from atoll.cli.hub import connect

    wanted = copying.Copies(datasets.Wanted(namespace, name, version), tuple(to), source, rate, dry_run=dry_run)
    with connect(hub) as api:
        is_done = copying.replicate(api, wanted, wait=wait)
    if not is_done:
        raise typer.Exit(1)


@chooses_hub
def pin(name: DatasetName, namespace: Namespace = "default", dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Keep all of a dataset: no rule and nobody deletes of it until it is unpinned.

    \b
    Example:
      atoll dataset pin shots.2026-11-22 -n seismology
    """
    from atoll.cli import keeping
    from atoll.cli.hub import connect

    with connect(hub) as api:
        keeping.set_pinned(api, namespace, name, is_pinned=True, dry_run=dry_run)


@chooses_hub
def unpin(name: DatasetName, namespace: Namespace = "default", dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Let retention and people delete of a dataset again.

    \b
    Example:
      atoll dataset unpin shots.2026-11-22 -n seismology
    """
    from atoll.cli import keeping
    from atoll.cli.hub import connect

    with connect(hub) as api:
        keeping.set_pinned(api, namespace, name, is_pinned=False, dry_run=dry_run)


@chooses_hub
def delete(
    name: DatasetName,
    namespace: Namespace = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep_files: Annotated[
        bool, typer.Option("--keep-files", help="Leave the files on the volumes, in _kept/NAME, for people to use.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon-unreachable", help="Do not wait for clusters that are not heard.")
    ] = False,
    wait: Wait = True,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Delete a dataset: all versions everywhere, then the object. Says where it is, and asks.

    It waits for jobs that read it and for clusters that are asleep. Where a copy stays on a cluster that is not heard,
    --abandon-unreachable lets the object go; the copy is told of again when the cluster is back.

    \b
    Examples:
      atoll dataset delete shots.2026-11-22 -n seismology
      atoll dataset delete shots.2026-11-22 -n seismology --keep-files --yes
    """
    from atoll.cli import keeping
    from atoll.cli.hub import connect

    wanted = keeping.Deletion(namespace, name, keep_files=keep_files, abandon=abandon, is_sure=yes, dry_run=dry_run)
    with connect(hub) as api:
        keeping.delete(api, wanted, wait=wait)


@chooses_hub
def register_files(
    name: DatasetName,
    cluster: Annotated[
        str,
        typer.Option(
            "--cluster", metavar="CLUSTER", help="Where the files are.", autocompletion=completing.of("clusters")
        ),
    ],
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="Their folder, below the volume's own.")],
    namespace: Namespace = "default",
    wait: Wait = True,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Make files that are on a cluster's volume already the next version of a dataset.

    Each is read and hashed; then the folder moves into the version. The volume is that of the namespace,
    atoll-datasets, and the path is below its root. Of a simulated cluster it is the folder
    clusters/CLUSTER/storage/NAMESPACE/atoll-datasets in ~/.atoll (of the sandbox: in ~/.atoll/sandbox),
    which is there once the namespace has a dataset.

    \b
    Example:
      atoll dataset register archive.2019 -n seismology --cluster onprem --path imports/2019
    """
    from atoll.cli import keeping
    from atoll.cli.hub import connect

    wanted = keeping.Registration(namespace, name, cluster, path, dry_run=dry_run)
    with connect(hub) as api:
        is_done = keeping.register(api, wanted, wait=wait)
    if not is_done:
        raise typer.Exit(1)
