"""`atoll up` and `atoll down`: NATS and a hub on this machine."""

from typing import Annotated

import typer

from atoll.cli.options import HomeFolder

Port = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Port of the hub; default: a free one, kept.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)


def up(home: HomeFolder = None, port: Port = None) -> None:
    """Run NATS and a hub on this machine until Ctrl-C.

    \b
    Example:
      atoll up --port 8700
    """
    from atoll.cli import foreground
    from atoll.local.home import Home, default_home
    from atoll.local.stack import Stack, compose_hub

    place = Home.at(home) if home else Home(default_home())
    foreground.run(Stack(place, "hub"), compose_hub(port=port))


def down(home: HomeFolder = None) -> None:
    """Stop what `atoll up` runs, from another terminal.

    \b
    Example:
      atoll down
    """
    from atoll.cli.output import hint
    from atoll.local import detach
    from atoll.local.home import Home, default_home

    stopped = detach.stop(Home.at(home) if home else Home(default_home()))
    hint("stopped" if stopped else "nothing runs there")
