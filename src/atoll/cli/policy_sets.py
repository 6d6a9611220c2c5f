"""`atoll policy status|approve|rollback|resume`: where policy sets hold, and what people decide of their rollouts."""

from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import DryRun, Output, OutputFormat, Watch

SetName = Annotated[
    str, typer.Argument(metavar="NAME", help="The policy set.", autocompletion=completing.of("policysets"))
]
Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="One policy set; all of them without it.", autocompletion=completing.of("policysets")
    ),
]
ToCommit = Annotated[str | None, typer.Option("--to", metavar="COMMIT", help="The whole id of a commit.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (status, approve, rollback, resume):
        app.command()(command)


@chooses_hub
def status(name: Name = None, output: OutputFormat = Output.TABLE, watch: Watch = False, *, hub: HubChoice) -> None:
    """Show what each cluster holds of each policy set, and the last change by hand.

    Exit 3 if a cluster does not hold it, or if Git could not be read.

    \b
    Examples:
      atoll policy status
      atoll policy status seismology --watch
    """
    from atoll.cli import policies
    from atoll.cli.hub import connect

    with connect(hub) as api:
        held = policies.show_status(api, name, output, watch=watch)
    if not held:
        raise typer.Exit(3)


@chooses_hub
def approve(name: SetName, dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Let the commit that waits into the wave that asks for it.

    \b
    Example:
      atoll policy approve seismology
    """
    from atoll.cli import policy_changes
    from atoll.cli.hub import connect

    with connect(hub) as api:
        policy_changes.approve(api, name, dry_run=dry_run)


@chooses_hub
def rollback(name: SetName, to: ToCommit = None, dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Put an earlier commit in force everywhere at once, and keep it there until 'policy resume'.

    Without --to it is the last commit that all clusters held before the newest one.

    \b
    Example:
      atoll policy rollback seismology
    """
    from atoll.cli import policy_changes
    from atoll.cli.hub import connect

    with connect(hub) as api:
        policy_changes.rollback(api, name, to, dry_run=dry_run)


@chooses_hub
def resume(name: SetName, dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Follow Git again after a rollback; the newest commit begins with the first wave.

    \b
    Example:
      atoll policy resume seismology
    """
    from atoll.cli import policy_changes
    from atoll.cli.hub import connect

    with connect(hub) as api:
        policy_changes.resume(api, name, dry_run=dry_run)
