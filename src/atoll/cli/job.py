"""`atoll job`: run work where its data is, see why it went there, read what it prints, wait for it, stop it."""

from typing import Annotated

import typer

from atoll.cli import job_changing
from atoll.cli.choosing import HubChoice, chooses_hub
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

app = typer.Typer(no_args_is_help=True, help="Jobs: work that the hub places where it finishes first.")
Timeout = Annotated[str, typer.Option("--timeout", help="Longest wait, such as 90s or 2h.")]


app.command()(run)


@app.command("list")
@chooses_hub
def list_(
    namespace: Namespace = "default",
    all_namespaces: AllNamespaces = False,
    user: Annotated[str, typer.Option("--user", metavar="me|NAME", help="Only jobs that this user submitted.")] = "",
    output: OutputFormat = Output.TABLE,
    watch: Watch = False,
    *,
    hub: HubChoice,
) -> None:
    """Show the jobs; -o wide has whose they are.

    \b
    Examples:
      atoll job list -A -w
      atoll job list -A --user me
    """
    from atoll.cli import jobs

    jobs.show_list("" if all_namespaces else namespace, user, output=output, watch=watch, hub=hub)


@app.command()
@chooses_hub
def explain(
    name: JobName,
    namespace: Namespace = "default",
    output: RecordFormat = RecordOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Show why a job went where it went, or why it waits: every cluster with its seconds or its reason.

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
def logs(
    name: JobName,
    namespace: Namespace = "default",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has finished.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only the last lines.")] = None,
    task: Annotated[
        int | None, typer.Option("--task", min=0, help="Of an array: only this task; sbatch's index.")
    ] = None,
    *,
    hub: HubChoice,
) -> None:
    """Print what a job's newest run printed, wherever it runs; of a task, the newest run that had it.

    Pods that are stopped are removed, by cancel and requeue too, and their output with them: -f keeps it, and goes on
    from attempt to attempt.

    \b
    Examples:
      atoll job logs picks -n seismology -f
      atoll job logs sweep -n seismology --task 7
    """
    from atoll.cli import jobs
    from atoll.cli.hub import connect

    with connect(hub) as api:
        jobs.print_log(api, namespace, name, follow=follow, tail=tail, task=task)


@app.command()
@chooses_hub
def top(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The job; default: all that run.")] = None,
    namespace: Namespace = "default",
    all_namespaces: AllNamespaces = False,
    output: RecordFormat = RecordOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Show what the pods of jobs use at this moment, of what they asked for.

    \b
    Example:
      atoll job top -A
    """
    from atoll.cli import top as top_
    from atoll.cli.hub import connect

    with connect(hub) as api:
        raise typer.Exit(top_.show(api, "" if all_namespaces and not name else namespace, name, Output(output)))


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
    """Run a command in a container of a job that runs, wherever that is. Its exit code is this command's.

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
    from atoll.cli import jobs
    from atoll.cli.hub import connect
    from atoll.federation.capacity import parse_duration

    seconds = parse_duration(timeout)
    with connect(hub) as api:
        raise typer.Exit(jobs.wait(api, namespace, name, timeout_seconds=seconds))


for changing in (job_changing.cancel, job_changing.requeue, job_changing.hold, job_changing.release):
    app.command()(changing)
