"""`atoll policy library`: the ready-made policies, what each does and what to change, and a way into a repository."""

from pathlib import Path
from typing import Annotated

import typer

from atoll.cli.groups import Noun
from atoll.cli.options import RecordFormat, RecordOutput

app = typer.Typer(cls=Noun, help="Ready-made policies, each with its test.")


def _names(incomplete: str) -> list[str]:
    from atoll.policies.library.catalogue import read_library

    return [policy.name for policy in read_library() if policy.name.startswith(incomplete)]


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A policy of the library; 'list' has all.", autocompletion=_names)
]
Into = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of policies, made if it is missing.")]


@app.callback(invoke_without_command=True)
def library(context: typer.Context) -> None:
    """List the ready-made policies; 'show' and 'write' take the name of one.

    \b
    Example:
      atoll policy library
    """
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(output: RecordFormat = RecordOutput.TABLE) -> None:
    """List the ready-made policies.

    \b
    Example:
      atoll policy library list -o json
    """
    from atoll.cli import policy_shelf

    policy_shelf.show_all(output)


@app.command()
def show(name: Name, output: RecordFormat = RecordOutput.TABLE) -> None:
    """Show what a policy does, what it leaves alone and what to change, then its manifests.

    \b
    Example:
      atoll policy library show namespace-isolation
    """
    from atoll.cli import policy_shelf

    policy_shelf.show_one(name, output)


@app.command()
def write(name: Name, folder: Into = Path("policies")) -> None:
    """Put a policy and its test into a folder, for you to change; a file that is there is never written over.

    \b
    Example:
      atoll policy library write namespace-isolation policies/
    """
    from atoll.cli import policy_shelf

    policy_shelf.write(name, folder)
