"""Jobs as a hub stores them: admitted by the real rules, with managed fields, and with the status of one that ran.

Owns what is stored in the benchmarks. Nothing here is measured.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from atoll.federation.capacity import ResourceVector, Shape
from atoll.federation.mesh import Uplink
from atoll.federation.placement import ClusterTable, ClusterView, Demand, Links, PodDemand, StorageView, decide
from atoll.federation.resources import API_GROUP, LabelSelector
from atoll.hub.app import build_registry
from atoll.hub.existing import ExistingObjects
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store

NAMESPACE, QUEUE = "weather", "weather.batch"
_NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
_GIB = 2**30


def job(name: str) -> Object:
    """Give the manifest of one Job, as examples/50-job.yaml has it."""
    container = {
        "name": "hello",
        "image": "busybox:1.37",
        "command": ["sh", "-c", "echo hello from $(hostname); nproc"],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    return {
        "apiVersion": f"{API_GROUP}/v1alpha1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "queue": QUEUE,
            "expectedDuration": "5s",
            "placement": {"clusters": {"matchLabels": {"site": "lab"}}},
            "workload": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}},
        },
    }


def parents() -> list[Object]:
    """Give the manifests that a Job needs before it: its namespace and its queue."""
    version = f"{API_GROUP}/v1alpha1"
    queues = [{"apiVersion": version, "kind": "Queue", "metadata": {"name": name}} for name in ("weather", QUEUE)]
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *queues]


def type_of(store: Store, obj: Object) -> ResourceType:
    """Find the served resource of a manifest."""
    rt = store.registry.by_kind(obj["apiVersion"].rpartition("/")[0], obj["kind"])
    assert rt is not None, "the hub serves the kind"
    return rt


def crd() -> Object:
    """Give the definition that lets kube-apiserver store our Jobs: as they are, without rules of its own."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": free, "status": free}}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    names = {"plural": "jobs", "singular": "job", "kind": "Job", "listKind": "JobList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"jobs.{API_GROUP}"},
        "spec": {"group": API_GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


async def memory_store(*, empty: bool = False) -> Store:
    """Give a started store of the hub's kinds in memory, with what a Job needs unless it shall be empty."""
    existing = ExistingObjects()
    store = existing.store = Store(build_registry(existing), MemoryStorage(), require_namespaces=True)
    await store.start()
    for obj in () if empty else parents():
        await store.create(type_of(store, obj), obj)
    return store


async def stored_jobs(count: int, *, finished: bool = True) -> Iterator[tuple[str, bytes]]:
    """Give keys and stored values of many Jobs that differ in names, labels, ids and times."""
    store = await memory_store()
    rt = type_of(store, job(""))
    created = await store.create(rt, job("a"), field_manager="kubectl-client-side-apply")
    if finished:
        created["status"] = _status("a")
        created = await store.update(rt, created, subresource="status", field_manager="atoll-hub")
    await store.close()
    del created["metadata"]["resourceVersion"]
    return (_variant(rt, created, number) for number in range(count))


def _variant(rt: ResourceType, template: Object, number: int) -> tuple[str, bytes]:
    obj = copy.copy(template)
    name = f"picks-{number:07}"
    at = (_NOW + timedelta(seconds=number % 86_400)).isoformat().replace("+00:00", "Z")
    managers = [{**entry, "time": at} for entry in template["metadata"]["managedFields"]]
    obj["metadata"] = {
        **template["metadata"],
        "name": name,
        "uid": str(uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128)),
        "creationTimestamp": at,
        "managedFields": managers,
    }
    obj["metadata"]["labels"] = {"station": f"{number % 997:x}", "batch": f"{number * 2654435761 % 2**64:x}"}
    if "status" in template:
        obj["status"] = {**template["status"], "run": f"{name}-1", "queuedAt": at, "startedAt": at, "finishedAt": at}
        obj["status"]["decision"] = {**template["status"]["decision"], "job": f"{NAMESPACE}/{name}", "decidedAt": at}
    return rt.key(NAMESPACE, name), orjson.dumps(obj)


def _status(name: str) -> dict[str, Any]:
    """Give the status of a Job that ran: with the decision of the real placement over three clusters."""
    views = [_view("onprem-gpu", 8), _view("edge-lab", 0), _view("cloud", 16)]
    demand = Demand(
        job=f"{NAMESPACE}/{name}",
        pod=PodDemand(ResourceVector(100, 64 * 2**20, 0)),
        count=1,
        inputs=(),
        clusters=LabelSelector(match_labels={"site": "lab"}),
        residency=(),
        duration_seconds=5.0,
        duration_source="expectedDuration",
        seconds_per_currency=60.0,
    )
    decision = decide(demand, ClusterTable.of(views, Links.of(views, _NOW)), decided_at=_NOW)
    at = _NOW.isoformat().replace("+00:00", "Z")
    complete = {"type": "Complete", "status": "True", "reason": "Completed", "message": "", "lastTransitionTime": at}
    return {
        "phase": "Succeeded",
        "reason": "Completed",
        "message": "",
        "cluster": decision.selected,
        "run": f"{name}-1",
        "attempts": 1,
        "queuedAt": at,
        "startedAt": at,
        "finishedAt": at,
        "conditions": [complete],
        "observedGeneration": 1,
        "decision": decision.to_dict(),
    }


def _view(name: str, gpus: int) -> ClusterView:
    whole = ResourceVector(64_000, 256 * _GIB, gpus)
    shape = Shape(4, whole, whole, "NVIDIA-A100-SXM4-40GB" if gpus else None, 40 * _GIB if gpus else 0)
    return ClusterView(
        name, phase="Ready", labels={"site": "lab"}, shapes=(shape,), storage=StorageView("csi", 10**12),
        uplink=Uplink(10**9, 0.02),
    )  # fmt: skip
