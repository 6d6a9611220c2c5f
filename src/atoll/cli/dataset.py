"""`atoll dataset`: what there is, its files, and the proof that they are what was received."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.listings import show_all
from atoll.cli.options import AllNamespaces, Namespace, Output, OutputFormat, Watch

app = typer.Typer(no_args_is_help=True, help="Datasets: named, versioned files with a ledger.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The dataset.")]


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
def ls(name: Name, namespace: Namespace = "default", *, hub: HubChoice) -> None:
    """Show the files of a dataset's newest version.

    \b
    Example:
      atoll dataset ls shots.2026-11-22 -n seismology
    """
    from atoll.cli import datasets
    from atoll.cli.hub import connect

    with connect(hub) as api:
        datasets.print_files(api, namespace, name)


@app.command()
@chooses_hub
def get(
    name: Name,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; made if it is not there.")],
    namespace: Namespace = "default",
    *,
    hub: HubChoice,
) -> None:
    """Copy a dataset to a folder here; each file's SHA-256 is checked.

    \b
    Example:
      atoll dataset get picks.2026-11-22 ./picks -n seismology
    """
    from atoll.cli import datasets
    from atoll.cli.hub import connect

    with connect(hub) as api:
        datasets.download(api, namespace, name, target)


@app.command()
@chooses_hub
def verify(name: Name, namespace: Namespace = "default", *, hub: HubChoice) -> None:
    """Read every file again and compare it with the ledger. Exit 3 if a byte or a reading is missing.

    \b
    Example:
      atoll dataset verify shots.2026-11-22 -n seismology
    """
    from atoll.cli import datasets
    from atoll.cli.hub import connect

    with connect(hub) as api:
        whole = datasets.verify(api, namespace, name)
    if not whole:
        raise typer.Exit(3)
