"""`atoll cluster join` and `atoll cluster leave`."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub_beside_cluster
from atoll.cli.options import ManifestOutput

Name = Annotated[str, typer.Argument(metavar="NAME", help="The cluster.", autocompletion=completing.of("clusters"))]
Context = Annotated[
    str | None, typer.Option("--context", metavar="CONTEXT", help="The cluster's context in your kubeconfig.")
]
KubeconfigFile = Annotated[
    Path | None, typer.Option("--kubeconfig", metavar="FILE", help="Where that context is; default: $KUBECONFIG.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, issue nothing.")]
Output = Annotated[ManifestOutput, typer.Option("--output", "-o", help="Form of the manifests.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(join)
    app.command()(leave)


@chooses_hub_beside_cluster
def join(  # noqa: PLR0913, PLR0917 - an option of a command line is a parameter to typer
    name: Name,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
    systemd: Annotated[bool, typer.Option("--systemd", help="Print a script for a host instead of manifests.")] = False,
    hub_url: Annotated[str, typer.Option(metavar="URL", help="The hub as the agent reaches it.")] = "",
    image: Annotated[str, typer.Option(help="Image of the agent; default: atoll:VERSION.")] = "",
    state: Annotated[str, typer.Option(help="Where the agent keeps its key: claim, empty or host:/FOLDER.")] = "claim",
    state_storage_class: Annotated[str, typer.Option(metavar="CLASS", help="StorageClass of that claim.")] = "",
    cilium_exec: Annotated[bool, typer.Option("--cilium-exec", help="See the mesh by pods/exec in Cilium.")] = False,
    job_exec: Annotated[
        bool, typer.Option("--job-exec", help="Let people run commands in pods of their runs (pods/exec).")
    ] = False,
    heartbeat_seconds: Annotated[float | None, typer.Option(min=0.1, help="How often the hub hears from it.")] = None,
    timeout: Annotated[str, typer.Option(help="With --context: how long to wait until it is heard.")] = "3m",
    no_wait: NoWait = False,
    output: Output = ManifestOutput.YAML,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Let a cluster join: print its agent's manifests, or apply them with --context.

    The Cluster is created if it is not there. What is printed holds a one-time token, good for one hour and one agent;
    with --context nothing secret is shown. Of a member the new agent takes the old one's place, but for --context where
    it works already: then it is only updated. --systemd is for an agent on a host, with a kubeconfig of the cluster.

    \b
    Examples:
      atoll cluster join onprem-gpu | kubectl --context gpu apply -f -
      atoll cluster join onprem-gpu --context gpu --hub-url https://hub.example.org:8700
      atoll cluster join cloud-a --systemd | ssh root@hub sh
    """
    from atoll.cli import joins
    from atoll.cli.hub import connect
    from atoll.cli.membercluster import Access

    wanted = joins.Joining(
        name, Access(context, kubeconfig), hub_url=hub_url, image=image, state=state,
        storage_class=state_storage_class, cilium_exec=cilium_exec, job_exec=job_exec,
        heartbeat_seconds=heartbeat_seconds, on_host=systemd, timeout=timeout,
        is_waited_for=not no_wait, dry_run=dry_run,
    )  # fmt: skip
    with connect(hub) as api:
        joins.join(api, wanted, output)


@chooses_hub_beside_cluster
def leave(  # noqa: PLR0913 - an option of a command line is a parameter to typer
    name: Name,
    context: Context = None,
    kubeconfig: KubeconfigFile = None,
    force: Annotated[bool, typer.Option("--force", help="Stop its runs, and do not wait for it if silent.")] = False,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Delete the volumes of datasets too.")] = False,
    timeout: Annotated[str, typer.Option(help="How long the hub waits for the cluster's agent.")] = "10m",
    no_wait: NoWait = False,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Let a cluster leave: what Atoll put there is removed, and only that; then it is a member no more.

    Volumes with datasets stay unless --delete-data is given, and so does whatever is not Atoll's. A cluster with runs
    is to be drained first. With --context the agent is removed too; else the commands for it are printed. `kubectl
    delete cluster NAME` does the same, but for the agent.

    \b
    Example:
      atoll cluster leave lab-k3s --context k3s
    """
    from atoll.cli import departing
    from atoll.cli.hub import connect
    from atoll.cli.membercluster import Access

    wanted = departing.Leaving(
        name, Access(context, kubeconfig), timeout=timeout, force=force, delete_data=delete_data,
        is_waited_for=not no_wait, dry_run=dry_run,
    )  # fmt: skip
    with connect(hub) as api:
        departing.leave(api, wanted)
