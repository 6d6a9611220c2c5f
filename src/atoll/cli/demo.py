"""`atoll demo`: the whole mission on this machine, with a real recording."""

from pathlib import Path
from typing import Annotated

import typer

Keep = Annotated[bool, typer.Option("--keep", help="Leave the federation running and say what to try next.")]
HomeOption = Annotated[
    Path | None, typer.Option("--home", metavar="FOLDER", help="Folder to work in; default: a temporary one.")
]
Speed = Annotated[float, typer.Option(min=0.1, help="How many times faster than it happened the recording is played.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(keep: Keep = False, home: HomeOption = None, speed: Speed = 60.0) -> None:
    """See the whole mission work on this machine, in half a minute.

    Starts four simulated clusters and a lab gateway. A real recording of seismometers is played over MQTT and lands
    in a dataset; its completion starts an analysis, which the hub places where the data is. Meanwhile network policies
    from Git are held over all clusters. Each claim is then checked against files and API objects.

    \b
    Example:
      atoll demo --keep
    """
    from atoll.sandbox.demo.main import run_demo

    raise typer.Exit(run_demo(keep=keep, folder=home, speed=speed))
