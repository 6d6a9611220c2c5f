"""`atoll job run`: a command becomes a job."""

import os
from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import Command, DryRun, LossPolicy, Namespace

Queue = Annotated[str, typer.Option("--queue", help="Queue to wait in.", autocompletion=completing.of("queues"))]
Name = Annotated[str | None, typer.Option("--name", help="Name of the job; default: run- and what the hub adds.")]
Inputs = Annotated[
    list[str],
    typer.Option(
        "--input", metavar="DATASET:PATH", help="Mount a dataset, read-only.", autocompletion=completing.mounts
    ),
]
Outputs = Annotated[list[str], typer.Option("--output", metavar="DATASET:PATH", help="Keep PATH as a dataset.")]
Gpus = Annotated[int, typer.Option("--gpus", min=0, help="GPUs.")]
GpuModels = Annotated[
    list[str], typer.Option("--gpu-model", metavar="MODEL", help="A GPU model that will do; best first.")
]
Cpu = Annotated[str, typer.Option("--cpu", help="CPUs to request, such as 500m or 4.")]
Memory = Annotated[str, typer.Option("--memory", help="Memory to request, such as 2Gi.")]
Expected = Annotated[
    str | None,
    typer.Option("--expected", help="How long it probably runs, such as 20m; else as learned, or an hour."),
]
Loss = Annotated[
    LossPolicy,
    typer.Option(
        case_sensitive=False,
        help="If its cluster is lost or drained: stay there, move when it has stopped, or run beside it.",
    ),
]
Priority = Annotated[int, typer.Option("--priority", help="Higher goes first within the queue.")]
Array = Annotated[
    int | None,
    typer.Option("--array", min=1, metavar="COUNT", help="Run it COUNT times; each has its number as ATOLL_TASK."),
]
MaxParallel = Annotated[
    int | None, typer.Option("--max-parallel", min=1, help="Tasks of the array that run at once at most.")
]
Variables = Annotated[
    list[str], typer.Option("--env", metavar="NAME=VALUE", help="Set a variable; NAME alone takes the one of here.")
]
Hold = Annotated[bool, typer.Option("--hold", help="Let it wait until atoll job release.")]
DependsOn = Annotated[
    list[str],
    typer.Option(
        "--depends-on", metavar="JOB[:END]", help="Begin when JOB has ended: Succeeded (default), Failed or Finished."
    ),
]
TimeLimit = Annotated[str | None, typer.Option("--time-limit", help="End it after so long, such as 2h.")]
Retries = Annotated[int, typer.Option("--retries", min=0, help="Further attempts after failures.")]
Image = Annotated[str, typer.Option("--image", help="Container image; the sandbox runs the command without it.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when it has finished; exit 3 if it failed.")]
Follow = Annotated[bool, typer.Option("--follow", help="Print its log until it has finished.")]


@chooses_hub
def run(  # noqa: PLR0913, PLR0917 - an option of a command line is a parameter to typer
    command: Command,
    queue: Queue,
    name: Name = None,
    namespace: Namespace = "default",
    inputs: Inputs = [],  # noqa: B006 - typer copies the default of a list option
    outputs: Outputs = [],  # noqa: B006 - as above
    gpus: Gpus = 0,
    gpu_models: GpuModels = [],  # noqa: B006 - as above
    cpu: Cpu = "100m",
    memory: Memory = "128Mi",
    expected: Expected = None,
    loss_policy: Loss = LossPolicy.WAIT,
    priority: Priority = 0,
    array: Array = None,
    max_parallel: MaxParallel = None,
    retries: Retries = 0,
    variables: Variables = [],  # noqa: B006 - as above
    depends_on: DependsOn = [],  # noqa: B006 - as above
    time_limit: TimeLimit = None,
    hold: Hold = False,
    image: Image = "python:3.13-slim",
    wait: Wait = False,
    follow: Follow = False,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Submit a command as a job.

    \b
    Examples:
      atoll job run --name count -n seismology --queue seismology.interactive \\
        --input shots.2026-11-22:/data --follow -- sh -c 'ls -lR /data'
      atoll job run --queue lab --depends-on count --env SEED=7 \\
        --time-limit 2h --retries 2 -- python fit.py
    """
    from atoll.cli import job_logs, submitting
    from atoll.cli.hub import connect
    from atoll.cli.output import hint, say

    request = submitting.Request(
        name=name, queue=queue, command=tuple(command), inputs=tuple(inputs), outputs=tuple(outputs), gpus=gpus,
        gpu_models=tuple(gpu_models), cpu=cpu, memory=memory, expected=expected, priority=priority, image=image,
        loss_policy=str(loss_policy), array=array, max_parallel=max_parallel, retries=retries,
        variables=tuple(variables), depends_on=tuple(depends_on), time_limit=time_limit, is_held=hold,
    )  # fmt: skip
    manifest = submitting.job_manifest(request, namespace, os.environ)
    with connect(hub) as api:
        made = submitting.submit(api, manifest, dry_run=dry_run)
        say(f"job.atoll.dev/{made} created{' (dry run)' if dry_run else ''}")
        if namespace == "default":
            hint("it is in namespace default, since no other was named (-n, ATOLL_NAMESPACE)")
        if (wait or follow) and not dry_run:
            raise typer.Exit(job_logs.see_through(api, namespace, made, with_log=follow))
