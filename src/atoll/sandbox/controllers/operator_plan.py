"""What the sandbox's operator does about one object: which pods it makes and deletes, and what the status says.

Owns the rules that batch operators share: all pods at once, none while suspended, one failure ends it, and where one
pod leads the others its success is that of all. Pure. Which fields say it, the kind's adapter declares.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from atoll.federation.workloads import Adapter, PodGroup, is_suspended, pod_groups, pod_selector
from atoll.federation.workloads.paths import first, put
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.resource import Object

ROLE = "sandbox.atoll.dev/role"
"""Label that says of which group a pod is."""
# Whose end is the workload's end, the first that it has (training-operator, MPIJob, Ray, LeaderWorkerSet).
_LEADERS = ("submitter", "launcher", "chief", "master", "head", "leader")
_CONDITION = "status.conditions[type="
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Step:
    """Everything to do at once: pods to make, names of pods to delete, and the status."""

    create: tuple[Object, ...]
    delete: tuple[str, ...]
    status: Object


def plan(obj: Object, adapter: Adapter, pods: Sequence[Object], now: datetime) -> Step:
    """Decide the next step of an object. Raises InvalidInput: it is malformed."""
    state = str(obj.get("status", {}).get("sandboxState", ""))
    live = tuple(pod["metadata"]["name"] for pod in pods if _is_live(pod))
    if state in _ENDED:
        return Step((), live, obj["status"])
    groups = pod_groups(obj)
    if is_suspended(obj):
        every = tuple(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
        return Step((), every, said(obj, adapter, "Suspended", now))
    phase = _phase(groups, pods)
    ends = phase in _ENDED
    return Step(() if ends else _missing(obj, groups, pods), live if ends else (), said(obj, adapter, phase, now))


def _is_live(pod: Object) -> bool:
    return pod["status"]["phase"] not in _ENDED and "deletionTimestamp" not in pod["metadata"]


def _phase(groups: Sequence[PodGroup], pods: Sequence[Object]) -> str:
    if any(pod["status"]["phase"] == "Failed" and "deletionTimestamp" not in pod["metadata"] for pod in pods):
        return "Failed"
    leader = next((role for role in _LEADERS if any(group.role == role for group in groups)), None)
    counted = [group for group in groups if leader in (None, group.role)]
    if all(_count(pods, group, "Succeeded") >= group.count for group in counted):
        return "Succeeded"
    runs = all(_count(pods, group, "Running", "Succeeded") >= group.count for group in groups)
    return "Running" if runs else "Pending"


def _count(pods: Sequence[Object], group: PodGroup, *phases: str) -> int:
    return sum(pod["metadata"]["labels"].get(ROLE) == group.role and pod["status"]["phase"] in phases for pod in pods)


def _missing(obj: Object, groups: Sequence[PodGroup], pods: Sequence[Object]) -> tuple[Object, ...]:
    there = {pod["metadata"]["name"] for pod in pods}
    wanted = (
        (group, f"{obj['metadata']['name']}-{group.role}-{number}") for group in groups for number in range(group.count)
    )
    return tuple(_pod(obj, group, name) for group, name in wanted if name not in there)


def _pod(obj: Object, group: PodGroup, name: str) -> Object:
    metadata = obj["metadata"]
    described = first(obj, f"{group.path.removesuffix('spec')}metadata") or {}
    selected = dict(term.split("=", 1) for term in pod_selector(obj).split(","))
    owner = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**(described.get("labels") or {}), **selected, ROLE: group.role},
            "annotations": {**(described.get("annotations") or {})},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        # Operators say it where the template does not; here nothing is started twice.
        "spec": {"restartPolicy": "Never", **copy.deepcopy(dict(group.pod))},
    }


def said(obj: Object, adapter: Adapter, phase: str, now: datetime) -> Object:
    """Give the status that says a phase, in the fields by which the kind's adapter reads it."""
    told: Object = {"status": copy.deepcopy(obj.get("status") or {})}
    was, at = told["status"].get("sandboxState"), timestamp(now)
    told["status"]["sandboxState"] = phase
    holding = next((rule for rule in adapter.status if rule.phase == phase), None)
    for rule in adapter.status:
        if rule.at.startswith(_CONDITION):
            _condition(told, rule.at, holds=rule is holding, phase=phase, at=at)
        elif rule is not holding and first(told, rule.at) in rule.values:
            put(told, rule.at, "")
    if holding is not None and not holding.at.startswith(_CONDITION):
        put(told, holding.at, min(holding.values))
    if phase == "Running" or was == "Running":
        _once(told, adapter.started, at)
    if phase in _ENDED:
        _once(told, adapter.finished, at)
    status: Object = told["status"]
    return status


def _condition(told: Object, path: str, *, holds: bool, phase: str, at: str) -> None:
    place, value = path.removesuffix(".status"), "True" if holds else "False"
    known: Mapping[str, Any] | None = first(told, place)
    if (known is None and not holds) or (known is not None and known.get("status") == value):
        return
    written = {"status": value, "reason": phase, "message": f"the sandbox's operator says {phase}"}
    for field, text in {**written, "lastTransitionTime": at}.items():
        put(told, f"{place}.{field}", text)


def _once(told: Object, paths: Sequence[str], at: str) -> None:
    for path in paths:
        if not path.startswith(_CONDITION) and first(told, path) is None:
            put(told, path, at)
