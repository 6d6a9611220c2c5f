"""`atoll dataset`: what there is, its files, the proof that they are what was received, and what becomes of them."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.listings import show_all
from atoll.cli.options import (
    AllNamespaces,
    DryRun,
    Namespace,
    Output,
    OutputFormat,
    RecordFormat,
    RecordOutput,
    Watch,
)

app = typer.Typer(cls=Noun, no_args_is_help=True, help="Datasets: named, versioned files with a ledger.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The dataset.", autocompletion=completing.of("datasets"))]
Version = Annotated[
    int | None, typer.Option("--version", min=1, metavar="N", help="This version; default: the newest one.")
]
AtCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="CLUSTER",
        help="This copy; default: the home's, else one that is up.",
        autocompletion=completing.of("clusters"),
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is done, or leave it to the hub.")]


@app.command("list")
@chooses_hub
def list_(
    namespace: Namespace = "default",
    all_namespaces: AllNamespaces = False,
    output: OutputFormat = Output.TABLE,
    watch: Watch = False,
    *,
    hub: HubChoice,
) -> None:
    """Show the datasets.

    \b
    Example:
      atoll dataset list -A
    """
    show_all("datasets", "" if all_namespaces else namespace, output=output, watch=watch, hub=hub)


@app.command()
@chooses_hub
def ls(
    name: Name,
    namespace: Namespace = "default",
    version: Version = None,
    versions: Annotated[bool, typer.Option("--versions", help="The versions and where they are, not files.")] = False,
    output: RecordFormat = RecordOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Show the files of a dataset's version, or its versions.

    \b
    Examples:
      atoll dataset ls shots.2026-11-22 -n seismology
      atoll dataset ls shots.2026-11-22 -n seismology --versions
    """
    from atoll.cli import datasets
    from atoll.cli.hub import connect

    with connect(hub) as api:
        if versions:
            datasets.print_versions(api, namespace, name, Output(output))
        else:
            datasets.print_files(api, datasets.Wanted(namespace, name, version), Output(output))


@app.command()
@chooses_hub
def get(
    name: Name,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; made if it is not there.")],
    namespace: Namespace = "default",
    version: Version = None,
    cluster: AtCluster = None,
    *,
    hub: HubChoice,
) -> None:
    """Copy a dataset to a folder here, with its ledger if it is complete; each file's SHA-256 is checked.

    \b
    Examples:
      atoll dataset get picks.2026-11-22 ./picks -n seismology
      atoll dataset get picks.2026-11-22 ./before -n seismology --version 1
    """
    from atoll.cli import datasets
    from atoll.cli.hub import connect

    with connect(hub) as api:
        datasets.print_download(api, datasets.Wanted(namespace, name, version, cluster), target)


@app.command()
@chooses_hub
def head(
    name: Name,
    namespace: Namespace = "default",
    version: Version = None,
    cluster: AtCluster = None,
    count: Annotated[int, typer.Option("--count", "-c", min=1, metavar="N", help="How many readings.")] = 10,
    *,
    hub: HubChoice,
) -> None:
    """Show the first readings of a dataset's first file, one JSON line each; raw files as text, if they are.

    \b
    Example:
      atoll dataset head scales.2026-11-22 -n weather -c 3
    """
    from atoll.cli import datasets, heading
    from atoll.cli.hub import connect

    with connect(hub) as api:
        heading.print_head(api, datasets.Wanted(namespace, name, version, cluster), count)


@app.command()
@chooses_hub
def verify(
    name: Name,
    namespace: Namespace = "default",
    version: Version = None,
    cluster: AtCluster = None,
    output: RecordFormat = RecordOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Read every file again and compare it with the ledger. Exit 3 if a byte or a reading is missing.

    \b
    Examples:
      atoll dataset verify shots.2026-11-22 -n seismology
      atoll dataset verify shots.2026-11-22 -n seismology --cluster cloud
    """
    from atoll.cli import datasets
    from atoll.cli.hub import connect

    with connect(hub) as api:
        whole = datasets.verify(api, datasets.Wanted(namespace, name, version, cluster), Output(output))
    if not whole:
        raise typer.Exit(3)


@app.command()
@chooses_hub
def replicate(  # noqa: PLR0913 - an option of a command line is a parameter to typer
    name: Name,
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
    version: Version = None,
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


@app.command()
@chooses_hub
def pin(name: Name, namespace: Namespace = "default", dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Keep all of a dataset: no rule and nobody deletes of it until it is unpinned.

    \b
    Example:
      atoll dataset pin shots.2026-11-22 -n seismology
    """
    from atoll.cli import keeping
    from atoll.cli.hub import connect

    with connect(hub) as api:
        keeping.set_pinned(api, namespace, name, is_pinned=True, dry_run=dry_run)


@app.command()
@chooses_hub
def unpin(name: Name, namespace: Namespace = "default", dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Let retention and people delete of a dataset again.

    \b
    Example:
      atoll dataset unpin shots.2026-11-22 -n seismology
    """
    from atoll.cli import keeping
    from atoll.cli.hub import connect

    with connect(hub) as api:
        keeping.set_pinned(api, namespace, name, is_pinned=False, dry_run=dry_run)


@app.command()
@chooses_hub
def delete(
    name: Name,
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


@app.command()
@chooses_hub
def register(
    name: Name,
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
