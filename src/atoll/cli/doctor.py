"""`atoll doctor`: how this machine, the hub, NATS and the members are, and what to do about what is not well."""

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import RecordFormat, RecordOutput


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


@chooses_hub
def doctor(output: RecordFormat = RecordOutput.TABLE, *, hub: HubChoice) -> None:
    """Examine this machine, the hub, NATS, agents and gateways, and say what to do about what is not well.

    Clocks are measured, and so is until when certificates and credentials are good. What your role may not see is
    told. Nothing is changed. The exit code is 0 if there is no problem (warnings are none), and 3 if there is one.

    \b
    Examples:
      atoll doctor
      atoll doctor --server https://hub.lab.org:8700 -o json
    """
    from atoll.cli.checkup import report

    raise typer.Exit(report.run(hub, output))
