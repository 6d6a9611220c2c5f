"""What a job asks of a cluster, as values: pods, GPUs, data, time and the price of time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from atoll.federation.capacity import (
    SHAPE_LABELS,
    ResourceVector,
    Shape,
    demand_of_pod_spec,
    gpu_matches,
    parse_bytes,
    parse_duration,
    unknown_resources,
)
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Dataset, Job, JobSpec, LabelSelector, Queue, resolve

# Stands in for a duration that nobody gave. Shorter: data is staged for work that would not pay it back. Longer: every
# wait behind such a job looks hopeless, and faster GPUs are preferred at any price.
DEFAULT_DURATION_SECONDS = 3600.0
# Kubernetes' limit for Indexed Jobs (pkg/apis/batch/validation: maxParallelismForIndexedJob).
MAX_PODS = 100_000
# Sums of this many bytes still fit into 64 bits for hundreds of inputs.
_MAX_INPUT_BYTES = 2**53
_TEMPLATE = "spec.workload.spec.template.spec"
DurationSource = Literal["expectedDuration", "timeLimit", "default"]
DatasetKey = tuple[str, str]


@dataclass(frozen=True)
class PodDemand:
    """One pod: its resources and which nodes will do. No models means any GPU."""

    resources: ResourceVector
    gpu_models: tuple[str, ...] = ()
    gpu_memory_bytes: int = 0
    node_labels: frozenset[tuple[str, str]] = frozenset()

    def suits(self, shape: Shape) -> bool:
        """Tell whether a node of that shape is of the right sort, however full it is."""
        return self.suits_model(shape) and self.suits_memory(shape) and self.suits_labels(shape)

    def suits_model(self, shape: Shape) -> bool:
        """Tell whether the node's GPU is of a wanted model."""
        if not self.resources.gpus:
            return True
        product = shape.gpu_model
        return product is not None and (
            not self.gpu_models or any(gpu_matches(model, product) for model in self.gpu_models)
        )

    def suits_memory(self, shape: Shape) -> bool:
        """Tell whether each of the node's GPUs has the memory."""
        return not self.resources.gpus or shape.gpu_memory_bytes >= self.gpu_memory_bytes

    def suits_labels(self, shape: Shape) -> bool:
        """Tell whether the node has the labels that the pod selects; a shape without any label does not say."""
        return not shape.labels or self.node_labels <= shape.labels


@dataclass(frozen=True)
class InputDemand:
    """One input: the version to read, its size, and which clusters hold a whole copy of it."""

    namespace: str
    dataset: str
    version: int
    bytes: int
    replicas: tuple[str, ...]
    residency: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.dataset}"


@dataclass(frozen=True)
class Demand:
    """What a job asks for. `duration_seconds` is meant on `duration_gpu`, where one was named."""

    job: str
    pod: PodDemand
    count: int = 1
    inputs: tuple[InputDemand, ...] = ()
    outputs: tuple[str, ...] = ()
    clusters: LabelSelector = field(default_factory=LabelSelector)
    residency: tuple[str, ...] = ()
    duration_seconds: float = DEFAULT_DURATION_SECONDS
    duration_source: DurationSource = "default"
    seconds_per_currency: float = 0.0
    unknown_resources: tuple[str, ...] = ()

    @property
    def duration_gpu(self) -> str | None:
        """The GPU model that the expected duration is understood for: the first that the job names."""
        return self.pod.gpu_models[0] if self.pod.gpu_models else None

    @property
    def gpus(self) -> int:
        """GPUs of all pods together."""
        return self.pod.resources.gpus * self.count

    @property
    def likeness(self) -> tuple[object, ...]:
        """What a decision depends on but the job's name: demands of equal likeness have equal verdicts and scores."""
        return (
            self.pod, self.count, self.inputs, self.outputs, self.clusters.model_dump_json(), self.residency,
            self.duration_seconds, self.seconds_per_currency, self.unknown_resources,
        )  # fmt: skip

    @property
    def needs_storage(self) -> bool:
        """Whether a dataset volume is mounted at all."""
        return bool(self.inputs or self.outputs)


def demand_of_job(job: Job, queue: Queue, datasets: Mapping[DatasetKey, Dataset]) -> Demand:
    """Read what a job asks for.

    Args:
        job: the job.
        queue: its queue, for the price of time.
        datasets: every dataset by namespace and name; each input of the job must be among them.

    Raises:
        InvalidInput: a quantity, duration or count in the job is malformed; the message names the field.
    """
    spec, namespace = job.spec, job.metadata.namespace or ""
    (pod, count), (duration, source) = pods_of_job(spec), duration_of_job(spec)
    return Demand(
        job=job.key,
        pod=pod,
        count=count,
        inputs=tuple(_input(datasets[key], key) for key in input_keys(spec, namespace)),
        outputs=tuple(output.dataset for output in spec.outputs),
        clusters=spec.placement.clusters,
        residency=spec.placement.residency,
        duration_seconds=duration,
        duration_source=source,
        seconds_per_currency=queue.spec.seconds_per_currency,
        unknown_resources=unknown_resources(_pod_spec(spec)),
    )


def pods_of_job(spec: JobSpec) -> tuple[PodDemand, int]:
    """Tell what one pod of a job asks for, and how many run at once.

    Raises:
        InvalidInput: a quantity or count is malformed; the message names the field.
    """
    return _pod(spec, _pod_spec(spec)), _count(spec.workload.spec)


def duration_of_job(spec: JobSpec) -> tuple[float, DurationSource]:
    """Give the seconds that a job is expected to run, and where that number is from."""
    if spec.expected_duration:
        return parse_duration(spec.expected_duration), "expectedDuration"
    if spec.time_limit:
        return parse_duration(spec.time_limit), "timeLimit"
    return DEFAULT_DURATION_SECONDS, "default"


def input_keys(spec: JobSpec, namespace: str) -> tuple[DatasetKey, ...]:
    """Name the datasets that a job of that namespace reads."""
    return tuple(resolve(mount.dataset, namespace) for mount in spec.inputs)


def _pod_spec(spec: JobSpec) -> Mapping[str, Any]:
    template = spec.workload.spec["template"]
    return cast(Mapping[str, Any], template["spec"])


def _pod(spec: JobSpec, pod_spec: Mapping[str, Any]) -> PodDemand:
    """`spec.gpu` wins over the pod template: the hub writes it into the manifest."""
    try:
        resources = demand_of_pod_spec(pod_spec)
    except InvalidInput as error:
        raise _at_its_place(error, pod_spec) from error
    selector = pod_spec.get("nodeSelector") or {}
    if not isinstance(selector, Mapping):
        raise InvalidInput(f"{_TEMPLATE}.nodeSelector is no mapping")
    labels = frozenset((key, value) for key, value in selector.items() if key in SHAPE_LABELS)
    gpu = spec.gpu
    if gpu is None:
        return PodDemand(resources, node_labels=labels)
    resources = ResourceVector(resources.millicores, resources.memory_bytes, gpu.count)
    return PodDemand(resources, gpu.models, parse_bytes(gpu.memory) if gpu.memory else 0, labels)


def _at_its_place(error: InvalidInput, pod_spec: Mapping[str, Any]) -> InvalidInput:
    """Name the field of the first quantity that is none, or the whole template where its form is wrong."""
    for path, value in _quantities(pod_spec):
        try:
            parse_bytes(value)
        except InvalidInput as found:
            return InvalidInput(f"{_TEMPLATE}{path}: {found}")
    return InvalidInput(f"{_TEMPLATE}: {error}")


def _quantities(pod_spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give every quantity of a pod with its path in the template, as far as the form is right."""
    for group in ("initContainers", "containers"):
        containers = pod_spec.get(group)
        for index, container in enumerate(containers if isinstance(containers, list | tuple) else ()):
            resources = _part(container, "resources")
            for role in ("requests", "limits"):
                for name, value in _part(resources, role).items():
                    yield f".{group}[{index}].resources.{role}.{name}", value
    for name, value in _part(pod_spec, "overhead").items():
        yield f".overhead.{name}", value


def _part(parent: object, name: str) -> Mapping[str, Any]:
    """Give the mapping in a field; empty where there is none."""
    value = parent.get(name) if isinstance(parent, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _count(workload_spec: Mapping[str, Any]) -> int:
    """Count the pods that run at once: batch/v1 Job starts no more than it has completions left."""
    counts = {name: workload_spec.get(name) for name in ("parallelism", "completions")}
    for name, value in counts.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_PODS):
            raise InvalidInput(
                f"spec.workload.spec.{name}: {value!r} is not allowed: write a whole number, 1 to {MAX_PODS}"
            )
    parallelism, completions = counts["parallelism"] or 1, counts["completions"]
    return parallelism if completions is None else min(parallelism, completions)


def _input(dataset: Dataset, key: DatasetKey) -> InputDemand:
    status, home = dataset.status, dataset.spec.home
    holders = {replica.cluster for replica in status.replicas if replica.version == status.version}
    if not status.complete and home:
        holders.add(home)  # a growing version is nowhere but where it is written
    size = min(status.bytes, _MAX_INPUT_BYTES)
    return InputDemand(*key, status.version, size, tuple(sorted(holders)), dataset.spec.residency)
