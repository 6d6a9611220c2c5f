"""The status of a pod out of what its containers do.

Owns phase, conditions and container statuses as Kubernetes' kubelet computes them. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from atoll.kubeapi.resource import Object

IMAGE_ID = "sandbox://process"
"""Where a real kubelet names the image's digest: says that the image was not used."""


@dataclass
class Container:
    """What is known of one container; `state` is a ContainerState of the API."""

    name: str
    image: str = ""
    state: dict[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    container_id: str = ""

    @property
    def is_running(self) -> bool:
        """True while a process runs."""
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """The exit code if the container has ended for good."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    def wire(self) -> dict[str, Any]:
        """Return the ContainerStatus."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": IMAGE_ID,
            "containerID": self.container_id,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.is_running,
            "started": self.is_running,
            "restartCount": self.restarts,
        }


@dataclass
class PodView:
    """All that the kubelet knows of a pod it runs."""

    inits: list[Container]
    mains: list[Container]
    start_time: str
    pod_ip: str
    host_ip: str
    reason: str = ""
    message: str = ""
    is_refused: bool = False


def phase(view: PodView) -> str:
    """Return the pod's phase; a pod fails for good when it is refused or any of its containers ended badly."""
    if view.is_refused or any(code for code in (container.exit_code for container in view.inits) if code):
        return "Failed"
    codes = [container.exit_code for container in view.mains]
    if codes and all(code is not None for code in codes):
        return "Failed" if any(codes) or view.reason else "Succeeded"
    has_begun = any(
        container.is_running or container.restarts or container.exit_code is not None for container in view.mains
    )
    return "Running" if has_begun else "Pending"


def status_of(view: PodView, before: Sequence[Object], now: str) -> Object:
    """Return the status to write; `before` are the conditions that stand, whose times stay if nothing changed."""
    current = phase(view)
    is_ready = current == "Running" and all(container.is_running for container in view.mains)
    is_over = current in ("Succeeded", "Failed")
    are_inits_done = all(container.exit_code == 0 for container in view.inits)
    why_not = "PodCompleted" if current == "Succeeded" else "PodFailed" if is_over else "ContainersNotReady"
    conditions = [
        _condition("PodReadyToStartContainers", not view.is_refused, "", before, now),
        _condition("Initialized", are_inits_done, "" if are_inits_done else "ContainersNotInitialized", before, now),
        _condition("Ready", is_ready, "" if is_ready else why_not, before, now),
        _condition("ContainersReady", is_ready, "" if is_ready else why_not, before, now),
        *(condition for condition in before if condition["type"] == "PodScheduled"),
    ]
    return {
        "phase": current,
        "reason": view.reason or None,
        "message": view.message or None,
        "startTime": view.start_time,
        "podIP": view.pod_ip,
        "podIPs": [{"ip": view.pod_ip}],
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "conditions": conditions,
        "containerStatuses": [container.wire() for container in view.mains],
        "initContainerStatuses": [container.wire() for container in view.inits] or None,
    }


def _condition(kind: str, holds: bool, reason: str, before: Sequence[Object], now: str) -> Object:
    status = "True" if holds else "False"
    old = next((condition for condition in before if condition["type"] == kind), None)
    since = old["lastTransitionTime"] if old is not None and old["status"] == status else now
    condition = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
    return {**condition, "reason": reason} if reason else condition


def ended(exit_code: int, started_at: str, finished_at: str, *, container_id: str, message: str = "") -> dict[str, Any]:
    """Return the ContainerState of a container that ended."""
    state: dict[str, Any] = {
        "exitCode": exit_code,
        "reason": "Completed" if exit_code == 0 else "Error",
        "startedAt": started_at,
        "finishedAt": finished_at,
        "containerID": container_id,
    }
    if exit_code > 128:
        state["signal"] = exit_code - 128
    if message:
        state["message"] = message
    return {"terminated": state}
