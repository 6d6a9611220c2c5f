"""`job run`: a Job manifest out of command-line options, checked before it is sent."""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import GROUP_VERSION, validation


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


def job_manifest(request: Request, namespace: str) -> Json:
    """Make the manifest. Pure.

    Raises:
        InvalidInput: an option is not of the form it should have.
    """
    spec: Json = {
        "queue": request.queue,
        "priority": request.priority,
        "inputs": [{"dataset": name, "mountPath": path} for name, path in mounts("--input", request.inputs)],
        "outputs": [{"dataset": name, "mountPath": path} for name, path in mounts("--output", request.outputs)],
        "workload": {"apiVersion": "batch/v1", "kind": "Job", "spec": _pod(request)},
    }
    if request.gpu_models and not request.gpus:
        raise InvalidInput("--gpu-model: say how many with --gpus")
    if request.gpus:
        spec["gpu"] = {"count": request.gpus, "models": list(request.gpu_models)}
    if request.expected:
        spec["expectedDuration"] = request.expected
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
    assert ref.kind is not None
    _, problems = validation.parse(ref.kind, manifest)
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


def _pod(request: Request) -> Json:
    container = {
        "name": "main",
        "image": request.image,
        "command": list(request.command),
        "resources": {"requests": {"cpu": request.cpu, "memory": request.memory}},
    }
    return {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}}
