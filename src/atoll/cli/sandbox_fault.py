"""`atoll sandbox fault`: breaks links, agents and API servers of the sandbox on purpose, and heals them."""

from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.groups import Noun
from atoll.cli.options import HomeFolder, Output, RecordFormat, RecordOutput
from atoll.sandbox.faults.fault import FaultKind

app = typer.Typer(cls=Noun, no_args_is_help=True, help="Break something of the sandbox on purpose, and heal it.")
Once = Annotated[bool, typer.Option("--once", help="Let whoever looks after it start it again.")]
OneWay = Annotated[bool, typer.Option("--one-way", help="Only the first cluster loses the second.")]


@app.command()
def cut(
    first: Annotated[
        str,
        typer.Argument(metavar="A|hub", help="A cluster, or the word hub.", autocompletion=completing.of("clusters")),
    ],
    second: Annotated[
        str, typer.Argument(metavar="B", help="The other cluster.", autocompletion=completing.of("clusters"))
    ],
    one_way: OneWay = False,
    home: HomeFolder = None,
) -> None:
    """Cut the link of two clusters in the mesh, or the way between a cluster and the hub.

    What is cut is a black hole: nothing is refused, nothing arrives. Behind a cut from the hub are the cluster's agent
    and its sinks and movers; what runs there goes on.

    \b
    Examples:
      atoll sandbox fault cut cloud-eu lab-k3s
      atoll sandbox fault cut cloud-eu lab-k3s --one-way
      atoll sandbox fault cut hub onprem-gpu
    """
    from atoll.cli import sandbox_faults

    if first == "hub" and one_way:
        raise typer.BadParameter("a cut from the hub goes both ways", param_hint="--one-way")
    if first == "hub":
        sandbox_faults.plant(home, FaultKind.CUT_HUB, cluster=second)
    else:
        sandbox_faults.plant(home, FaultKind.CUT_LINK, cluster=first, peer=second, oneWay=one_way)


@app.command()
def kill(
    what: Annotated[str, typer.Argument(metavar="agent|apiserver", help="What to kill.")],
    cluster: Annotated[str, typer.Argument(metavar="CLUSTER", help="Whose.", autocompletion=completing.of("clusters"))],
    once: Once = False,
    home: HomeFolder = None,
) -> None:
    """Kill a cluster's agent (kill -9) or its API server, and keep it down until `heal`.

    With --once it comes back by itself: the agent by its supervisor or its Deployment, the API server at once. Objects
    outlive an API server, as in etcd, and pods run on.

    \b
    Examples:
      atoll sandbox fault kill agent lab-k3s --once
      atoll sandbox fault kill apiserver onprem-gpu
    """
    from atoll.cli import sandbox_faults

    kinds = {"agent": FaultKind.KILL_AGENT, "apiserver": FaultKind.KILL_API_SERVER}
    if what not in kinds:
        raise typer.BadParameter(f"{what!r} is not one of agent, apiserver", param_hint="WHAT")
    sandbox_faults.plant(home, kinds[what], cluster=cluster, once=once)


@app.command()
def slow(
    words: Annotated[list[str], typer.Argument(metavar="[hub] CLUSTER DELAY", help="Whose, and how much: 2s, 500ms.")],
    home: HomeFolder = None,
) -> None:
    """Let a cluster's API server answer late, or make the way between a cluster and the hub longer.

    \b
    Examples:
      atoll sandbox fault slow onprem-gpu 2s
      atoll sandbox fault slow hub lab-k3s 500ms
    """
    from atoll.cli import sandbox_faults

    is_hub = len(words) == 3 and words[0] == "hub"
    if len(words) != 2 + is_hub:
        raise typer.BadParameter("give CLUSTER DELAY, or hub CLUSTER DELAY", param_hint="WORDS")
    kind = FaultKind.SLOW_HUB if is_hub else FaultKind.SLOW_API_SERVER
    sandbox_faults.plant(home, kind, cluster=words[-2], delaySeconds=sandbox_faults.seconds_of(words[-1]))


@app.command()
def heal(
    cluster: Annotated[
        str,
        typer.Argument(
            metavar="[CLUSTER]", help="Only what concerns this cluster.", autocompletion=completing.of("clusters")
        ),
    ] = "",
    home: HomeFolder = None,
) -> None:
    """End all faults, or those that concern a cluster; everything returns by itself.

    \b
    Examples:
      atoll sandbox fault heal
      atoll sandbox fault heal lab-k3s
    """
    from atoll.cli import sandbox_faults

    sandbox_faults.heal(home, cluster)


@app.command("list")
def list_(home: HomeFolder = None, output: RecordFormat = RecordOutput.TABLE) -> None:
    """Show the faults that stand, and since when.

    \b
    Example:
      atoll sandbox fault list
    """
    from atoll.cli import sandbox_faults

    sandbox_faults.show(home, Output(output))
