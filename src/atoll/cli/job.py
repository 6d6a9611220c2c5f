"""`atoll job`: run work where its data is, see why it went there, read what it prints, wait for it, stop it."""

from typing import Annotated

import typer

from atoll.cli import completing, job_changing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.job_choosing import Wanted, wants_jobs
from atoll.cli.job_run import run
from atoll.cli.options import (
    AllNamespaces,
    Command,
    JobName,
    Namespace,
    Output,
    OutputFormat,
    RecordFormat,
    RecordOutput,
    Watch,
)

_HELP = """Jobs: work that the hub places where it finishes first.

\b
Examples:
  atoll job run --queue lab --gpus 1 --follow -- python fit.py
  atoll job list --user me --phase Active
  atoll job logs fit -f
"""
app = typer.Typer(cls=Noun, no_args_is_help=True, help=_HELP)
Timeout = Annotated[str, typer.Option("--timeout", help="Longest wait, such as 90s or 2h.")]


app.command()(run)


@app.command("list")
@chooses_hub
@wants_jobs
def list_(
    namespace: Namespace = "default",
    all_namespaces: AllNamespaces = False,
    output: OutputFormat = Output.TABLE,
    watch: Watch = False,
    *,
    wanted: Wanted,
    hub: HubChoice,
) -> None:
    """Show the jobs; -o wide has whose they are. --phase Active: those that have not ended.

    \b
    Examples:
      atoll job list -A -w
      atoll job list -A --user me --phase Active
      atoll job list -n seismology --queue lab -l campaign=2026
    """
    from atoll.cli import jobs

    jobs.show_list("" if all_namespaces else namespace, wanted, output=output, watch=watch, hub=hub)


@app.command()
@chooses_hub
def explain(
    name: JobName,
    namespace: Namespace = "default",
    output: RecordFormat = RecordOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Show why a job went where it went, or why it waits.

    Every cluster stands there with its seconds, or with the reason why it is out of the question.

    \b
    Example:
      atoll job explain picks -n seismology
    """
    from atoll.cli import explaining
    from atoll.cli.hub import connect

    with connect(hub) as api:
        explaining.explain(api, namespace, name, Output(output))


@app.command()
@chooses_hub
def logs(  # noqa: PLR0913 - an option of a command line is a parameter to typer
    name: JobName,
    namespace: Namespace = "default",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has finished.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only the last lines.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Only what was printed since, such as 10m.")
    ] = None,
    task: Annotated[
        int | None, typer.Option("--task", min=0, help="Of an array: only this task; sbatch's index.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="An earlier run of the job: 1 is its first.")
    ] = None,
    prefix: Annotated[
        bool, typer.Option("--prefix", help="Before each line, the task or the pod that printed it.")
    ] = False,
    *,
    hub: HubChoice,
) -> None:
    """Print what a job has printed, wherever it runs.

    That of its newest run, and of a task the newest run that had it.

    With -f it goes on from attempt to attempt. Of pods that were stopped, as by cancel and requeue, the last 64 KiB
    of each are kept where they ran.

    \b
    Examples:
      atoll job logs picks -n seismology -f
      atoll job logs sweep -n seismology --task 7
      atoll job logs sweep -n seismology --attempt 1 --prefix
    """
    from atoll.cli import job_logs
    from atoll.cli.hub import connect

    with connect(hub) as api:
        wish = job_logs.Wish(
            follow=follow, tail=tail, since_seconds=job_logs.since_of(since), task=task, attempt=attempt, prefix=prefix
        )
        job_logs.print_log(api, namespace, name, wish)


@app.command()
@chooses_hub
def top(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="The job; default: all that run.", autocompletion=completing.of("jobs")),
    ] = None,
    namespace: Namespace = "default",
    all_namespaces: AllNamespaces = False,
    output: RecordFormat = RecordOutput.TABLE,
    watch: Watch = False,
    *,
    hub: HubChoice,
) -> None:
    """Show what the pods of jobs use, of what they asked for.

    \b
    Examples:
      atoll job top -A
      atoll job top picks -n seismology --watch
    """
    from atoll.cli import top as top_
    from atoll.cli.hub import connect

    with connect(hub) as api:
        where = "" if all_namespaces and not name else namespace
        raise typer.Exit(top_.show(api, where, name, Output(output), watch=watch))


@app.command("exec")
@chooses_hub
def exec_(
    name: JobName,
    command: Command,
    namespace: Namespace = "default",
    pod: Annotated[str | None, typer.Option("--pod", help="Which pod of the run; default: its first.")] = None,
    container: Annotated[str | None, typer.Option("--container", "-c", help="Which container of the pod.")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass on what is typed here.")] = False,
    terminal: Annotated[bool, typer.Option("--tty", "-t", help="With a terminal, as a shell wants it.")] = False,
    *,
    hub: HubChoice,
) -> None:
    """Run a command in a pod of a job, wherever that is.

    Its exit code is this command's.

    \b
    Examples:
      atoll job exec picks -n seismology -- nvidia-smi
      atoll job exec picks -n seismology -it -- sh
    """
    from atoll.cli import jobs
    from atoll.cli.hub import connect

    wanted = jobs.RemoteCommand(tuple(command), pod, container, has_stdin=stdin, wants_terminal=terminal)
    with connect(hub) as api:
        raise typer.Exit(jobs.execute(api, namespace, name, wanted))


@app.command()
@chooses_hub
def wait(name: JobName, namespace: Namespace = "default", timeout: Timeout = "1h", *, hub: HubChoice) -> None:
    """Wait until a job has finished. Exit 0 if it succeeded, 3 if it did not or the time is over.

    \b
    Example:
      atoll job wait picks -n seismology --timeout 10m
    """
    from atoll.cli import jobs, progress
    from atoll.cli.hub import connect
    from atoll.federation.capacity import parse_duration

    seconds = parse_duration(timeout)
    with connect(hub) as api, progress.waiting(f"job/{name} has not ended"):
        code = jobs.wait(api, namespace, name, timeout_seconds=seconds)
    raise typer.Exit(code)


for changing in (job_changing.cancel, job_changing.requeue, job_changing.hold, job_changing.release):
    app.command()(changing)
