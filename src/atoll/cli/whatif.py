"""`atoll whatif`: what would happen if, decided by the scheduler itself about the live state. Nothing is written."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.options import Namespace, Output, RecordFormat, RecordOutput
from atoll.cli.policy import PlanForm, PlanOutput

app = typer.Typer(cls=Noun, no_args_is_help=True, help="What would happen if: nothing is written.")
File = Annotated[str, typer.Option("-f", "--filename", metavar="FILE", help="A Job manifest; - reads standard input.")]


@app.command()
@chooses_hub
def job(
    filename: File,
    namespace: Namespace = "default",
    output: RecordFormat = RecordOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Show where a job would go if it were submitted now, or why it would wait. Exit 0 if it would start, else 3.

    \b
    Example:
      atoll whatif job -f picks.yaml -n seismology
    """
    from atoll.cli import replaying
    from atoll.cli.hub import connect

    with connect(hub) as api:
        raise typer.Exit(replaying.job(api, filename, namespace, Output(output)))


@app.command()
@chooses_hub
def drain(
    name: Annotated[
        str, typer.Argument(metavar="CLUSTER", help="The cluster.", autocompletion=completing.of("clusters"))
    ],
    force: Annotated[bool, typer.Option("--force", help="Also stop runs whose lossPolicy is Wait.")] = False,
    output: RecordFormat = RecordOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Show which runs would stay, move or wait if a cluster were drained, and what that would cost.

    LOST is the time that a run has gone on and begins again, LATER by how much later it ends than if it stayed, COST
    what the next attempt is expected to cost.

    \b
    Example:
      atoll whatif drain onprem-gpu
    """
    from atoll.cli import replaying
    from atoll.cli.hub import connect

    with connect(hub) as api:
        replaying.drain(api, name, Output(output), force=force)


@app.command()
@chooses_hub
def quota(
    name: Annotated[str, typer.Argument(metavar="QUEUE", help="The queue.", autocompletion=completing.of("queues"))],
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs that it may hold at once.")] = None,
    cpu: Annotated[str | None, typer.Option("--cpu", help="CPU cores that it may hold at once, such as 64.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory that it may hold at once.")] = None,
    weight: Annotated[int | None, typer.Option("--weight", min=1, help="Its weight beside its siblings.")] = None,
    output: RecordFormat = RecordOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Show which jobs would start, and which would wait, if a queue had other limits or another weight.

    \b
    Example:
      atoll whatif quota weather.batch --gpus 8
    """
    from atoll.cli import replaying
    from atoll.cli.hub import connect

    change = replaying.change_of(gpus=gpus, cpu=cpu, memory=memory, weight=weight)
    with connect(hub) as api:
        replaying.quota(api, name, change, Output(output))


@app.command()
@chooses_hub
def policy(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The policy set.", autocompletion=completing.of("policysets"))
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Its folder, in a Git repository.", exists=True)],
    commit: Annotated[
        str | None,
        typer.Option("--commit", metavar="COMMIT", help="Branch, tag or commit; default: the folder as it is."),
    ] = None,
    output: PlanForm = PlanOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Show which objects and which verdicts would change if a folder of policies, or a commit of it, were in force.

    It is compared with the commit that the set has in force, for the set's clusters and among what runs there now.

    \b
    Examples:
      atoll whatif policy seismology policies/
      atoll whatif policy seismology policies/ --commit origin/tighten -o markdown
    """
    from atoll.cli import policy_whatif
    from atoll.cli.hub import connect

    with connect(hub) as api:
        policy_whatif.show(api, name, path, commit, output=output.value)
