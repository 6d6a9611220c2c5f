"""What `sbatch` does: reads the script and its surroundings, and submits it under a number as Slurm's jobs have."""

import getpass
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.cli import job_logs, kinds, replaying, submitting
from atoll.cli.api import Api
from atoll.cli.output import hint, say
from atoll.cli.slurm.job import ARRAY_ANNOTATION, NUMBER_LABEL, Batch, Surroundings, prepare
from atoll.cli.slurm.options import OPTIONS
from atoll.cli.slurm.script import MAX_SCRIPT_BYTES, Given, read_script, read_variables, wrapped
from atoll.cli.slurm.site import Site, features_of, partitions_of
from atoll.federation.errors import Conflict, InvalidInput

# Numbers of nine or ten digits: scripts compute ports and seeds from them, and numpy takes seeds below 2^32.
_LEAST, _END = 100_000_000, 2**31
_TRIES = 3
_IMAGE = "python:3.13-slim"


@dataclass(frozen=True)
class Choices:
    """What was typed."""

    script: str
    arguments: tuple[str, ...]
    queue: str | None
    namespace: str
    image: str | None
    inputs: Sequence[str]
    outputs: Sequence[str]
    partition_queues: Sequence[str]
    features: Sequence[str]
    slurm: Sequence[Given]


def read(choices: Choices) -> Batch:
    """Read the script and all that has a say in it.

    Raises:
        InvalidInput: something cannot be kept; `problems` names all of it. OSError: the script cannot be read.
    """
    content, name = _script(choices)
    site = Site(
        queue=choices.queue,
        default_queue=os.environ.get("ATOLL_QUEUE"),
        partitions=partitions_of(choices.partition_queues),
        features=features_of(choices.features),
        environment=os.environ,
    )
    around = Surroundings(
        namespace=choices.namespace,
        image=os.environ.get("ATOLL_IMAGE") or _IMAGE,
        inputs=submitting.mounts("--input", choices.inputs),
        outputs=submitting.mounts("--output-dataset", choices.outputs),
        arguments=choices.arguments,
        user=_user(),
    )
    image = [Given(OPTIONS["container-image"], choices.image, "command line")] if choices.image else []
    layers = (read_variables(os.environ), [*choices.slurm, *image])
    return prepare(read_script(content), layers, site, around, name=name)


def with_names(api: Api, batch: Batch) -> Batch:
    """Find the jobs that a batch comes after by their numbers.

    Raises:
        InvalidInput: there is no job of a number.
    """
    if not batch.demand.after:
        return batch
    numbers = ",".join(sorted({str(each.number) for each in batch.demand.after}))
    path = kinds.atoll("Job").collection(batch.around.namespace)
    found = api.get(path, {"labelSelector": f"{NUMBER_LABEL} in ({numbers})"})["items"]
    metadata = [each["metadata"] for each in found]
    numbered = {int(each["labels"][NUMBER_LABEL]): each for each in metadata}
    arrays = {number: (each.get("annotations") or {}).get(ARRAY_ANNOTATION, "") for number, each in numbered.items()}
    return batch.knowing({number: each["name"] for number, each in numbered.items()}).beside(arrays)


def submit(api: Api, batch: Batch, *, dry_run: bool, follow: bool) -> int:
    """Create the job, tell it as sbatch does, and wait for its end if that is asked for; give the exit code.

    Raises:
        InvalidInput: a field is wrong or something it names does not exist.
    """
    batch = with_names(api, batch)
    is_dry, namespace = dry_run or batch.asks_for("test-only"), batch.around.namespace
    drawn, name = _create(api, batch, dry_run=is_dry)
    manifest = batch.manifest_of(drawn)
    if is_dry:
        hint(f"job.atoll.dev/{name} can be submitted (dry run): {replaying.outlook(api, namespace, manifest)}")
        return 0
    say(str(drawn) if batch.asks_for("parsable") else f"Submitted batch job {drawn}")
    sys.stdout.flush()  # who reads the number does not wait for the job
    if not batch.asks_for("quiet"):
        hint(f"it is job/{name}; atoll job logs {name} -n {namespace} -f")
    if follow or batch.asks_for("wait"):
        return job_logs.see_through(api, namespace, name, with_log=follow)
    return 0


def _create(api: Api, batch: Batch, *, dry_run: bool) -> tuple[int, str]:
    """Create the job under a number that no other of its name has; give the number and the job's name."""
    for left in reversed(range(_TRIES)):
        drawn = number()
        try:
            return drawn, submitting.submit(api, batch.manifest_of(drawn), dry_run=dry_run)
        except Conflict:
            if not left:
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def number() -> int:
    """Draw a number. The hub counts nothing for Slurm; that a name is there twice, it refuses."""
    return _LEAST + secrets.randbelow(_END - _LEAST)


def _script(choices: Choices) -> tuple[bytes, str]:
    """Give the script's text and what its job is called if nobody says, as sbatch calls it."""
    if command := next((given.value for given in choices.slurm if given.option.name == "wrap"), ""):
        if choices.script != "-":
            raise InvalidInput("--wrap: takes the place of a script, and one is given")
        return wrapped(command).encode(), "wrap"
    if choices.script == "-":
        return sys.stdin.buffer.read(MAX_SCRIPT_BYTES + 1), "sbatch"
    path = Path(choices.script)
    with path.open("rb") as file:
        return file.read(MAX_SCRIPT_BYTES + 1), path.name


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())
