"""What exists, by the store's cache: what admission asks before a write, and in a moment.

Owns the looks that parse nothing, or little. It must not write, nor wait for anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.federation.resources import API_GROUP, BY_NAME, FINISHED_JOB_PHASES, Job, Resource, resolve
from atoll.federation.workloads import Level, level_of
from atoll.hub.glances import phase_of
from atoll.kubeapi.resource import Registry, ResourceType
from atoll.kubeapi.store import Store


@dataclass
class ExistingObjects:
    """What exists. Admission needs it before the store can be made: `store` is set then."""

    store: Store | None = field(default=None)

    def has(self, model: type[Resource], namespace: str | None, name: str) -> bool:
        """Tell whether the cache holds the object."""
        store = self._served()
        rt = type_of(store.registry, model)
        return store.cache.get(rt.prefix, rt.key(namespace, name)) is not None

    def awaited_jobs(self, namespace: str, name: str) -> tuple[str, ...]:
        """Name the jobs that a job depends on until it is placed."""
        store = self._served()
        rt = type_of(store.registry, Job)
        entry = store.cache.get(rt.prefix, rt.key(namespace, name))
        if entry is None or b"dependsOn" not in entry.raw:
            return ()
        job = entry.decode()
        status = job.get("status", {})
        if phase_of(job) not in ("", "Pending") or status.get("attempts"):
            return ()
        return tuple("/".join(resolve(each["job"], namespace)) for each in job["spec"].get("dependsOn", ()))

    def unfinished_jobs(self, queue: str) -> int:
        """Count the jobs of a queue that wait or run."""
        store = self._served()
        entries = store.cache.bucket(type_of(store.registry, Job).prefix).entries.values()
        # Most jobs are of other queues: their bytes say so without being decoded.
        jobs = (entry.decode() for entry in list(entries) if queue.encode() in entry.raw)
        return sum(job["spec"]["queue"] == queue and _is_unfinished(job) for job in jobs)

    def pod_security(self, namespace: str) -> Level:
        """Tell what pods may have in a namespace."""
        return pod_security(self._served(), namespace)

    def _served(self) -> Store:
        assert self.store is not None, "the composition root sets the store before it serves"
        return self.store


def pod_security(store: Store, namespace: str) -> Level:
    """Read off a Namespace what its pods may have."""
    rt = store.registry.by_kind("", "Namespace")
    entry = store.cache.get(rt.prefix, rt.key(None, namespace)) if rt is not None else None
    return level_of(entry.decode()["metadata"].get("labels") if entry is not None else None)


def type_of(registry: Registry, model: type[Resource]) -> ResourceType:
    """Find the served resource of a kind of ours."""
    kind = str(model.model_fields["kind"].default)
    rt = registry.by_kind(API_GROUP, kind)
    assert rt is not None, f"{kind} is in the catalog: {kind in BY_NAME}"
    return rt


def _is_unfinished(job: Mapping[str, Any]) -> bool:
    return phase_of(job) not in FINISHED_JOB_PHASES
