"""`atoll token`: secrets by which programs and people prove who they are. For administrators."""

from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.options import DryRun, Output, OutputFormat, Watch

app = typer.Typer(cls=Noun, no_args_is_help=True, help="Tokens: how people and programs log in.")


@app.command()
@chooses_hub
def issue(  # noqa: PLR0913 - an option of a command line is a parameter to typer
    user: Annotated[str, typer.Argument(metavar="USER", help="Whom the hub takes its bearer for.")],
    role: Annotated[
        str, typer.Option("--role", help="Viewer, Submitter, Operator or Admin; without one, what RoleBindings grant.")
    ] = "",
    namespaces: Annotated[
        list[str],
        typer.Option(
            "--namespace",
            "-n",
            metavar="NAME",
            help="Where the role holds; default: everywhere.",
            autocompletion=completing.of("namespaces"),
        ),
    ] = [],  # noqa: B006 - typer copies the default of a list option
    queues: Annotated[
        list[str],
        typer.Option(
            "--queue",
            metavar="NAME",
            help="Queues a Submitter may use, with those below them.",
            autocompletion=completing.of("queues"),
        ),
    ] = [],  # noqa: B006 - as above
    groups: Annotated[list[str], typer.Option("--group", metavar="NAME", help="A group that the bearer is in.")] = [],  # noqa: B006 - as above
    lifetime: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it is good; 365d at most.")] = "30d",
    description: Annotated[str, typer.Option("--description", help="What it is for, for who reads the list.")] = "",
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Issue a token. It is printed once, alone on stdout, and kept nowhere: the hub keeps its SHA-256.

    \b
    Examples:
      atoll token issue ada --role Submitter -n weather --queue weather.batch
      atoll token issue ci --role Operator --for 90d > token && gh secret set ATOLL_TOKEN < token
    """
    from atoll.cli import tokens

    wanted = tokens.Wanted(
        user=user, role=role.capitalize(), namespaces=tuple(namespaces), queues=tuple(queues), groups=tuple(groups),
        lifetime=lifetime, description=description,
    )  # fmt: skip
    tokens.issue(hub, wanted, dry_run=dry_run)


@app.command("list")
@chooses_hub
def list_(output: OutputFormat = Output.TABLE, watch: Watch = False, *, hub: HubChoice) -> None:
    """Show the tokens, without their secrets; -o wide has groups, who issued them, and what for.

    \b
    Examples:
      atoll token list
      atoll token list -o wide -w
    """
    from atoll.cli import tokens

    tokens.show(hub, output, watch=watch)


@app.command()
@chooses_hub
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as 'atoll token list' shows it.")],
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Revoke a token: it is refused from this moment on.

    \b
    Example:
      atoll token revoke 3f9a0c11d2ee
    """
    from atoll.cli import tokens

    tokens.revoke(hub, token_id, dry_run=dry_run)
