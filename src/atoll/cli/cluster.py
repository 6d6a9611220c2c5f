"""`atoll cluster`: the clusters, and keeping new work off one."""

from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.listings import show_all
from atoll.cli.options import DryRun, Output, OutputFormat, Watch

app = typer.Typer(no_args_is_help=True, help="Clusters: what they have, and whether new work goes there.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The cluster.")]


@app.command("list")
@chooses_hub
def list_(output: OutputFormat = Output.TABLE, watch: Watch = False, *, hub: HubChoice) -> None:
    """Show the clusters.

    \b
    Example:
      atoll cluster list -o wide
    """
    show_all("clusters", output=output, watch=watch, hub=hub)


@app.command()
@chooses_hub
def cordon(name: Name, dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Place nothing new on a cluster; what runs there goes on.

    \b
    Example:
      atoll cluster cordon lab-k3s
    """
    _set_unschedulable(name, True, dry_run=dry_run, hub=hub)


@app.command()
@chooses_hub
def uncordon(name: Name, dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Let new work go to a cluster again.

    \b
    Example:
      atoll cluster uncordon lab-k3s
    """
    _set_unschedulable(name, False, dry_run=dry_run, hub=hub)


@app.command()
@chooses_hub
def join(name: Name, *, hub: HubChoice) -> None:
    """Invite a cluster: print the one-time token and the command that runs its agent.

    The Cluster is created if it is not there. The token is good for one hour and one agent, and is shown this once; of
    a cluster that is a member already, the new agent takes the place of the old one.

    \b
    Example:
      atoll cluster join onprem-gpu
    """
    from atoll.cli.enrolling import show_invitation
    from atoll.cli.hub import connect

    with connect(hub) as api:
        show_invitation(api, "cluster", name)


@app.command()
@chooses_hub
def leave(name: Name, *, hub: HubChoice) -> None:
    """Send a cluster away: its credentials are worthless at once, and the Cluster is deleted.

    \b
    Example:
      atoll cluster leave lab-k3s
    """
    from atoll.cli.enrolling import remove
    from atoll.cli.hub import connect

    with connect(hub) as api:
        remove(api, "cluster", name)


def _set_unschedulable(name: str, value: bool, *, dry_run: bool, hub: HubChoice) -> None:
    from atoll.cli import kinds
    from atoll.cli.hub import connect
    from atoll.cli.output import say

    with connect(hub) as api:
        path = kinds.atoll("Cluster").path(None, name)
        api.merge(path, {"spec": {"unschedulable": value}}, dry_run=dry_run)
    say(f"cluster/{name} {'cordoned' if value else 'uncordoned'}{' (dry run)' if dry_run else ''}")
