"""The `atoll` command: its nouns, and the one place where an error becomes a line and an exit code.

Exit codes: 0 done, 1 error, 2 usage, 3 a condition that was asked about does not hold, 130 interrupted.
"""

import sys
from typing import Annotated, NoReturn

import typer

from atoll.cli import (
    apply,
    audit,
    backup,
    cluster,
    dataset,
    demo,
    doctor,
    get,
    job,
    listings,
    local,
    login,
    mesh,
    policy,
    processes,
    queue,
    sandbox,
    sbatch,
    support,
    token,
    version,
    whatif,
)
from atoll.cli.groups import Root

app = typer.Typer(
    name="atoll",
    cls=Root,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,  # plain help starts in half the time and greps well
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        version.print_own()
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Atoll: from the instrument to a verified dataset to a job that runs where the data is.

    \b
    Begin with:
      atoll demo              see the whole of it work, in half a minute
      atoll sandbox up        a federation of four simulated clusters to play with
      atoll get clusters      what is there
    """


for commands in (demo, local, apply, get, login, audit, sbatch, doctor, backup, support, version):
    commands.register(app)
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(cluster.app, name="cluster")
app.add_typer(queue.app, name="queue")
app.add_typer(job.app, name="job")
app.add_typer(dataset.app, name="dataset")
app.add_typer(mesh.app, name="mesh")
app.add_typer(policy.app, name="policy")
app.add_typer(token.app, name="token")
app.add_typer(whatif.app, name="whatif")
listings.register(app)
processes.register(app)


def run() -> NoReturn:
    """Run the command line and exit."""
    try:
        app(prog_name="atoll")
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the edge of the process: no traceback reaches a person
        from atoll.cli.failure import report

        sys.exit(report(error))
    sys.exit(0)
