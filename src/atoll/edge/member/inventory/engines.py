"""The batch engines of a cluster: which are installed, whether they run, and which queues they offer. Pure.

Kueue and Volcano have kinds of their own. YuniKorn and slurm-bridge keep their queues outside the API server; they are
known by their scheduler's pods.
"""

from collections.abc import Iterable, Mapping, Set
from typing import Any, get_args

from atoll.edge.member.objects import labels_of
from atoll.federation.resources.inventory import BatchEngine, BatchEngineInfo, BatchQueue

Json = Mapping[str, Any]

# A LocalQueue per namespace and team is common; more than these nobody reads in a status.
MAX_QUEUES = 200
_GROUPS: Mapping[str, BatchEngine] = {"kueue.x-k8s.io": "Kueue", "scheduling.volcano.sh": "Volcano"}
_PREFERENCE: tuple[BatchEngine, ...] = get_args(BatchEngine)


def engine_of_pod(pod: Json) -> str:
    """Name the engine whose scheduler or controller a pod is, by the labels of its own charts; else empty."""
    labels = labels_of(pod)
    app, name = labels.get("app", ""), labels.get("app.kubernetes.io/name", "")
    if name == "kueue" and labels.get("control-plane") == "controller-manager":
        return "Kueue"
    if app == "volcano-scheduler":
        return "Volcano"
    if app == "yunikorn" and labels.get("component") == "yunikorn-scheduler":
        return "YuniKorn"
    # Helm puts the release's name before the component's.
    is_bridge = name.startswith("slurm-bridge") and "scheduler" in str(pod["metadata"].get("name", ""))
    return "Slinky" if is_bridge else ""


def project_queue(queue: Json) -> BatchQueue:
    """Keep of a LocalQueue or a Volcano Queue what it is called and where."""
    metadata = queue["metadata"]
    return BatchQueue(name=str(metadata["name"]), namespace=str(metadata.get("namespace") or ""))


def batch_engines(
    groups: Set[str], running: Set[str], queues: Mapping[BatchEngine, Iterable[BatchQueue]]
) -> tuple[BatchEngineInfo, ...]:
    """Tell of each engine that is there, by its API group or by a pod.

    Args:
        groups: the API groups that are served.
        running: the engines that have a pod on a node.
        queues: what was seen of queues, by engine.
    """
    installed = {engine for group, engine in _GROUPS.items() if group in groups} | running
    return tuple(
        BatchEngineInfo(engine=engine, is_running=engine in running, queues=_told(queues.get(engine, ())))
        for engine in _PREFERENCE
        if engine in installed
    )


def _told(queues: Iterable[BatchQueue]) -> tuple[BatchQueue, ...]:
    return tuple(sorted(queues, key=lambda queue: (queue.namespace, queue.name))[:MAX_QUEUES])
