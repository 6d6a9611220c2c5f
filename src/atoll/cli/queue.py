"""`atoll queue`: which queues there are, who has what of the federation, and what was spent."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.listings import show_all
from atoll.cli.options import AccountOutput, By, Output, OutputFormat, RecordFormat, RecordOutput, Watch

_HELP = """Queues: who may run how much, and has spent what.

\b
Examples:
  atoll queue usage lab
  atoll queue accounts --by user --since 7d
"""
app = typer.Typer(cls=Noun, no_args_is_help=True, help=_HELP)
QueueName = Annotated[
    str | None,
    typer.Argument(
        metavar="[QUEUE]", help="Only this queue and those below it.", autocompletion=completing.of("queues")
    ),
]
Since = Annotated[str, typer.Option("--since", metavar="TIME", help="How long back, or an instant.")]


@app.command("list")
@chooses_hub
def list_(output: OutputFormat = Output.TABLE, watch: Watch = False, *, hub: HubChoice) -> None:
    """Show the queues with their pending and running jobs.

    \b
    Example:
      atoll queue list
    """
    show_all("queues", output=output, watch=watch, hub=hub)


@app.command()
@chooses_hub
def usage(
    name: QueueName = None,
    history: Annotated[bool, typer.Option("--history", help="What was spent on each day, instead of now.")] = False,
    by: Annotated[By, typer.Option("--by", help="With --history: told apart by this.")] = By.QUEUE,
    since: Since = "30d",
    output: RecordFormat = RecordOutput.TABLE,
    watch: Watch = False,
    *,
    hub: HubChoice,
) -> None:
    """Show who has what: what each queue is sure of, may hold, holds, is owed, has borrowed, held until now, and spent.

    SHARE is the part of the federation that a queue holds, of the resource of which that is largest; FAIR the part that
    weights would give it. AVERAGE forgets: what was held one half-life ago counts half. EXPECTED is what runs that go
    on will spend until their ends, beside what is SPENT.

    \b
    Examples:
      atoll queue usage
      atoll queue usage weather.batch -o json
      atoll queue usage weather --watch
      atoll queue usage weather --history --by user --since 7d
    """
    from atoll.cli import accounts, queue_usage
    from atoll.cli.hub import connect

    if history and watch:
        raise typer.BadParameter("it follows what is held now: leave out --history", param_hint="--watch")
    with connect(hub) as api:
        if history:
            wanted = accounts.Wanted(queue=name or "", since=since)
            accounts.history(api, wanted, by, Output(output))
        else:
            queue_usage.show(api, name, Output(output), watch=watch)


@app.command()
@chooses_hub
def accounts(  # noqa: PLR0913 - an option of a command line is a parameter to typer
    name: QueueName = None,
    by: Annotated[By, typer.Option("--by", help="What is told apart; run gives every record.")] = By.JOB,
    since: Since = "30d",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="How long ago it ends, or an instant.")] = "",
    user: Annotated[str, typer.Option("--user", metavar="me|NAME", help="Only what this user took.")] = "",
    namespace: Annotated[
        str,
        typer.Option("--namespace", "-n", help="Only in this namespace.", autocompletion=completing.of("namespaces")),
    ] = "",
    output: Annotated[AccountOutput, typer.Option("--output", "-o", help="Form.")] = AccountOutput.TABLE,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Write there, not to stdout.")] = None,
    *,
    hub: HubChoice,
) -> None:
    """Show or export what runs took: GPU, CPU and memory seconds, bytes staged, and cost, also of deleted jobs.

    You see what is yours, and what is in namespaces in which you have a role. A cost with ~ is an estimate: the run's
    cluster was lost before it could tell. By user, queue and day whole days are summed up (UTC). -o json prints one row
    a line, -o parquet needs pip install 'atoll[parquet]'.

    \b
    Examples:
      atoll queue accounts --by user --since 7d
      atoll queue accounts weather --by run --since 2026-11-01T00:00:00Z -o csv --file november.csv
    """
    from atoll.cli import accounts as showing
    from atoll.cli.hub import connect

    wanted = showing.Wanted(queue=name or "", user=user, namespace=namespace, since=since, until=until)
    with connect(hub) as api:
        showing.show(api, wanted, by, output, file)
