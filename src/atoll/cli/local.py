"""`atoll up` and `atoll down`: NATS, a hub and one simulated cluster on this machine."""

from typing import Annotated

import typer

from atoll.cli.options import HomeFolder, NoContext

Port = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Port of the hub; default: a free one, kept.")
]

HubOnly = Annotated[bool, typer.Option("--hub-only", help="Without the simulated cluster.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)


def up(home: HomeFolder = None, port: Port = None, hub_only: HubOnly = False, no_context: NoContext = False) -> None:
    """Run NATS, a hub and one cluster on this machine until Ctrl-C.

    The cluster `local` is a simulated one: its API server keeps objects in memory, and its pods are processes of this
    machine, run as you, whatever image they name. It is there so that jobs run at once; whoever may submit one may do
    what you may. The hub becomes the current context of your kubeconfig.

    \b
    Examples:
      atoll up
      atoll up --port 8700 --hub-only
    """
    from atoll.cli import foreground
    from atoll.local.home import Home, default_home
    from atoll.local.hub import compose_hub
    from atoll.local.stack import Stack

    place = Home.at(home) if home else Home(default_home())
    if hub_only:
        composer = compose_hub(port=port)
    else:
        from atoll.sandbox.federation import Federation, compose
        from atoll.sandbox.machine import this_machine

        composer = compose(Federation((this_machine(place.root),), port=port))
    foreground.run(Stack(place, "hub"), composer, with_context=not no_context)


def down(home: HomeFolder = None) -> None:
    """Stop what `atoll up` runs, from another terminal; its data stay for the next `up`.

    \b
    Example:
      atoll down
    """
    from atoll.cli.output import hint
    from atoll.local import detach
    from atoll.local.home import Home, default_home

    # The context stays in the kubeconfig: the next `up` has the same address and CA, and without it as the current one
    # the next `kubectl delete` would go to whatever cluster is (docs/adr/0015).
    stopped = detach.stop(Home.at(home) if home else Home(default_home()))
    hint("stopped" if stopped else "nothing runs there")
