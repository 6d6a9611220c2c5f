"""`atoll job`: run work where its data is, see why it went there, read what it prints, wait for it, stop it."""

from collections.abc import Callable
from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.listings import show_all
from atoll.cli.options import (
    AllNamespaces,
    DryRun,
    LossPolicy,
    Namespace,
    Output,
    OutputFormat,
    RecordFormat,
    RecordOutput,
    Watch,
)

app = typer.Typer(no_args_is_help=True, help="Jobs: work that the hub places where it finishes first.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The job.")]
Command = Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What the container runs.")]
Timeout = Annotated[str, typer.Option("--timeout", help="Longest wait, such as 90s or 2h.")]


@app.command()
@chooses_hub
def run(  # noqa: PLR0913, PLR0917 - an option of a command line is a parameter to typer
    command: Command,
    queue: Annotated[str, typer.Option("--queue", help="Queue to wait in.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the job; default: run- and what the hub adds.")
    ] = None,
    namespace: Namespace = "default",
    inputs: Annotated[
        list[str], typer.Option("--input", metavar="DATASET:PATH", help="Mount a dataset, read-only.")
    ] = [],  # noqa: B006 - typer copies the default of a list option
    outputs: Annotated[
        list[str], typer.Option("--output", metavar="DATASET:PATH", help="Keep PATH as a dataset.")
    ] = [],  # noqa: B006 - as above
    gpus: Annotated[int, typer.Option("--gpus", min=0, help="GPUs.")] = 0,
    gpu_models: Annotated[
        list[str], typer.Option("--gpu-model", metavar="MODEL", help="A GPU model that will do; best first.")
    ] = [],  # noqa: B006 - as above
    cpu: Annotated[str, typer.Option("--cpu", help="CPUs to request, such as 500m or 4.")] = "100m",
    memory: Annotated[str, typer.Option("--memory", help="Memory to request, such as 2Gi.")] = "128Mi",
    expected: Annotated[
        str | None,
        typer.Option("--expected", help="How long it probably runs, such as 20m; without it, an hour."),
    ] = None,
    loss_policy: Annotated[
        LossPolicy,
        typer.Option(help="If its cluster is lost or drained: stay there, move when it has stopped, or run beside it."),
    ] = LossPolicy.WAIT,
    priority: Annotated[int, typer.Option("--priority", help="Higher goes first within the queue.")] = 0,
    image: Annotated[
        str, typer.Option("--image", help="Container image; the sandbox runs the command without it.")
    ] = "python:3.13-slim",
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has finished; exit 3 if it failed.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Print its log until it has finished.")] = False,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Submit a command as a job.

    \b
    Example:
      atoll job run --name count -n seismology --queue seismology.interactive \\
        --input shots.2026-11-22:/data --follow -- sh -c 'ls -lR /data'
    """
    from atoll.cli import jobs, submitting
    from atoll.cli.hub import connect
    from atoll.cli.output import say

    request = submitting.Request(
        name=name, queue=queue, command=tuple(command), inputs=tuple(inputs), outputs=tuple(outputs), gpus=gpus,
        gpu_models=tuple(gpu_models), cpu=cpu, memory=memory, expected=expected, priority=priority, image=image,
        loss_policy=str(loss_policy),
    )  # fmt: skip
    manifest = submitting.job_manifest(request, namespace)
    with connect(hub) as api:
        made = submitting.submit(api, manifest, dry_run=dry_run)
        say(f"job.atoll.dev/{made} created{' (dry run)' if dry_run else ''}")
        if (wait or follow) and not dry_run:
            raise typer.Exit(jobs.see_through(api, namespace, made, with_log=follow))


@app.command("list")
@chooses_hub
def list_(
    namespace: Namespace = "default",
    all_namespaces: AllNamespaces = False,
    output: OutputFormat = Output.TABLE,
    watch: Watch = False,
    *,
    hub: HubChoice,
) -> None:
    """Show the jobs.

    \b
    Example:
      atoll job list -A -w
    """
    show_all("jobs", "" if all_namespaces else namespace, output=output, watch=watch, hub=hub)


@app.command()
@chooses_hub
def explain(
    name: Name,
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
    name: Name,
    namespace: Namespace = "default",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has finished.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only the last lines.")] = None,
    *,
    hub: HubChoice,
) -> None:
    """Print what a job's newest run printed, wherever it runs.

    \b
    Example:
      atoll job logs picks -n seismology -f
    """
    from atoll.cli import jobs
    from atoll.cli.hub import connect

    with connect(hub) as api:
        jobs.print_log(api, namespace, name, follow=follow, tail=tail)


@app.command()
@chooses_hub
def wait(name: Name, namespace: Namespace = "default", timeout: Timeout = "1h", *, hub: HubChoice) -> None:
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


@app.command()
@chooses_hub
def cancel(name: Name, namespace: Namespace = "default", dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Stop a job; its record stays.

    \b
    Example:
      atoll job cancel picks -n seismology
    """
    from atoll.cli import jobs

    _change(jobs.cancel, name, namespace, dry_run=dry_run, hub=hub)


@app.command()
@chooses_hub
def hold(name: Name, namespace: Namespace = "default", dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Keep a job from being placed until it is released. One that runs already goes on.

    \b
    Example:
      atoll job hold picks -n seismology
    """
    from atoll.cli import jobs

    _change(jobs.hold, name, namespace, dry_run=dry_run, hub=hub)


@app.command()
@chooses_hub
def release(name: Name, namespace: Namespace = "default", dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Let a job be placed that was held. It keeps its place in the queue.

    \b
    Example:
      atoll job release picks -n seismology
    """
    from atoll.cli import jobs

    _change(jobs.release, name, namespace, dry_run=dry_run, hub=hub)


def _change(change: Callable[..., str], name: str, namespace: str, *, dry_run: bool, hub: HubChoice) -> None:
    """Have a job changed, and say what came of it."""
    from atoll.cli.hub import connect
    from atoll.cli.output import say

    with connect(hub) as api:
        outcome = change(api, namespace, name, dry_run=dry_run)
    say(f"job.atoll.dev/{name} {outcome}{' (dry run)' if dry_run else ''}")
