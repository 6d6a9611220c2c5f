"""`atoll version`: of this program, and of the hub that it would speak to."""

from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(version)


def print_own() -> None:
    """Print the version of this program."""
    from atoll import __version__
    from atoll.cli.output import say

    say(f"atoll {__version__}")


@chooses_hub
def version(
    client: Annotated[bool, typer.Option("--client", help="Of this program only: ask no hub.")] = False,
    *,
    hub: HubChoice,
) -> None:
    """Print the version of this program, and that of the hub if there is one.

    \b
    Examples:
      atoll version
      atoll version --client
    """
    print_own()
    if client:
        return
    from atoll.cli.versions import of_hub

    of_hub(hub)
