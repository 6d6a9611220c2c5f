"""`atoll sbatch`: submit an unchanged Slurm script, with sbatch's own options and those that Slurm has no words for."""

from typing import Annotated

import typer

from atoll.cli import completing
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.slurm_options import META, SbatchCommand

Script = Annotated[str, typer.Argument(metavar="FILE", help="The script; standard input if left out.")]
Arguments = Annotated[list[str], typer.Argument(metavar="ARGUMENT", help="Arguments of the script.")]
Queue = Annotated[str | None, typer.Option(help="Queue to wait in; default: the partition's, $ATOLL_QUEUE.")]
# Without the short form that it has elsewhere: -n is how many tasks.
Namespace = Annotated[str, typer.Option(envvar="ATOLL_NAMESPACE", help="Namespace.")]
Image = Annotated[
    str | None, typer.Option(help="Container image; default: --container-image, $ATOLL_IMAGE, python:3.13-slim.")
]
Input = Annotated[
    list[str],
    typer.Option(
        "--input", metavar="DATASET:PATH", help="Mount a dataset, read-only.", autocompletion=completing.mounts
    ),
]
Output = Annotated[list[str], typer.Option("--output-dataset", metavar="DATASET:PATH", help="Keep PATH as a dataset.")]
PartitionQueue = Annotated[
    list[str],
    typer.Option(
        "--partition-queue",
        metavar="P=QUEUE",
        envvar="ATOLL_PARTITION_QUEUES",
        help="The queue of a partition; default: the one of its name.",
    ),
]
Feature = Annotated[
    list[str],
    typer.Option(
        "--feature", metavar="F=LABEL=VALUE", envvar="ATOLL_FEATURES", help="The node label that a feature is."
    ),
]
Follow = Annotated[bool, typer.Option("--follow", help="Print its log until it has finished.")]
Manifest = Annotated[bool, typer.Option("--manifest", help="Print the Job as YAML and submit nothing.")]
TestOnly = Annotated[bool, typer.Option("--dry-run", help="Same as --test-only.")]


def register(app: typer.Typer) -> None:
    """Add the command; what stands after the script is the script's."""
    app.command(cls=SbatchCommand, context_settings={"allow_interspersed_args": False})(sbatch)


@chooses_hub
def sbatch(  # noqa: PLR0913 - an option of a command line is a parameter to typer
    ctx: typer.Context,
    script: Script = "-",
    arguments: Arguments = [],  # noqa: B006 - typer copies the default of a list option
    *,
    queue: Queue = None,
    namespace: Namespace = "default",
    image: Image = None,
    inputs: Input = [],  # noqa: B006 - as above
    outputs: Output = [],  # noqa: B006 - as above
    partition_queues: PartitionQueue = [],  # noqa: B006 - as above
    features: Feature = [],  # noqa: B006 - as above
    follow: Follow = False,
    manifest: Manifest = False,
    dry_run: TestOnly = False,
    hub: HubChoice,
) -> None:
    """Submit a Slurm script as it is.

    The script becomes a Job of one pod, or of a pod for each task of its array. Its #SBATCH lines, the SBATCH_
    variables and the options given here count in this order. What cannot be kept is refused by name; what is left out
    without harm is told. Relative paths are of the first --output-dataset.

    \b
    Examples:
      atoll sbatch --queue seismology.interactive train.sh
      atoll sbatch --image pytorch/pytorch --input shots:/data \\
        --output-dataset model:/out -p gpu train.sh --epochs 9
      atoll sbatch --array 0-99%10 --manifest train.sh
    """
    from atoll.cli import batching
    from atoll.cli.hub import connect
    from atoll.cli.output import hint, say, to_yaml

    choices = batching.Choices(
        script=script, arguments=tuple(arguments), queue=queue, namespace=namespace, image=image, inputs=inputs,
        outputs=outputs, partition_queues=partition_queues, features=features, slurm=ctx.meta[META],
    )  # fmt: skip
    batch = batching.read(choices)
    for note in () if batch.asks_for("quiet") else batch.notes:
        hint(f"note: {note}")
    if manifest:
        if batch.demand.after:  # only the hub knows the names of numbers
            with connect(hub) as api:
                batch = batching.with_names(api, batch)
        say(to_yaml(batch.manifest_of(batching.number())).rstrip())
        return
    with connect(hub) as api:
        raise typer.Exit(batching.submit(api, batch, dry_run=dry_run, follow=follow))
