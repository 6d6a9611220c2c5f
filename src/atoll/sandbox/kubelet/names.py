"""The names by which pods of a simulated cluster find each other, where their addresses are real ones.

Owns one hosts file per cluster, which its containers see as /etc/hosts: each Service is all of its pods that are ready,
and each pod with a hostname and a subdomain is itself (Kubernetes DNS specification, sections 2.3 and 2.4). There is no
proxy: a Service's port has to be the port of its pods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import POD, SERVICE
from atoll.sandbox.kubelet.paths import Mount
from atoll.sandbox.watching import follow

HOSTS = "/etc/hosts"
_OWN = "127.0.0.1 localhost\n::1 localhost\n"


class Names:
    """The hosts file of one cluster."""

    def __init__(self, store: Store, path: Path) -> None:
        """Keep the names of the pods in `store` in the file `path`, which is there from now on."""
        self._store, self._path = store, path
        self._is_due = asyncio.Event()
        path.write_text(_OWN)

    @property
    def mount(self) -> Mount:
        """How a container sees it."""
        return Mount(self._path, HOSTS, is_read_only=True)

    async def run(self) -> None:
        """Follow services and pods until cancelled."""
        async with asyncio.TaskGroup() as group:
            for rt in (SERVICE, POD):
                group.create_task(self._feed(rt), name=f"names-{rt.plural}")
            while True:
                await self._is_due.wait()
                self._is_due.clear()
                await self._write()

    async def _feed(self, rt: ResourceType) -> None:
        async for _ in follow(self._store, rt):
            self._is_due.set()

    async def _write(self) -> None:
        """Write in place: containers hold the file itself, and would not see another one of its name."""
        services, pods = (await self._store.list(SERVICE)).items, (await self._store.list(POD)).items
        text = _OWN + "".join(f"{line}\n" for line in lines(services, pods))
        if text != self._path.read_text():
            self._path.write_text(text)


def lines(services: Iterable[Object], pods: Iterable[Object]) -> Iterator[str]:
    """Give the lines of a hosts file."""
    reachable = [pod for pod in pods if pod.get("status", {}).get("podIP") and _is_alive(pod)]
    for service in services:
        metadata, spec = service["metadata"], service.get("spec", {})
        for pod in reachable:
            if not _is_behind(pod, metadata["namespace"], spec):
                continue
            address, name = pod["status"]["podIP"], f"{metadata['name']}.{metadata['namespace']}"
            if _is_ready(pod) or spec.get("publishNotReadyAddresses"):
                yield f"{address} {_forms(name)}"
                if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == metadata["name"]:
                    yield f"{address} {_forms(pod['spec']['hostname'] + '.' + name)}"


def _forms(name: str) -> str:
    return f"{name}.svc.cluster.local {name}.svc {name}"


def _is_behind(pod: Object, namespace: str, service: Object) -> bool:
    wanted, labels = service.get("selector") or {}, pod["metadata"].get("labels") or {}
    return bool(wanted) and pod["metadata"]["namespace"] == namespace and wanted.items() <= labels.items()


def _is_alive(pod: Object) -> bool:
    return pod["status"].get("phase") not in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]


def _is_ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
