"""`atoll cluster`: the clusters, and keeping new work off one."""

from typing import Annotated

import typer

from atoll.cli import completing, members
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.listings import show_all
from atoll.cli.options import DryRun, Output, OutputFormat, Watch

app = typer.Typer(cls=Noun, no_args_is_help=True, help="Clusters: what they have, and whether new work goes there.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The cluster.", autocompletion=completing.of("clusters"))]


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
    """Let new work go to a cluster again; a drain ends.

    \b
    Example:
      atoll cluster uncordon lab-k3s
    """
    _set_unschedulable(name, False, dry_run=dry_run, hub=hub)


@app.command()
@chooses_hub
def drain(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Stop runs of lossPolicy Wait as well.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="Longest wait, such as 90s or 2h; 0s: no limit.")] = "0s",
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Cordon a cluster and let its runs leave, each as its job's lossPolicy says; wait until it is empty.

    Failover: stopped here, then placed elsewhere. Duplicate: placed elsewhere, then stopped here. Wait: it goes on to
    its end. What has not begun is placed elsewhere at once. Exit 3 if the time is over before.

    \b
    Example:
      atoll cluster drain onprem-gpu --timeout 30m
    """
    from atoll.cli import draining
    from atoll.cli.hub import connect
    from atoll.federation.capacity import parse_duration

    seconds = parse_duration(timeout) or None
    with connect(hub) as api:
        raise typer.Exit(draining.drain(api, name, force=force, timeout_seconds=seconds, dry_run=dry_run))


members.register(app)


def _set_unschedulable(name: str, value: bool, *, dry_run: bool, hub: HubChoice) -> None:
    from atoll.cli import kinds
    from atoll.cli.hub import connect
    from atoll.cli.output import say

    with connect(hub) as api:
        path = kinds.atoll("Cluster").path(None, name)
        change = {"unschedulable": True} if value else {"unschedulable": False, "draining": False, "evict": "ByPolicy"}
        api.merge(path, {"spec": change}, dry_run=dry_run)
    say(f"cluster/{name} {'cordoned' if value else 'uncordoned'}{' (dry run)' if dry_run else ''}")
