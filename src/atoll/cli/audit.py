"""`atoll audit`: who changed what, when, from where, and what came of it."""

from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import LogFormat, LogOutput, Output


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


@chooses_hub
def audit(  # noqa: PLR0913, PLR0917 - an option of a command line is a parameter to typer
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How long back, or an instant.")] = "24h",
    user: Annotated[str, typer.Option("--user", help="Only what this user asked for.")] = "",
    verb: Annotated[str, typer.Option("--verb", help="Only create, update, patch, delete, …")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Only objects of this kind, such as job.")] = "",
    namespace: Annotated[
        str,
        typer.Option("--namespace", "-n", help="Only in this namespace.", autocompletion=completing.of("namespaces")),
    ] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only what was refused, failed or never ended.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the newest so many.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes until Ctrl-C.")] = False,
    output: LogFormat = LogOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Show who changed what and what came of it, the newest last.

    Administrators see the records of all, everybody else their own. -o json prints one record a line.

    \b
    Examples:
      atoll audit --since 1h --failed
      atoll audit --user ada --kind job -f
    """
    from atoll.cli import audits

    wanted = audits.Wanted(
        since=since, user=user, verb=verb, kind=kind, namespace=namespace, failed=failed, limit=limit, follow=follow
    )
    audits.show(hub, wanted, Output(output))
