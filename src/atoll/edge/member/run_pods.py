"""The pods of runs, as whoever reads their logs, uses or enters them finds them: each kind by its own labels.

Owns the look into the cluster and what is read of a pod for people. It keeps nothing.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import POD, Object, Selection, labels_of
from atoll.federation.errors import InvalidInput

# Whose task of an array a pod is (batch/v1 JobCompletionIndexAnnotation; a label, too, since Kubernetes 1.28).
_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
# kubectl's: which container is meant when none is named.
_DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"


class Selectors(Protocol):
    """What knows by which labels the pods of runs are found."""

    def selector(self, namespace: str, run: str) -> str:
        """Give the label selector of a run's pods."""
        ...


class RunPods:
    """Looks for the pods of one cluster's runs."""

    def __init__(self, kube: Kube, runs: Selectors) -> None:
        self._kube, self._runs = kube, runs

    def selection(self, namespace: str, run: str) -> Selection:
        """Say where the pods of a run are found."""
        return Selection(namespace, label_selector=self._runs.selector(namespace, run))

    async def of(self, namespace: str, run: str) -> list[Object]:
        """Give the pods of a run that there are, oldest first."""
        listing = await self._kube.list(POD, self.selection(namespace, run), project=lambda pod: pod)
        return sorted(listing.items, key=age_of)


def age_of(pod: Object) -> tuple[str, str]:
    """Give what pods are ordered by: oldest first, and of one age by name."""
    return (str(pod["metadata"].get("creationTimestamp", "")), str(pod["metadata"]["name"]))


def task_of(pod: Object) -> int | None:
    """Tell which task of an array a pod is; None of what is no array."""
    index = labels_of(pod).get(_INDEX_LABEL, "")
    return int(index) if index.isdecimal() else None


def has_started(pod: Object) -> bool:
    """Tell whether the container that people mean has printed, or may have."""
    statuses: Sequence[dict[str, Any]] = (pod.get("status") or {}).get("containerStatuses") or ()
    wanted = container_of(pod)
    states = [status.get("state") or {} for status in statuses if status.get("name") == wanted]
    return any(state.get("running") or state.get("terminated") for state in states)


def container_of(pod: Object, wanted: str | None = None) -> str:
    """Name the container that is meant: the one that was asked for, the one that the pod names, its first.

    Raises:
        InvalidInput: the pod has no container of the name that was asked for.
    """
    names = [str(container["name"]) for container in pod["spec"]["containers"]]
    if wanted is None:
        annotations = pod["metadata"].get("annotations") or {}
        return str(annotations.get(_DEFAULT_CONTAINER_ANNOTATION) or names[0])
    if wanted not in names:
        raise InvalidInput(f"pod {pod['metadata']['name']} has no container {wanted}; it has {', '.join(names)}")
    return wanted
