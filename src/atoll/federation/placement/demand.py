"""What a job asks of a cluster, as values: pods, GPUs, data, time and the price of time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

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
from atoll.federation.estimates import RunTime
from atoll.federation.placement.speeds import relative_speed
from atoll.federation.resources import Dataset, Job, JobSpec, LabelSelector, Queue, resolve
from atoll.federation.workloads import PodGroup, kinds_of, pod_groups

# Stands in for a duration that nobody gave. Shorter: data is staged for work that would not pay it back. Longer: every
# wait behind such a job looks hopeless, and faster GPUs are preferred at any price.
DEFAULT_DURATION_SECONDS = 3600.0
# Sums of this many bytes still fit into 64 bits for hundreds of inputs.
_MAX_INPUT_BYTES = 2**53
_WORKLOAD = "spec.workload"
_JOB = ("batch/v1", "Job")
DurationSource = Literal["expectedDuration", "learned", "timeLimit", "default"]
DatasetKey = tuple[str, str]


@dataclass(frozen=True)
class PodDemand:
    """One pod: its resources and which nodes will do. No models means any GPU."""

    resources: ResourceVector
    gpu_models: tuple[str, ...] = ()
    gpu_memory_bytes: int = 0
    node_labels: frozenset[tuple[str, str]] = frozenset()
    _suited: dict[tuple[object, ...], bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def _hash(self) -> int:
        return hash((self.resources, self.gpu_models, self.gpu_memory_bytes, self.node_labels))

    def __hash__(self) -> int:
        """Give the same for equal ones; worked out once, for it is looked up with at every step."""
        return self._hash

    def suits(self, shape: Shape) -> bool:
        """Tell whether a node of that shape is of the right sort, however full it is; once for each sort."""
        sort = (shape.gpu_model, shape.gpu_memory_bytes, shape.labels)
        known = self._suited.get(sort)
        if known is None:
            known = self.suits_model(shape) and self.suits_memory(shape) and self.suits_labels(shape)
            self._suited[sort] = known
        return known

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


Pods = tuple[tuple[PodDemand, int], ...]
"""Groups of equal pods, all of which start at once."""


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
    """What a job asks for. `duration_seconds` is meant on `duration_gpu`, where one was named.

    `count` pods run at once, and those of the groups `beside` them too; `roles` names all groups if there are several.
    `kinds` are what a cluster has to serve, as apiVersion and kind.
    """

    job: str
    pod: PodDemand
    count: int = 1
    beside: Pods = ()
    roles: tuple[str, ...] = ()
    kinds: tuple[tuple[str, str], ...] = (_JOB,)
    inputs: tuple[InputDemand, ...] = ()
    outputs: tuple[str, ...] = ()
    clusters: LabelSelector = field(default_factory=LabelSelector)
    residency: tuple[str, ...] = ()
    duration_seconds: float = DEFAULT_DURATION_SECONDS
    duration_source: DurationSource = "default"
    learned: RunTime | None = None
    seconds_per_currency: float = 0.0
    unknown_resources: tuple[str, ...] = ()

    @property
    def duration_gpu(self) -> str | None:
        """The GPU model that the expected duration is understood for: the first that the job names."""
        return self.pod.gpu_models[0] if self.pod.gpu_models else None

    @property
    def gpus(self) -> int:
        """GPUs of all pods together."""
        return sum(pod.resources.gpus * count for pod, count in self.pods)

    @property
    def millicores(self) -> int:
        """CPU of all pods together."""
        return sum(pod.resources.millicores * count for pod, count in self.pods)

    @property
    def pods(self) -> Pods:
        """All groups of pods."""
        return ((self.pod, self.count), *self.beside)

    def with_group(self, number: int, pod: PodDemand, count: int) -> "Demand":
        """Ask for another group in the place of one."""
        if number == 0:
            return replace(self, pod=pod, count=count)
        others = self.beside
        return replace(self, beside=(*others[: number - 1], (pod, count), *others[number:]))

    def only(self, number: int) -> "Demand":
        """Ask for one group alone."""
        pod, count = self.pods[number]
        return replace(self, pod=pod, count=count, beside=(), roles=())

    @property
    def likeness(self) -> tuple[object, ...]:
        """What a decision depends on but the job's name: demands of equal likeness have equal verdicts and scores."""
        return (
            self.pod, self.count, self.beside, self.roles, self.kinds, self.inputs, self.outputs,
            self.clusters.model_dump_json(), self.residency, self.duration_seconds, self.learned,
            self.seconds_per_currency, self.unknown_resources,
        )  # fmt: skip

    @property
    def speeds(self) -> tuple[tuple[str, float], ...]:
        """How fast this very work ran on GPU products, beside the reference."""
        return self.learned.speeds if self.learned is not None else ()

    def speed_of(self, model: str) -> float | None:
        """Give the relative speed of a model or product for this work: learned, else published; None if unknown."""
        known = next((speed for name, speed in self.speeds if name == model or gpu_matches(model, name)), None)
        return relative_speed(model) if known is None else known

    @property
    def reference_speed(self) -> float:
        """The relative speed of the GPU that the duration is meant for; 1.0 where none is named or known."""
        return (self.speed_of(self.duration_gpu) or 1.0) if self.duration_gpu else 1.0

    @property
    def needs_storage(self) -> bool:
        """Whether a dataset volume is mounted at all."""
        return bool(self.inputs or self.outputs)


def demand_of_job(
    job: Job, queue: Queue, datasets: Mapping[DatasetKey, Dataset], *, run_time: RunTime | None = None
) -> Demand:
    """Read what a job asks for.

    Args:
        job: the job.
        queue: its queue, for the price of time.
        datasets: every dataset by namespace and name; each input of the job must be among them.
        run_time: what runs of such work have taken; None if that is not known.

    Raises:
        InvalidInput: a quantity, duration or count in the job is malformed; the message names the field.
    """
    spec, namespace = job.spec, job.metadata.namespace or ""
    given, (duration, source) = _pod_groups(spec), duration_of_job(spec)
    groups = _groups(spec, given)
    (_, pod, count), *beside = groups
    demand = Demand(
        job=job.key,
        pod=pod,
        count=count,
        beside=tuple((each, times) for _, each, times in beside),
        roles=tuple(role for role, _, _ in groups) if beside else (),
        kinds=kinds_of(spec.workload.manifest()),
        inputs=tuple(_input(datasets[key], key) for key in input_keys(spec, namespace)),
        outputs=tuple(output.dataset for output in spec.outputs),
        clusters=spec.placement.clusters,
        residency=spec.placement.residency,
        duration_seconds=duration,
        duration_source=source,
        learned=run_time,
        seconds_per_currency=queue.spec.seconds_per_currency,
        unknown_resources=tuple(sorted({name for group in given for name in unknown_resources(group.pod)})),
    )
    return demand if run_time is None else _with_learned_duration(demand, run_time)


def _with_learned_duration(demand: Demand, run_time: RunTime) -> Demand:
    """Expect what was learned, unless the user knows better; no run outlasts its time limit."""
    if demand.duration_source == "expectedDuration":
        return demand
    seconds = run_time.seconds / demand.reference_speed
    most = demand.duration_seconds if demand.duration_source == "timeLimit" else seconds
    return replace(demand, duration_seconds=min(seconds, most), duration_source="learned")


def pods_of_job(spec: JobSpec) -> Pods:
    """Tell which pods of a job run at once, by groups of equal ones; those that matter most are first.

    Raises:
        InvalidInput: a quantity or count is malformed; the message names the field.
    """
    return tuple((pod, count) for _, pod, count in _groups(spec, _pod_groups(spec)))


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


def _groups(spec: JobSpec, given: Iterable[PodGroup]) -> list[tuple[str, PodDemand, int]]:
    """Read the groups of a job's pods, with their roles. Groups that ask for the same are one."""
    if spec.array is not None:  # an array begins where one of its tasks fits
        return [(group.role, _pod(spec, group), 1) for group in given]
    if spec.gpu is not None and not any(group.takes_gpus for group in given):
        raise InvalidInput(f"spec.gpu: no pods of this {spec.workload.adapter} take GPUs: ask for them in its own spec")
    merged: dict[PodDemand, tuple[str, int]] = {}
    for group in given:
        pod = _pod(spec, group)
        role, count = merged.get(pod, (group.role, 0))
        merged[pod] = (role, count + group.count)
    found = [(role, pod, count) for pod, (role, count) in merged.items()]
    return sorted(found, key=lambda each: _size(each[1]), reverse=True)


def _size(pod: PodDemand) -> tuple[int, int, int]:
    return (pod.resources.gpus, pod.resources.millicores, pod.resources.memory_bytes)


def _pod_groups(spec: JobSpec) -> tuple[PodGroup, ...]:
    try:
        return pod_groups(spec.workload.manifest())
    except InvalidInput as error:
        raise InvalidInput(f"{_WORKLOAD}.{error}") from error


def _pod(spec: JobSpec, group: PodGroup) -> PodDemand:
    """`spec.gpu` wins over the pod template: the hub writes it into the manifest."""
    path, pod_spec = f"{_WORKLOAD}.{group.path}", group.pod
    try:
        resources = demand_of_pod_spec(pod_spec)
    except InvalidInput as error:
        raise _at_its_place(error, path, pod_spec) from error
    selector = pod_spec.get("nodeSelector") or {}
    if not isinstance(selector, Mapping):
        raise InvalidInput(f"{path}.nodeSelector is no mapping")
    labels = frozenset((key, str(value)) for key, value in selector.items() if key in SHAPE_LABELS)
    gpu = spec.gpu if group.takes_gpus else None
    if gpu is None:
        return PodDemand(resources, node_labels=labels)
    resources = ResourceVector(resources.millicores, resources.memory_bytes, gpu.count)
    return PodDemand(resources, gpu.models, parse_bytes(gpu.memory) if gpu.memory else 0, labels)


def _at_its_place(error: InvalidInput, where: str, pod_spec: Mapping[str, Any]) -> InvalidInput:
    """Name the field of the first quantity that is none, or the whole template where its form is wrong."""
    for path, value in _quantities(pod_spec):
        try:
            parse_bytes(value)
        except InvalidInput as found:
            return InvalidInput(f"{where}{path}: {found}")
    return InvalidInput(f"{where}: {error}")


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


def _input(dataset: Dataset, key: DatasetKey) -> InputDemand:
    status, home = dataset.status, dataset.spec.home
    holders = {replica.cluster for replica in status.replicas if replica.version == status.version}
    if not status.complete and home:
        holders.add(home)  # a growing version is nowhere but where it is written
    size = min(status.bytes, _MAX_INPUT_BYTES)
    return InputDemand(*key, status.version, size, tuple(sorted(holders)), dataset.spec.residency)
