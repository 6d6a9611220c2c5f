"""`atoll sandbox cluster`: one more simulated cluster beside those of a running sandbox; nobody has joined it yet."""

from typing import Annotated

import typer

from atoll.cli.groups import Noun
from atoll.cli.options import HomeFolder, NoContext, Output, OutputFormat, Watch

app = typer.Typer(cls=Noun, no_args_is_help=True, help="More simulated clusters, for joining by hand.")
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Its name; cloud-…, onprem-…, lab-… and edge-… choose its form.")
]
PodNetwork = Annotated[
    str,
    typer.Option(
        metavar="127.N.0.0/16", help="Addresses of this machine for its pods; Services then have names. Linux only."
    ),
]
Meshed = Annotated[bool, typer.Option("--mesh", help="Connect it with the simulated Cluster Mesh.")]


@app.command()
def start(
    name: Name,
    mesh: Meshed = False,
    pod_network: PodNetwork = "",
    home: HomeFolder = None,
    no_context: NoContext = False,
) -> None:
    """Start a cluster without an agent: an API server and kubelets, as somebody's cluster is before it joins.

    Your kubeconfig gets a context of its name, which does not become the current one. What runs in the cluster reaches
    its API server as in a real one, by the token of a service account and with the rights of RBAC; it ends with the
    sandbox.

    \b
    Examples:
      atoll sandbox cluster start lab-9 && atoll cluster join lab-9 --context lab-9
      kubectl --context lab-9 get nodes
      atoll sandbox cluster start onprem-9 --pod-network 127.77.0.0/16
    """
    from atoll.cli import sandbox_clusters

    sandbox_clusters.start(home, name, is_meshed=mesh, pod_network=pod_network, with_context=not no_context)


@app.command()
def stop(name: Name, home: HomeFolder = None) -> None:
    """End a cluster that was started so, with everything that runs in it; take its context out of your kubeconfig.

    To the hub it is lost, unless it left before: 'atoll cluster leave NAME'.

    \b
    Example:
      atoll sandbox cluster stop lab-9
    """
    from atoll.cli import sandbox_clusters

    sandbox_clusters.stop(home, name)


@app.command("list")
def list_(home: HomeFolder = None, output: OutputFormat = Output.TABLE, watch: Watch = False) -> None:
    """Show the simulated clusters: where their APIs are, and who runs an agent for them; -o wide has kubeconfigs.

    \b
    Examples:
      atoll sandbox cluster list
      atoll sandbox cluster list -o json
    """
    from atoll.cli import sandbox_clusters

    sandbox_clusters.show(home, output, watch=watch)
