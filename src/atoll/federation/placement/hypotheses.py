"""What if: for each reason why not, the smallest change of the demand or of the cluster that removes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from atoll.federation.capacity import ResourceVector, Shape, format_bytes, format_millicores
from atoll.federation.placement.demand import Demand, PodDemand
from atoll.federation.placement.links import Links
from atoll.federation.placement.reasons import Reason
from atoll.federation.placement.speeds import relative_speed
from atoll.federation.placement.views import ClusterView, StorageView
from atoll.federation.resources import LabelSelector


class Effort(IntEnum):
    """What a change costs, the cheapest first: the submitter alone, one command, a lesser job, a repair, hardware."""

    SUBMITTER = 0
    OPERATOR_COMMAND = 1
    LESSER_JOB = 2
    REPAIR = 3
    CAPACITY = 4


@dataclass(frozen=True)
class Hypothesis:
    """A demand and one cluster with changes applied.

    `kept` is the part of what the job asked for that is left; below 1, its run time is not known any more.
    """

    demand: Demand
    view: ClusterView
    links: Links
    changes: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    effort: Effort = Effort.SUBMITTER
    kept: float = 1.0
    total_seconds: float | None = None

    def also(self, change: str, phrase: str, effort: Effort) -> "Hypothesis":
        """Note one more change."""
        return replace(
            self,
            changes=(*self.changes, change),
            phrases=(*self.phrases, phrase),
            effort=max(self.effort, effort),
        )

    def scored(self, total_seconds: float) -> "Hypothesis":
        """Set the total, unless it cannot be told honestly."""
        return replace(self, total_seconds=total_seconds if self.kept == 1 else None)

    def lesser(self, demand: Demand, kept: float, reason: Reason, phrase: str) -> "Hypothesis":
        """Ask for a part of something only."""
        return replace(self, demand=demand, kept=self.kept * kept).also(reason.reason, phrase, Effort.LESSER_JOB)


Relaxation = Callable[[Hypothesis, Reason], Hypothesis | None]


def _uncordon(what: Hypothesis, _reason: Reason) -> Hypothesis:
    view = replace(what.view, is_cordoned=False)
    return replace(what, view=view).also("Cordoned", f"uncordon {view.name}", Effort.OPERATOR_COMMAND)


def _bring_back(what: Hypothesis, _reason: Reason) -> Hypothesis:
    cure = f"mend {what.view.name} ({what.view.trouble})"
    if what.view.lost_since is not None or not what.view.trouble:
        cure = f"bring back the agent of {what.view.name}"
    view = replace(what.view, phase="Ready", lost_since=None)
    return replace(what, view=view).also("ClusterNotReady", cure, Effort.REPAIR)


def _wake(what: Hypothesis, _reason: Reason) -> Hypothesis:
    """Suppose that it were awake now: how long a job takes that waits for its morning is not a matter of its cost."""
    wakes_at, view = what.view.wakes_at, replace(what.view, phase="Ready", wakes_at=None)
    until = f", which sleeps until {wakes_at.isoformat(timespec='minutes')}" if wakes_at is not None else ""
    return replace(what, view=view).also("ClusterAsleep", f"wake {view.name}{until}", Effort.REPAIR)


def _serve(what: Hypothesis, reason: Reason) -> Hypothesis:
    view = replace(what.view, workload_kinds=what.view.workload_kinds.union(what.demand.kinds))
    phrase = f"install what provides {' and '.join(reason.numbers['kinds'])} in {view.name}"
    return replace(what, view=view).also("KindNotServed", phrase, Effort.REPAIR)


def _any_cluster(what: Hypothesis, reason: Reason) -> Hypothesis:
    demand = replace(what.demand, clusters=LabelSelector())
    phrase = f"do not ask for {', '.join(reason.numbers['unmet'])} in spec.placement.clusters"
    return replace(what, demand=demand).also("LabelMismatch", phrase, Effort.SUBMITTER)


def _allow_model(what: Hypothesis, reason: Reason) -> Hypothesis | None:
    products = reason.numbers["has"]
    if not products:
        return None
    product = max(products, key=lambda name: (relative_speed(name) or 0.0, name))
    pod = _pod(what, reason)
    demand = _with_pod(what, reason, replace(pod, gpu_models=(*pod.gpu_models, product)))
    return replace(what, demand=demand).also("GpuModel", f"allow {product} in spec.gpu.models", Effort.SUBMITTER)


def _less_gpu_memory(what: Hypothesis, reason: Reason) -> Hypothesis | None:
    largest = reason.numbers["hasBytes"]
    if not largest:
        return None
    demand = _with_pod(what, reason, replace(_pod(what, reason), gpu_memory_bytes=largest))
    phrase = f"ask for {format_bytes(largest)} in spec.gpu.memory"
    return what.lesser(demand, largest / reason.numbers["wantsBytes"], reason, phrase)


def _no_node_selector(what: Hypothesis, reason: Reason) -> Hypothesis:
    demand = _with_pod(what, reason, replace(_pod(what, reason), node_labels=frozenset()))
    phrase = "drop the pod template's nodeSelector"
    return replace(what, demand=demand).also("NodeSelector", phrase, Effort.SUBMITTER)


def _smaller_pod(field: str, write: Callable[[int], str]) -> Relaxation:
    def relax(what: Hypothesis, reason: Reason) -> Hypothesis | None:
        largest = reason.numbers["has"]
        if not largest:
            return None
        pod = _pod(what, reason)
        resources = ResourceVector(**{**_components(pod.resources), field: largest})
        demand = _with_pod(what, reason, replace(pod, resources=resources))
        phrase = f"ask for at most {write(largest)} per pod"
        return what.lesser(demand, largest / reason.numbers["wants"], reason, phrase)

    return relax


def _components(vector: ResourceVector) -> dict[str, int]:
    return {"millicores": vector.millicores, "memory_bytes": vector.memory_bytes, "gpus": vector.gpus}


def _fewer_pods(what: Hypothesis, reason: Reason) -> Hypothesis:
    count, number = reason.numbers["hasRoom"], _group(reason)
    phrase = f"run at most {count} pods at once (parallelism)"
    if what.demand.beside:
        phrase = f"run at most {count} {what.demand.roles[number]} pods at once"
    demand = what.demand.with_group(number, _pod(what, reason), count)
    return what.lesser(demand, count / what.demand.pods[number][1], reason, phrase)


def _group(reason: Reason) -> int:
    """Tell which group of pods a reason is about."""
    return int(reason.numbers.get("group", 0))


def _pod(what: Hypothesis, reason: Reason) -> PodDemand:
    return what.demand.pods[_group(reason)][0]


def _with_pod(what: Hypothesis, reason: Reason, pod: PodDemand) -> Demand:
    number = _group(reason)
    return what.demand.with_group(number, pod, what.demand.pods[number][1])


def free_capacity(what: Hypothesis, _reason: Reason | None = None) -> Hypothesis:
    """Suppose that the cluster had room for all pods now, on nodes of a sort that it has."""
    rooms = tuple(_like_room(what.view, pod, count) for pod, count in what.demand.pods)
    view = replace(what.view, shapes=(*what.view.shapes, *rooms))
    words = (_room_in_words(room.free * room.nodes, room.gpu_model) for room in rooms)
    phrase = f"free {' and '.join(words)} in {view.name}"
    return replace(what, view=view).also("CapacityInUse", phrase, Effort.CAPACITY)


def _like_room(view: ClusterView, pod: PodDemand, count: int) -> Shape:
    """Make up room for each of some pods, on nodes like the best of those that would do."""
    suitable = [shape for shape in view.shapes if pod.suits(shape)]
    like = max(suitable, key=lambda shape: (relative_speed(shape.gpu_model or "") or 0.0, shape.free.gpus))
    return Shape(count, pod.resources, pod.resources, like.gpu_model, like.gpu_memory_bytes, like.labels)


def _room_in_words(total: ResourceVector, product: str | None) -> str:
    if total.gpus:
        return f"{total.gpus} {product or 'GPU'}"
    return f"{format_millicores(total.millicores)} CPU and {format_bytes(total.memory_bytes)} of memory"


def _add_storage_class(what: Hypothesis, _reason: Reason) -> Hypothesis:
    wanted = what.view.wanted_storage_class
    view = replace(what.view, storage=StorageView(wanted or "default"))
    phrase = f"give {view.name} {'the StorageClass ' + wanted if wanted else 'a default StorageClass'}"
    return replace(what, view=view).also("NoStorageClass", phrase, Effort.REPAIR)


def _more_storage(what: Hypothesis, reason: Reason) -> Hypothesis | None:
    storage, missing = what.view.storage, reason.numbers["wantsBytes"] - reason.numbers["hasBytes"]
    if storage is None:
        return None
    view = replace(what.view, storage=replace(storage, free_bytes=reason.numbers["wantsBytes"]))
    phrase = f"free {format_bytes(missing)} of storage class {storage.name} in {view.name}"
    return replace(what, view=view).also("StorageFull", phrase, Effort.CAPACITY)


def _connect(what: Hypothesis, reason: Reason) -> Hypothesis | None:
    """Connect to one holder that is heard; where two inputs are out of reach, the next round connects the other."""
    peer = min(reason.numbers["links"], default=None)
    if peer is None:
        return None
    return replace(what, links=what.links.supposing(what.view.name, peer)).also(
        "NoMeshLink", f"connect {what.view.name} and {peer} in the mesh", Effort.REPAIR
    )


# Reasons whose only cure is to ask for less: how long the job would then run is not known.
LESSER_JOBS = frozenset({"GpuMemory", "InsufficientGpus", "InsufficientCpu", "InsufficientMemory", "TooFewNodes"})
RELAXATIONS: Mapping[str, Relaxation] = {
    "ClusterAsleep": _wake,
    "ClusterNotReady": _bring_back,
    "Cordoned": _uncordon,
    "KindNotServed": _serve,
    "LabelMismatch": _any_cluster,
    "GpuModel": _allow_model,
    "GpuMemory": _less_gpu_memory,
    "NodeSelector": _no_node_selector,
    "InsufficientGpus": _smaller_pod("gpus", "{} GPUs".format),
    "InsufficientCpu": _smaller_pod("millicores", lambda value: f"{format_millicores(value)} CPU"),
    "InsufficientMemory": _smaller_pod("memory_bytes", lambda value: f"{format_bytes(value)} of memory"),
    "TooFewNodes": _fewer_pods,
    "CapacityInUse": free_capacity,
    "NoStorageClass": _add_storage_class,
    "StorageFull": _more_storage,
    "NoMeshLink": _connect,
}
