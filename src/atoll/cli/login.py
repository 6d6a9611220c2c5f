"""`atoll login`, `whoami` and `context`: which hub commands speak to, and as whom."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.options import DryRun, ObjectFormat, ObjectOutput, Output, RecordFormat, RecordOutput

context = typer.Typer(
    cls=Noun, no_args_is_help=True, help="Contexts: the hubs that this machine knows, in your kubeconfig."
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The context.", autocompletion=completing.contexts)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(login)
    app.command()(whoami)
    app.add_typer(context, name="context")


def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="The hub, such as https://hub.lab.org:8700.")],
    token: Annotated[
        str, typer.Option("--token", help="The token; others see it in the list of processes: prefer the next.")
    ] = "",
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from standard input.")] = False,
    certificate_authority: Annotated[
        Path | None, typer.Option("--certificate-authority", metavar="FILE", help="CA that signed its certificate.")
    ] = None,
    name: Annotated[
        str, typer.Option("--context", metavar="NAME", help="Name of the context; default: atoll- and the hub's host.")
    ] = "",
) -> None:
    """Log in to a hub: it becomes the current context of your kubeconfig.

    The hub checks the token first. It is asked for if it is not given. An administrator issues one with
    'atoll token issue'; an ID token of the identity provider that the hub trusts does, too.

    \b
    Examples:
      atoll login https://hub.lab.org:8700 --certificate-authority ca.crt
      pass show atoll | atoll login https://hub.lab.org:8700 --token-stdin
    """
    from atoll.cli import logins

    logins.login(url, logins.read_token(token, from_stdin=token_stdin), ca_file=certificate_authority, name=name)


@chooses_hub
def whoami(output: RecordFormat = RecordOutput.TABLE, *, hub: HubChoice) -> None:
    """Show who the hub takes you for, and what role you have.

    \b
    Example:
      atoll whoami
    """
    from atoll.cli import identities

    identities.show(hub, Output(output))


@context.command("list")
def list_(output: ObjectFormat = ObjectOutput.TABLE) -> None:
    """Show the hubs that your kubeconfig knows.

    \b
    Example:
      atoll context list
    """
    from atoll.cli import contexts

    contexts.show(Output(output))


@context.command()
def use(name: Name, dry_run: DryRun = False) -> None:
    """Make a context the current one, for atoll and for kubectl.

    \b
    Example:
      atoll context use atoll
    """
    from atoll.cli import contexts

    contexts.use(name, dry_run=dry_run)


@context.command()
def remove(name: Name, dry_run: DryRun = False) -> None:
    """Forget a hub, with the credentials for it.

    \b
    Example:
      atoll context remove atoll-hub.lab.org
    """
    from atoll.cli import contexts

    contexts.remove(name, dry_run=dry_run)
