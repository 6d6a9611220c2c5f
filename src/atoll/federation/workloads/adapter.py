"""The form in which Atoll knows a kind of workload: a small mapping of paths, no code.

Owns the words of that form; kinds are declared with them in the files beside it. All paths of a group are seen from the
group's own place, `Group.at`; one that begins with `/` is seen from the workload as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

StatePhase = Literal["Pending", "Starting", "Running", "Succeeded", "Failed"]


@dataclass(frozen=True)
class Amounts:
    """Where a pod's amounts stand in kinds that do not write them as a container's resources.

    The first path at which something stands counts. Memory is in the JVM's units, where `g` is what Kubernetes writes
    `Gi`. Where no `overhead` is written, it is a factor of the memory and at least `overhead_least`.
    """

    cpu: tuple[str, ...]
    memory: tuple[str, ...]
    default_cpu: str = "1"
    default_memory: str = "1g"
    overhead: str | None = None
    overhead_factor: float = 0.0
    overhead_factor_at: str | None = None
    overhead_least: str = "0"
    gpus: str | None = None
    gpu_name: str | None = None


@dataclass(frozen=True)
class PodParts:
    """Where the parts of a group's pods stand.

    Attributes:
        containers, init_containers: every container; `resources` is seen from one of them.
        patch: the container into which mounts and environment are written, if not into all of them; it may be missing.
        affinity, affinity_else: the affinity, and the one that counts where there is none.
        grace: seconds from SIGTERM to SIGKILL.
        pod: a whole pod spec, if the kind has one; without it, a pod is what stands at the other paths.
        amounts: what a pod asks for, if the kind does not write it as resources of containers.
    """

    containers: tuple[str, ...]
    labels: str
    annotations: str
    volumes: str
    affinity: str
    node_selector: str
    init_containers: str | None = None
    patch: str | None = None
    affinity_else: str | None = None
    scheduler_name: str | None = None
    grace: str | None = None
    pod: str | None = None
    amounts: Amounts | None = None
    resources: str = "resources"


def pod_template(at: str = "template") -> PodParts:
    """Give the parts of a PodTemplateSpec, or of a Pod where `at` is empty."""
    base = f"{at}." if at else ""
    return PodParts(
        pod=f"{base}spec",
        containers=(f"{base}spec.containers[*]",),
        init_containers=f"{base}spec.initContainers[*]",
        labels=f"{base}metadata.labels",
        annotations=f"{base}metadata.annotations",
        volumes=f"{base}spec.volumes",
        affinity=f"{base}spec.affinity",
        node_selector=f"{base}spec.nodeSelector",
        scheduler_name=f"{base}spec.schedulerName",
        grace=f"{base}spec.terminationGracePeriodSeconds",
    )


@dataclass(frozen=True)
class Number:
    """A whole number in a workload, or its default.

    Attributes:
        at: where it stands; `least` is the least that may stand there.
        no_less, no_more: paths of numbers that bound it.
        up_to: path of the number to which the kind scales it by itself, `if_set` being what switches that on.
        per: path of the number by which it is divided, rounded up.
        minus: what is taken off in the end.
    """

    at: str
    default: int = 1
    least: int = 0
    no_less: str | None = None
    no_more: str | None = None
    up_to: str | None = None
    if_set: str | None = None
    per: str | None = None
    minus: int = 0


@dataclass(frozen=True)
class Group:
    """Equal pods of a workload.

    Attributes:
        role: what they are; `*` means the name that stands there.
        at: the place of the group; with `[*]`, each place is a group of its own.
        parts: where a pod's parts stand; `otherwise`: where they stand if there is nothing.
        count: how many run at once: the product of these numbers.
        takes_gpus: whether `spec.gpu` of the job is meant for them.
        is_required: whether a workload without them is malformed.
    """

    role: str
    at: str
    parts: PodParts = field(default_factory=pod_template)
    otherwise: PodParts | None = None
    count: tuple[Number, ...] = ()
    takes_gpus: bool = True
    is_required: bool = False


@dataclass(frozen=True)
class Nested:
    """A workload inside a workload, of which `times` run at once."""

    at: str
    times: Number


@dataclass(frozen=True)
class Suspend:
    """The field that keeps a workload from starting, and its two values."""

    at: str
    on: Any = True
    off: Any = False


@dataclass(frozen=True)
class When:
    """One way to tell a phase: the value at a path is one of these. `reason` and `message` are paths too."""

    phase: StatePhase | Literal["Suspended"]
    at: str
    values: frozenset[str]
    reason: str = ""
    message: str = ""


def condition(phase: StatePhase | Literal["Suspended"], type_: str) -> When:
    """Tell a phase by a condition that is True."""
    at = f"status.conditions[type={type_}]"
    return When(phase, f"{at}.status", frozenset({"True"}), f"{at}.reason", f"{at}.message")


@dataclass(frozen=True)
class Adapter:
    """One kind of workload.

    Attributes:
        groups: its pods; `nested`: it holds a workload of another kind instead.
        in_turns: any of its groups run, so many pods at once in all; the number is written where it is missing.
        is_gang: its pods are of no use one without the other.
        is_service: it never ends by itself. That its time is over is its success.
        suspend: how it is kept from starting; None: it cannot be.
        status: how its phase is told, the first that holds; where none does, its pods tell.
        details: what else is told of a failure, by path and in words.
        started, finished: paths of instants, the first that is there.
        pods: label selector of its pods, `{name}` being its own name.
        time_limit: the field in seconds after which its operator ends it; None: there is none.
        fixed: what Atoll writes into every workload of the kind, by path: a retry is a new Run, decided by the hub.
        fixed_if: what it writes besides where something stands at a path.
        kueue: the label of Kueue stands on the workload ("object"), on its pods ("pods"), or it is not known to Kueue.
        volcano, yunikorn: what is written for these schedulers besides what stands in the pods, by path; `{queue}` is
            the queue's name.
    """

    api_version: str
    kind: str
    plural: str
    groups: tuple[Group, ...] = ()
    nested: Nested | None = None
    in_turns: Number | None = None
    is_gang: bool = False
    is_service: bool = False
    suspend: Suspend | None = None
    status: tuple[When, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    started: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    pods: str = "atoll.dev/run={name}"
    time_limit: str | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    fixed_if: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    kueue: Literal["object", "pods"] | None = "object"
    volcano: Mapping[str, str] = field(default_factory=dict)
    yunikorn: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_grace(self) -> bool:
        """Whether its pods can be told how long they may take to end; of a workload inside, its own kind tells."""
        return self.nested is not None or all(group.parts.grace is not None for group in self.groups)

    def __str__(self) -> str:
        """Name the kind as messages do."""
        return f"{self.kind} ({self.api_version})"
