"""Workloads with something changed: suspended, labelled, queued, limited in time. What is given is never touched.

Owns the writing by a kind's adapter. What a job adds to its pods stands in additions.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from atoll.federation.errors import InvalidInput
from atoll.federation.workloads.adapter import Adapter
from atoll.federation.workloads.groups import parts_of, placed_groups
from atoll.federation.workloads.kubernetes import POD, POD_LIST
from atoll.federation.workloads.paths import first, put
from atoll.federation.workloads.registry import adapter_of

Json = Mapping[str, Any]
Manifest = dict[str, Any]

TIME_LIMIT_SECONDS = "atoll.dev/time-limit-seconds"
_KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_VOLCANO_QUEUE = "scheduling.volcano.sh/queue-name"
_SLURM_JOB = "slurmjob.slinky.slurm.net/"
_YUNIKORN_APP, _YUNIKORN_QUEUE = "applicationId", "queue"


@dataclass(frozen=True)
class Engine:
    """The batch engine of a cluster that is to queue a workload, and its queue there; empty: its own choice."""

    name: Literal["Kueue", "Volcano", "YuniKorn", "Slinky"]
    queue: str = ""


def copied(workload: Json) -> Manifest:
    """Copy a manifest without fields that are null: to Kubernetes they are absent."""
    return {key: _copied(child) for key, child in workload.items() if child is not None}


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return copied(value)
    return [_copied(child) for child in value] if isinstance(value, list | tuple) else value


def can_suspend(workload: Json) -> bool:
    """Tell whether a workload's kind has a field that keeps it from starting."""
    return adapter_of(workload).suspend is not None


def is_suspended(workload: Json) -> bool:
    """Tell whether a workload is to stay as it is."""
    suspend = adapter_of(workload).suspend
    return suspend is not None and first(workload, suspend.at) == suspend.on


def with_suspend(workload: Json, suspended: bool) -> Manifest:
    """Suspend a workload, or let it start.

    Raises:
        InvalidInput: its kind has no such field.
    """
    adapter, result = adapter_of(workload), copied(workload)
    if adapter.suspend is None:
        raise InvalidInput(f"{adapter} cannot be suspended")
    put(result, adapter.suspend.at, adapter.suspend.on if suspended else adapter.suspend.off)
    return result


def with_annotations(workload: Json, annotations: Mapping[str, str]) -> Manifest:
    """Annotate the workload itself, not its pods."""
    result = copied(workload)
    merge(result, "metadata.annotations", annotations)
    return result


def with_labels(workload: Json, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> Manifest:
    """Label (and annotate) a workload and all its pods."""
    result = copied(workload)
    merge(result, "metadata.labels", labels)
    merge(result, "metadata.annotations", annotations or {})
    label_pods(result, labels, annotations or {})
    return result


def with_engine(workload: Json, engine: Engine) -> Manifest:
    """Hand a workload to the batch engine of its cluster.

    Raises:
        InvalidInput: the engine does not know the kind.
    """
    adapter, result = adapter_of(workload), copied(workload)
    match engine.name:
        case "Kueue":
            _queue_in_kueue(adapter, result, engine.queue)
        case "Volcano":
            label_pods(result, {}, {_VOLCANO_QUEUE: engine.queue} if engine.queue else {})
            _schedule(result, "volcano")
            _fill(result, adapter.volcano, engine.queue)
        case "YuniKorn":
            application = str(first(result, "metadata.name") or "")
            queue = {_YUNIKORN_QUEUE: engine.queue} if engine.queue else {}
            label_pods(result, {_YUNIKORN_APP: application, **queue}, {})
            _schedule(result, "yunikorn")
            _fill(result, adapter.yunikorn, engine.queue)
        case "Slinky":
            merge(result, "metadata.annotations", _as_slurm_job(workload, engine.queue))
            _schedule(result, "slurm-bridge-scheduler")
    return result


def pod_selector(workload: Json) -> str:
    """Give the label selector of a workload's pods."""
    return adapter_of(workload).pods.replace("{name}", str(first(workload, "metadata.name") or ""))


def time_limit_of(workload: Json) -> int | None:
    """Tell after how many seconds a workload is ended; None: never."""
    adapter = adapter_of(workload)
    stated = first(workload, adapter.time_limit) if adapter.time_limit else None
    if stated is None:
        stated = first(workload, f'metadata.annotations["{TIME_LIMIT_SECONDS}"]')
    return int(stated) if str(stated).isdecimal() else None


def with_time_limit(workload: Json, seconds: int) -> Manifest:
    """Let a workload's operator end it after so many seconds; where none does, tell the agent in an annotation."""
    adapter, result = adapter_of(workload), copied(workload)
    if adapter.time_limit is None:
        merge(result, "metadata.annotations", {TIME_LIMIT_SECONDS: str(seconds)})
    else:
        put(result, adapter.time_limit, seconds)
    return result


def merge(root: Manifest, path: str, values: Mapping[str, str]) -> None:
    """Add to a map in a workload, in place; what stands there under other names stays."""
    if values:
        standing = first(root, path) or {}
        if not isinstance(standing, Mapping):
            raise InvalidInput(f"{path}: must be a map")
        put(root, path, {**standing, **values})


def label_pods(root: Manifest, labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    """Label and annotate the pods of a workload, in place."""
    for place, _ in placed_groups(root):
        parts = parts_of(root, place)
        merge(root, place.path(parts.labels), labels)
        merge(root, place.path(parts.annotations), annotations)


def _queue_in_kueue(adapter: Adapter, root: Manifest, queue: str) -> None:
    match adapter.kueue:
        case "object":
            merge(root, "metadata.labels", {_KUEUE_LABEL: queue})
        case "pods":
            label_pods(root, {_KUEUE_LABEL: queue}, {})
        case None:
            raise InvalidInput(f"Kueue does not know {adapter}")


def _schedule(root: Manifest, scheduler: str) -> None:
    for place, _ in placed_groups(root):
        name = parts_of(root, place).scheduler_name
        if name is not None:
            put(root, place.path(name), scheduler)


def _as_slurm_job(workload: Json, partition: str) -> dict[str, str]:
    """Give what slurm-bridge makes of a workload's Slurm job (SlinkyProject/slurm-bridge, docs: workloads)."""
    seconds = time_limit_of(workload)
    stated = {"partition": partition, "timelimit": "" if seconds is None else str(-(-seconds // 60))}
    return {f"{_SLURM_JOB}{name}": value for name, value in stated.items() if value}


def _fill(root: Manifest, values: Mapping[str, str], queue: str) -> None:
    for path, value in values.items():
        if "{queue}" in value and not queue:
            continue
        put(root, path, value.replace("{queue}", queue))


def roots(workload: Json) -> list[tuple[str, Adapter]]:
    """Give the workload and those inside it, each with its place and its adapter."""
    found, root = [("", adapter_of(workload))], ""
    while (nested := found[-1][1].nested) is not None:
        root = f"{root}.{nested.at}" if root else nested.at
        found.append((root, adapter_of(first(workload, root))))
    return found


def kinds_of(workload: Json) -> tuple[tuple[str, str], ...]:
    """Name the kinds that a cluster must serve for a workload: its own, and of what is inside it."""
    adapters = (POD if adapter is POD_LIST else adapter for _, adapter in roots(workload))
    return tuple((adapter.api_version, adapter.kind) for adapter in adapters)
