"""What to do about a Deployment: which pods to make and delete, and its status.

Owns replicas, replacement and rolling updates, directly on pods: simulated clusters have no ReplicaSets. Pure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.resource import Object

HASH = "pod-template-hash"


@dataclass(frozen=True)
class DeploymentPlan:
    """Everything to do in one step."""

    status: Object
    create: int = 0
    delete: tuple[str, ...] = ()


def template_hash(deployment: Object) -> str:
    """Return the name of the pods' generation: pods of another template are replaced."""
    encoded = orjson.dumps(deployment["spec"]["template"], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(encoded).hexdigest()[:10]


def plan(deployment: Object, pods: Sequence[Object], now: datetime) -> DeploymentPlan:
    """Decide the next step of a Deployment."""
    spec, current = deployment["spec"], template_hash(deployment)
    wanted = int(spec["replicas"])
    dead = [pod for pod in pods if pod["status"]["phase"] in ("Succeeded", "Failed") and not _is_leaving(pod)]
    alive = [pod for pod in pods if pod not in dead and not _is_leaving(pod)]
    new = [pod for pod in alive if pod["metadata"]["labels"].get(HASH) == current]
    old = [pod for pod in alive if pod not in new]
    leaving = [pod for pod in pods if _is_leaving(pod)]
    status = _status(deployment, alive, new, leaving, now)
    if spec.get("paused"):
        return DeploymentPlan(status, delete=_names(dead))
    create = max(0, min(wanted - len(new), _room(spec, alive, leaving)))
    surplus = sorted(new, key=_by_worth)[: max(0, len(new) - wanted)]
    return DeploymentPlan(status, create, _names([*dead, *surplus, *_replaceable(spec, new, old)]))


def _room(spec: Object, alive: Sequence[Object], leaving: Sequence[Object]) -> int:
    """Return how many pods may be made now."""
    wanted = int(spec["replicas"])
    if spec["strategy"]["type"] == "Recreate":
        return wanted - len(alive) - len(leaving)
    return wanted + _share(spec, "maxSurge", math.ceil) - len(alive)


def _replaceable(spec: Object, new: Sequence[Object], old: Sequence[Object]) -> list[Object]:
    """Return the pods of an older template that may go while enough are ready."""
    if spec["strategy"]["type"] == "Recreate":
        return list(old)
    needed = int(spec["replicas"]) - _share(spec, "maxUnavailable", math.floor)
    unready = [pod for pod in old if not _is_ready(pod)]
    ready = [pod for pod in old if _is_ready(pod)]
    spare = sum(_is_ready(pod) for pod in new) + len(ready) - needed
    return [*unready, *ready[: max(0, spare)]]


def _share(spec: Object, name: str, rounded: Any) -> int:
    """Return maxSurge or maxUnavailable in pods; both zero would never move, so maxSurge is then 1."""
    value = (spec["strategy"].get("rollingUpdate") or {}).get(name, "25%")
    if isinstance(value, str) and value.endswith("%"):
        return int(rounded(int(spec["replicas"]) * int(value[:-1]) / 100))
    return int(value)


def _status(
    deployment: Object, alive: Sequence[Object], new: Sequence[Object], leaving: Sequence[Object], now: datetime
) -> Object:
    wanted, ready = int(deployment["spec"]["replicas"]), sum(_is_ready(pod) for pod in alive)
    before = deployment.get("status", {}).get("conditions", ())
    is_done = len(new) == len(alive) == wanted and ready == wanted
    conditions = [
        _condition(before, "Available", ready >= wanted, "MinimumReplicas", now),
        _condition(before, "Progressing", True, "NewReplicaSetAvailable" if is_done else "ReplicaSetUpdated", now),
    ]
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": len(alive),
        "updatedReplicas": len(new),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
        "terminatingReplicas": len(leaving),
        "conditions": conditions,
    }


def _condition(before: Sequence[Object], kind: str, holds: bool, reason: str, now: datetime) -> Object:
    status, at = "True" if holds else "False", timestamp(now)
    if kind == "Available":
        reason += "Available" if holds else "Unavailable"
    old = next((condition for condition in before if condition["type"] == kind), None)
    if old is not None and old["status"] == status and old["reason"] == reason:
        return old
    since = old["lastTransitionTime"] if old is not None and old["status"] == status else at
    return {"type": kind, "status": status, "reason": reason, "lastUpdateTime": at, "lastTransitionTime": since}


def _is_leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _is_ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def _by_worth(pod: Object) -> tuple[bool, bool, str]:
    """Order pods so that those that are missed least come first."""
    return bool(pod["spec"].get("nodeName")), _is_ready(pod), str(pod["metadata"]["creationTimestamp"])


def _names(pods: Sequence[Object]) -> tuple[str, ...]:
    return tuple(pod["metadata"]["name"] for pod in pods)


def new_pod(deployment: Object) -> Object:
    """Return a pod of a Deployment."""
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    described, name = template.get("metadata") or {}, template_hash(deployment)
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "metadata": {
            "generateName": f"{metadata['name']}-{name}-",
            "namespace": metadata["namespace"],
            "labels": {**(described.get("labels") or {}), HASH: name},
            "annotations": {**(described.get("annotations") or {})},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"],
    }
