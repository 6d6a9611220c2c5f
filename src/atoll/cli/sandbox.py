"""`atoll sandbox`: a federation of simulated clusters on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli.options import HomeFolder, NoContext, Output, RecordFormat, RecordOutput

app = typer.Typer(no_args_is_help=True, help="A federation of simulated clusters on this machine.")
Foreground = Annotated[bool, typer.Option("--foreground", help="Stay here and stop with Ctrl-C.")]


@app.command()
def up(home: HomeFolder = None, foreground: Foreground = False, no_context: NoContext = False) -> None:
    """Start NATS, a hub, four simulated clusters with their agents, and a lab gateway.

    Returns when all clusters are Ready. The clusters' API servers are simulated and their pods are processes of
    this machine; NATS, hub, agents, gateway, jobs and files are real. The hub becomes the current context of your
    kubeconfig, so that kubectl finds it too.

    \b
    Example:
      atoll sandbox up && atoll get clusters
    """
    from atoll.cli import sandboxes

    place = sandboxes.home_of(home)
    if foreground:
        sandboxes.run_here(place, with_context=not no_context)
    else:
        sandboxes.start(place, with_context=not no_context)


@app.command()
def down(home: HomeFolder = None) -> None:
    """Stop the sandbox; its data stay for the next `up`.

    \b
    Example:
      atoll sandbox down
    """
    from atoll.cli import sandboxes

    sandboxes.stop(home)


@app.command()
def status(home: HomeFolder = None, output: RecordFormat = RecordOutput.TABLE) -> None:
    """Show the sandbox's processes, addresses and logs. Exit 3 if it is not ready.

    \b
    Example:
      atoll sandbox status
    """
    from atoll.cli import sandboxes

    if not sandboxes.show(home, Output(output)):
        raise typer.Exit(3)


@app.command(hidden=True)
def cluster(config: Annotated[Path, typer.Option(help="What to simulate, as JSON.")]) -> None:
    """Serve simulated clusters; started by `sandbox up`.

    \b
    Example:
      atoll sandbox cluster --config ~/.atoll/sandbox/clusters.json
    """
    from atoll.cli import sandboxes

    sandboxes.serve_clusters(config)
