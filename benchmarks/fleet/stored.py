"""Objects of a hub that has worked for a while: Jobs that ended with their Runs, and Datasets, written past its API.

Owns how many of which there are. Each is admitted once by the hub's real rules; its copies differ in name, id, owner.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from atoll.federation.bus.connection import Bus
from atoll.federation.resources import API_GROUP
from atoll.federation.resources.run import RUN_FINALIZER
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store

Json = dict[str, Any]
VERSION = f"{API_GROUP}/v1alpha1"
QUEUE = "lab.batch"
_AT = "2026-11-22T12:00:00Z"
_NAMESPACES = 20
_WRITERS = 200


def job(name: str, *, gpus: int = 1) -> Json:
    """Give the manifest of a Job that asks for GPUs."""
    container = {"name": "main", "image": "busybox:1.37", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {
        "queue": QUEUE,
        "gpu": {"count": gpus},
        "expectedDuration": "5m",
        "workload": {"spec": {"template": template}},
    }
    return {"apiVersion": VERSION, "kind": "Job", "metadata": {"name": name, "namespace": "lab-0"}, "spec": spec}


def parents(cluster: str) -> Iterator[Json]:
    """Give the manifests that these objects need before them; `cluster` is one that they name."""
    for number in range(_NAMESPACES):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"lab-{number}"}}
    for name in ("lab", QUEUE):
        yield {"apiVersion": VERSION, "kind": "Queue", "metadata": {"name": name}}
    yield {"apiVersion": VERSION, "kind": "Cluster", "metadata": {"name": cluster}}


def _run(cluster: str) -> Json:
    metadata = {"name": "job-1", "namespace": "lab-0", "finalizers": [RUN_FINALIZER]}
    return {
        "apiVersion": VERSION, "kind": "Run", "metadata": metadata,
        "spec": {"job": "job", "cluster": cluster, "epoch": 1},
    }  # fmt: skip


def _dataset(cluster: str) -> Json:
    metadata = {"name": "data", "namespace": "lab-0"}
    return {"apiVersion": VERSION, "kind": "Dataset", "metadata": metadata, "spec": {"home": cluster}}


_ENDED = {"phase": "Succeeded", "reason": "Completed", "message": "", "startedAt": _AT, "finishedAt": _AT}
_COMPLETE = {
    "version": 1, "complete": True, "bytes": 10**9, "files": 12, "manifestSha256": "a" * 64, "completedAt": _AT,
}  # fmt: skip


async def fill(bus: Bus, count: int, clusters: Sequence[str]) -> None:
    """Store two Jobs with their Runs for each Dataset, as many objects as asked for."""
    pairs = iter(await _objects(count, clusters))
    storage = await JetStreamStorage.open(bus)

    async def work() -> None:
        for key, value in pairs:
            await storage.write(key, value, expected=0)

    await asyncio.gather(*(work() for _ in range(_WRITERS)))


async def wait_in_line(bus: Bus, told: Json, count: int, also: Json) -> None:
    """Store copies of a Job that waits and was told why, each with an argument of its own, and one Job more."""
    storage = await JetStreamStorage.open(bus)
    existing = ExistingObjects()
    store = Store(build_registry(existing), MemoryStorage())
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await storage.write(*_copy(store, _with_argument(told, number), f"waits-{number:06}"), expected=0)

    await asyncio.gather(*(work() for _ in range(_WRITERS)))
    await storage.write(*_copy(store, also, f"fits-{count}"), expected=0)


def _with_argument(job_: Json, number: int) -> Json:
    """Give a Job of the same template: it differs in what it is to work on."""
    copied: Json = orjson.loads(orjson.dumps(job_))
    copied["metadata"].pop("resourceVersion", None)
    copied["spec"]["workload"]["spec"]["template"]["spec"]["containers"][0]["args"] = ["--part", str(number)]
    return copied


async def _objects(count: int, clusters: Sequence[str]) -> list[tuple[str, bytes]]:
    existing = ExistingObjects()
    store = existing.store = Store(build_registry(existing), MemoryStorage(), require_namespaces=True)
    await store.start()
    for parent in parents(clusters[0]):
        await store.create(_type(store, parent), parent)
    ended = {**_ENDED, "cluster": clusters[0], "run": "job-1", "attempts": 1, "queuedAt": _AT}
    job_, run, dataset = [
        await _admitted(store, manifest, status)
        for manifest, status in ((job("job"), ended), (_run(clusters[0]), _ENDED), (_dataset(clusters[0]), _COMPLETE))
    ]
    found: list[tuple[str, bytes]] = []
    for number in range(count // 5):
        found.append(_copy(store, dataset, f"data-{number:05}", home=clusters[number % len(clusters) // 10]))
        for name in (f"job-{number:05}-a", f"job-{number:05}-b"):
            found += [_copy(store, job_, name), _copy(store, run, f"{name}-1", job=name)]
    await store.close()
    return found


async def _admitted(store: Store, manifest: Json, status: Json) -> Json:
    rt = _type(store, manifest)
    created = await store.create(rt, manifest, field_manager="atoll")
    updated = await store.update(rt, {**created, "status": status}, subresource="status", field_manager="atoll-hub")
    del updated["metadata"]["resourceVersion"]
    return updated


def _copy(store: Store, template: Json, name: str, **spec: str) -> tuple[str, bytes]:
    """Give key and value of one more of a kind; a Run is its Job's."""
    namespace = namespace_of(int(name.split("-")[1]))
    metadata = {**template["metadata"], "name": name, "namespace": namespace, "uid": _uid(template["kind"], name)}
    if "job" in spec:
        owner = {"apiVersion": VERSION, "kind": "Job", "name": spec["job"], "uid": _uid("Job", spec["job"])}
        metadata["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
    obj = {**template, "metadata": metadata, "spec": {**template["spec"], **spec}}
    if template["kind"] == "Job" and "run" in template["status"]:
        obj["status"] = {**template["status"], "run": f"{name}-1"}
    return _type(store, template).key(namespace, name), orjson.dumps(obj)


def namespace_of(number: int) -> str:
    """Name the namespace of the copies of a number."""
    return f"lab-{number % _NAMESPACES}"


def _uid(kind: str, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}/{name}"))


def _type(store: Store, manifest: Json) -> ResourceType:
    rt = store.registry.by_kind(manifest["apiVersion"].rpartition("/")[0], manifest["kind"])
    assert rt is not None, "the hub serves the kind"
    return rt
