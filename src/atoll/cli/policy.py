"""`atoll policy`: check policies before they are committed, and see where they hold."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import ObjectFormat, ObjectOutput, Output

app = typer.Typer(no_args_is_help=True, help="Network policies: valid before Git, held after it.")
Folder = Annotated[Path, typer.Argument(metavar="PATH", help="File or folder with policy manifests.", exists=True)]
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="One policy set; all of them without it.")]


@app.command()
def validate(path: Folder) -> None:
    """Check policy manifests: schema and meaning, without a hub.

    \b
    Example:
      atoll policy validate policies/
    """
    from atoll.cli import policies

    policies.validate(path)


@app.command()
@chooses_hub
def status(name: Name = None, output: ObjectFormat = ObjectOutput.TABLE, *, hub: HubChoice) -> None:
    """Show what each cluster holds of each policy set, and the last change by hand.

    Exit 3 if a cluster does not hold it, or if Git could not be read.

    \b
    Example:
      atoll policy status
    """
    from atoll.cli import policies
    from atoll.cli.hub import connect

    with connect(hub) as api:
        held = policies.show_status(api, name, Output(output))
    if not held:
        raise typer.Exit(3)
