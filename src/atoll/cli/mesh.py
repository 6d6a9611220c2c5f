"""`atoll mesh`: who reaches whom, which rules of the mesh are broken, what a new cluster may be, who serves what."""

from enum import StrEnum
from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.options import Output, RecordFormat, RecordOutput

app = typer.Typer(
    cls=Noun, no_args_is_help=True, help="The Cluster Mesh: who reaches whom, and whether its rules hold."
)


class TableOutput(StrEnum):
    """What `-o` takes where objects have no names of their own."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


class ValuesOutput(StrEnum):
    """What `-o` takes where the answer is a file's content."""

    YAML = "yaml"
    JSON = "json"


TableFormat = Annotated[TableOutput, typer.Option("--output", "-o", help="Form of the output.")]


@app.command()
@chooses_hub
def status(output: TableFormat = TableOutput.TABLE, *, hub: HubChoice) -> None:
    """Show how each cluster sees every other one, and how old the proof is. Exit 3 if a link is not ready.

    A number in the matrix is the median round trip between the clusters' nodes. -o wide lists every direction with its
    failures, what transfers have measured, and the agent's words.

    \b
    Examples:
      atoll mesh status
      atoll mesh status -o wide
    """
    from atoll.cli import meshing
    from atoll.cli.hub import connect

    with connect(hub) as api:
        is_whole = meshing.show(api, Output(output))
    if not is_whole:
        raise typer.Exit(3)


@app.command()
@chooses_hub
def check(output: RecordFormat = RecordOutput.TABLE, *, hub: HubChoice) -> None:
    """Check the rules that all clusters of a mesh must keep, and say what to do. Exit 3 if one is broken.

    Names and ids, equal settings, networks that do not overlap, one CA, certificates that last, peers on both sides,
    and no link that is ready on an old cache only.

    \b
    Example:
      atoll mesh check
    """
    from atoll.cli import mesh_rules
    from atoll.cli.hub import connect

    with connect(hub) as api:
        holds = mesh_rules.show_check(api, Output(output))
    if not holds:
        raise typer.Exit(3)


@app.command()
@chooses_hub
def plan(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the cluster that is to join shall be called.")],
    cidr_size: Annotated[
        int, typer.Option("--cidr-size", min=1, max=32, help="Prefix length of its pods' network.")
    ] = 16,
    output: Annotated[ValuesOutput, typer.Option("--output", "-o", help="Form of the output.")] = ValuesOutput.YAML,
    *,
    hub: HubChoice,
) -> None:
    """Propose a free id and a network that overlaps no other, and print Cilium's Helm values. Changes nothing.

    \b
    Example:
      atoll mesh plan lab-9 --cidr-size 20 > values.yaml
    """
    from atoll.cli import mesh_rules
    from atoll.cli.hub import connect

    with connect(hub) as api:
        mesh_rules.show_plan(api, name, cidr_size, as_json=output is ValuesOutput.JSON)


@app.command()
@chooses_hub
def services(output: TableFormat = TableOutput.TABLE, *, hub: HubChoice) -> None:
    """Show services that clusters offer together, where their endpoints are, and who steps in for whom.

    These are Cilium's global services and the ServiceExports of the multi-cluster services API.

    \b
    Example:
      atoll mesh services
    """
    from atoll.cli import mesh_services
    from atoll.cli.hub import connect

    with connect(hub) as api:
        mesh_services.show(api, Output(output))
