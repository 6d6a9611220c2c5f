"""`job run`: a Job manifest out of command-line options, checked before it is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import BY_NAME, GROUP_VERSION, validation
from atoll.federation.resources.job import JobEnd

_ENDS: tuple[str, ...] = get_args(JobEnd)


@dataclass(frozen=True)
class Request:
    """What a person asked for, as typed."""

    name: str | None
    queue: str
    command: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    gpus: int
    gpu_models: tuple[str, ...]
    cpu: str
    memory: str
    expected: str | None
    priority: int
    image: str
    loss_policy: str = ""
    array: int | None = None
    max_parallel: int | None = None
    retries: int = 0
    variables: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    time_limit: str | None = None
    is_held: bool = False


def job_manifest(request: Request, namespace: str, environment: Mapping[str, str] = MappingProxyType({})) -> Json:
    """Make the manifest. Pure.

    Args:
        environment: where a variable without a value is looked up.

    Raises:
        InvalidInput: an option is not of the form it should have.
    """
    spec: Json = {
        "queue": request.queue,
        "priority": request.priority,
        "inputs": [{"dataset": name, "mountPath": path} for name, path in mounts("--input", request.inputs)],
        "outputs": [{"dataset": name, "mountPath": path} for name, path in mounts("--output", request.outputs)],
        "workload": {"apiVersion": "batch/v1", "kind": "Job", "spec": _pod(request, environment)},
    }
    if request.depends_on:
        spec["dependsOn"] = [dependency(each) for each in request.depends_on]
    if request.time_limit:
        spec["timeLimit"] = request.time_limit
    if request.is_held:
        spec["held"] = True
    if request.gpu_models and not request.gpus:
        raise InvalidInput("--gpu-model: say how many with --gpus")
    if request.gpus:
        spec["gpu"] = {"count": request.gpus, "models": list(request.gpu_models)}
    if request.expected:
        spec["expectedDuration"] = request.expected
    if request.max_parallel is not None and request.array is None:
        raise InvalidInput("--max-parallel: it is for arrays: say how many tasks there are with --array")
    if request.array is not None:
        at_once = {} if request.max_parallel is None else {"maxParallel": request.max_parallel}
        spec["array"] = {"count": request.array, **at_once}
    if request.retries:
        spec["retries"] = request.retries
    if request.loss_policy:
        spec["lossPolicy"] = request.loss_policy
    named = {"name": request.name} if request.name is not None else {"generateName": "run-"}
    metadata = {**named, "namespace": namespace}
    return {"apiVersion": GROUP_VERSION, "kind": "Job", "metadata": metadata, "spec": spec}


def submit(api: Api, manifest: Json, *, dry_run: bool) -> str:
    """Create the job; give its name.

    Raises:
        InvalidInput: a field is wrong or something it names does not exist.
        Conflict: a job of this name exists.
    """
    ref = kinds.atoll("Job")
    _, problems = validation.parse(BY_NAME[ref.name], manifest)
    if problems:
        raise InvalidInput("no job was created, because:", [f"{p.field}: {p.message}" for p in problems])
    made = api.create(ref.collection(manifest["metadata"]["namespace"]), manifest, dry_run=dry_run)
    return str(made["metadata"]["name"])


def mounts(option: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """Read what is mounted as (dataset, path).

    Raises:
        InvalidInput: one is not DATASET:/PATH.
    """
    found = []
    for value in values:
        dataset, colon, path = value.partition(":")
        if not dataset or not colon or not path.startswith("/"):
            raise InvalidInput(f"{option} {value}: should be DATASET:/PATH, such as shots.2026-11-22:/data")
        found.append((dataset, path))
    return found


def dependency(text: str) -> Json:
    """Read JOB or JOB:END as an entry of spec.dependsOn.

    Raises:
        InvalidInput: it is neither.
    """
    job, colon, end = text.partition(":")
    if not job or (colon and end not in _ENDS):
        ends = ", ".join(_ENDS)
        raise InvalidInput(f"--depends-on {text}: should be JOB or JOB:END, where END is one of {ends}")
    return {"job": job, **({"condition": end} if end else {})}


def variable(text: str, environment: Mapping[str, str]) -> Json:
    """Read NAME=VALUE, or NAME for one that is set here, as an entry of a container's env.

    Raises:
        InvalidInput: it has no name, or no value anywhere.
    """
    name, equals, value = text.partition("=")
    if not name:
        raise InvalidInput(f"--env {text}: should be NAME=VALUE, such as SEED=7")
    if not equals and name not in environment:
        raise InvalidInput(f"--env {name}: it is not set here: write {name}=VALUE")
    return {"name": name, "value": value if equals else environment[name]}


def _pod(request: Request, environment: Mapping[str, str]) -> Json:
    container = {
        "name": "main",
        "image": request.image,
        "command": list(request.command),
        **({"env": [variable(each, environment) for each in request.variables]} if request.variables else {}),
        "resources": {"requests": {"cpu": request.cpu, "memory": request.memory}},
    }
    return {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}}
