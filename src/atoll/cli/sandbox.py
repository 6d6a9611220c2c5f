"""`atoll sandbox`: a federation of simulated clusters on this machine."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from atoll.cli import sandbox_cluster, sandbox_fault
from atoll.cli.groups import Noun
from atoll.cli.options import HomeFolder, NoContext, Output, RecordFormat, RecordOutput

app = typer.Typer(cls=Noun, no_args_is_help=True, help="A federation of simulated clusters on this machine.")
app.add_typer(sandbox_cluster.app, name="cluster")
app.add_typer(sandbox_fault.app, name="fault")
Foreground = Annotated[bool, typer.Option("--foreground", help="Stay here and stop with Ctrl-C.")]
Clusters = Annotated[
    int | None,
    typer.Option("--clusters", min=1, max=50, help="How many; default: as many as last time, at first 4."),
]
Provider = Annotated[
    Literal["simulated", "k3d"] | None,
    typer.Option("--provider", help="simulated, or k3d: K3s in Docker with Cilium; default: as last time."),
]
Kinds = Annotated[
    str | None,
    typer.Option("--kinds", help="Kinds of workloads that simulated operators run, with commas; '' for none."),
]


@app.command()
def up(
    home: HomeFolder = None,
    clusters: Clusters = None,
    kinds: Kinds = None,
    provider: Provider = None,
    foreground: Foreground = False,
    no_context: NoContext = False,
) -> None:
    """Start NATS, a hub, simulated clusters with their agents, and a lab gateway.

    Returns when all clusters are Ready. The clusters' API servers are simulated and their pods are processes of
    this machine; NATS, hub, agents, gateway, jobs and files are real. The hub becomes the current context of your
    kubeconfig, so that kubectl finds it too.

    The first four clusters are always the same; further ones are clouds with GPUs, data centres, K3s devices and
    KubeEdge clusters with a node that is offline, in turn. After `down` it grows by an `up` with more, and it does not
    shrink. Each agent is a process of some 90 MB.

    With --provider k3d the clusters are real: K3s in Docker, with Cilium instead of flannel and one Cluster Mesh. It
    needs docker, k3d, helm and cilium, downloads some gigabytes, and makes 2 clusters unless told otherwise; hub, NATS
    and agents run on this machine. Jobs run there as containers; datasets do not, because NATS is out of their reach
    (docs/install.md puts a hub where it is not). Atoll's tests drive programs that stand in for k3d, helm and cilium.

    Beside Jobs the simulated clusters run JobSets, MPIJobs, PyTorchJobs and RayJobs; --kinds chooses others.

    \b
    Examples:
      atoll sandbox up && atoll get clusters
      atoll sandbox up --clusters 8
      atoll sandbox up --kinds PyTorchJob,LeaderWorkerSet
      atoll sandbox up --provider k3d --clusters 3 --home ~/real-clusters
    """
    from atoll.cli import sandboxes

    place = sandboxes.home_of(home)
    if foreground:
        sandboxes.run_here(place, clusters, kinds=kinds, provider=provider, with_context=not no_context)
    else:
        sandboxes.start(place, clusters, kinds=kinds, provider=provider, with_context=not no_context)


@app.command()
def down(home: HomeFolder = None) -> None:
    """Stop the sandbox; its data stay for the next `up`.

    Faults end with it, and so do clusters that `sandbox cluster start` has started, with their contexts. If the hub is
    the current context of your kubeconfig still, the one before becomes current again. Clusters of k3d are stopped, not
    deleted.

    \b
    Example:
      atoll sandbox down
    """
    from atoll.cli import sandboxes

    sandboxes.stop(home)


@app.command()
def status(home: HomeFolder = None, output: RecordFormat = RecordOutput.TABLE) -> None:
    """Show the sandbox's processes, addresses, logs and faults. Exit 3 if it is not ready.

    \b
    Example:
      atoll sandbox status
    """
    from atoll.cli import sandboxes

    if not sandboxes.show(home, Output(output)):
        raise typer.Exit(3)


@app.command(hidden=True)
def serve(config: Annotated[Path, typer.Option(help="What to simulate, as JSON.")]) -> None:
    """Serve simulated clusters; started by `sandbox up`.

    \b
    Example:
      atoll sandbox serve --config ~/.atoll/sandbox/clusters/settings.json
    """
    from atoll.cli import sandboxes

    sandboxes.serve_clusters(config)
