"""`atoll dataset`: what there is, its files, and the proof that they are what was received."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli import completing, dataset_changing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.listings import show_all
from atoll.cli.options import (
    AllNamespaces,
    DatasetName,
    DatasetVersion,
    Namespace,
    Output,
    OutputFormat,
    RecordFormat,
    RecordOutput,
    Watch,
)

app = typer.Typer(cls=Noun, no_args_is_help=True, help="Datasets: named, versioned files with a ledger.")
AtCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="CLUSTER",
        help="This copy; default: the home's, else one that is up.",
        autocompletion=completing.of("clusters"),
    ),
]


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
    name: DatasetName,
    namespace: Namespace = "default",
    version: DatasetVersion = None,
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
    name: DatasetName,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; made if it is not there.")],
    namespace: Namespace = "default",
    version: DatasetVersion = None,
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
    name: DatasetName,
    namespace: Namespace = "default",
    version: DatasetVersion = None,
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
    name: DatasetName,
    namespace: Namespace = "default",
    version: DatasetVersion = None,
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


dataset_changing.register(app)
