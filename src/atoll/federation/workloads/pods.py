"""What pods say of themselves: whether they wait, run or failed, and why.

Owns the translation of a pod's many words into one reason. It must not know what the pods belong to.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]

_TERMINAL = frozenset({"Succeeded", "Failed"})
_HARMLESS = frozenset({"ContainerCreating", "PodInitializing"})


def is_live_pod(pod: Json) -> bool:
    """Tell whether containers of a pod may still run."""
    return _phase(pod) not in _TERMINAL


def progress(pods: Sequence[Json]) -> tuple[str, str, str]:
    """Tell how far pods that have not all ended are: Pending, Starting or Running, a reason and a message."""
    if any(_phase(pod) in {"Running", *_TERMINAL} for pod in pods):
        return "Running", "", ""
    placed = [pod for pod in pods if (pod.get("spec") or {}).get("nodeName")]
    return ("Starting", *_waiting(placed)) if placed else ("Pending", *_unscheduled(pods))


def failure(pods: Iterable[Json]) -> tuple[str, str]:
    """Name why a pod failed, the newest first; empty if none says."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True):
        status = pod.get("status") or {}
        if status.get("reason"):  # Evicted, OutOfcpu, UnexpectedAdmissionError: the kubelet refused or ended the pod
            return str(status["reason"]), f"pod {pod['metadata']['name']}: {status.get('message', '')}"
        for name, ended in _ended(pod):
            if ended.get("exitCode"):
                own = str(ended.get("message") or f"ended with exit code {ended['exitCode']}")
                return str(ended.get("reason") or "Error"), f"pod {pod['metadata']['name']}, container {name}: {own}"
    return "", ""


def exit_code(pods: Iterable[Json]) -> int | None:
    """Give the first exit code that is not 0; None if there is none."""
    codes = (int(ended.get("exitCode") or 0) for pod in pods for _, ended in _ended(pod))
    return next((code for code in codes if code), None)


def spans(pod: Json) -> list[tuple[datetime, datetime | None]]:
    """Give start and end (None: still running) of each container that has started."""
    found = []
    for status in _container_statuses(pod):
        state = status.get("state") or {}
        span = state.get("terminated") or state.get("running") or {}
        began = instant(span.get("startedAt"))
        if began:
            found.append((began, instant(span.get("finishedAt"))))
    return found


def instant(text: object) -> datetime | None:
    """Read an instant as Kubernetes writes it; None where there is none."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else None


def _waiting(pods: Iterable[Json]) -> tuple[str, str]:
    """Say what holds up a pod that has a node: an image that cannot be pulled, a volume, a crash loop."""
    for pod in pods:
        for status in _container_statuses(pod):
            waiting = (status.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") and waiting["reason"] not in _HARMLESS:
                return str(waiting["reason"]), str(waiting.get("message", ""))
    return "", ""


def _unscheduled(pods: Iterable[Json]) -> tuple[str, str]:
    for pod in pods:
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return str(condition.get("reason", "Unschedulable")), str(condition.get("message", ""))
    return "", ""


def _ended(pod: Json) -> list[tuple[str, Json]]:
    states = [(str(status.get("name", "")), status.get("state") or {}) for status in _container_statuses(pod)]
    return [(name, state["terminated"]) for name, state in states if state.get("terminated")]


def _container_statuses(pod: Json) -> list[Json]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _phase(pod: Json) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))
