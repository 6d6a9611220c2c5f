"""`atoll queue`: which queues there are, and who has what of the federation."""

from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.listings import show_all
from atoll.cli.options import Output, OutputFormat, RecordFormat, RecordOutput, Watch

app = typer.Typer(no_args_is_help=True, help="Queues: who may run how much.")
QueueName = Annotated[str | None, typer.Argument(metavar="[QUEUE]", help="Only this queue and those below it.")]


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
def usage(name: QueueName = None, output: RecordFormat = RecordOutput.TABLE, *, hub: HubChoice) -> None:
    """Show who has what: what each queue is sure of, may hold, holds, has borrowed, and held until now.

    SHARE is the part of the federation that a queue holds, of the resource of which that is largest; FAIR the part that
    weights would give it. AVERAGE forgets: what was held one half-life ago counts half.

    \b
    Examples:
      atoll queue usage
      atoll queue usage weather.batch -o json
    """
    from atoll.cli import queue_usage
    from atoll.cli.hub import connect

    with connect(hub) as api:
        queue_usage.show(api, name, Output(output))
