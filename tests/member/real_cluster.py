"""A real API server as a cluster for the agent, with the test's own hands on it over HTTP.

It has no controllers: what the agent needs of them is played here (garbage collection), and what a test leaves behind
is removed so that the next one finds an empty cluster. The agent reaches it through a door that can be shut.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from member.world import Json, eventually
from real_kube import TOKEN, RealServer, url_of, write_kubeconfig

MERGE = "application/merge-patch+json"
# kind → (path of its API, plural, whether it is namespaced)
PLACES = {
    "ConfigMap": ("/api/v1", "configmaps", True),
    "Pod": ("/api/v1", "pods", True),
    "Job": ("/apis/batch/v1", "jobs", True),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
    "CiliumNetworkPolicy": ("/apis/cilium.io/v2", "ciliumnetworkpolicies", True),
    "Event": ("/api/v1", "events", True),
    "CSIStorageCapacity": ("/apis/storage.k8s.io/v1", "csistoragecapacities", True),
    "StorageClass": ("/apis/storage.k8s.io/v1", "storageclasses", False),
    "CSIDriver": ("/apis/storage.k8s.io/v1", "csidrivers", False),
    "Node": ("/api/v1", "nodes", False),
    "Namespace": ("/api/v1", "namespaces", False),
}
SYSTEM = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
_DEFINITION: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "ciliumnetworkpolicies.cilium.io"},
    "spec": {
        "group": "cilium.io",
        "scope": "Namespaced",
        "names": {"kind": "CiliumNetworkPolicy", "plural": "ciliumnetworkpolicies", "singular": "ciliumnetworkpolicy"},
        "versions": [
            {
                "name": "v2",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        ],
    },
}


class Door:
    """A port that leads to another one, bytes as they are, while it is open."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def shut(self) -> None:
        """Refuse new connections and cut those that are."""
        assert self._server
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            self._writers -= ends
            for end in ends:
                end.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()
    sink.close()


class RealCluster:
    """One API server. It has the hands of `world.Cluster` that need no controller and no kubelet."""

    def __init__(self, http: httpx.AsyncClient, door: Door, kubeconfig: Path) -> None:
        self._http, self._door, self.kubeconfig = http, door, kubeconfig

    async def start_server(self) -> None:
        await self._door.open()

    async def stop_server(self) -> None:
        """Take the API server away from the agent, cutting every connection; the objects stay."""
        await self._door.shut()

    async def create(self, manifest: Json) -> Json:
        return await self._send("POST", _path(manifest["kind"], manifest["metadata"].get("namespace")), manifest)

    async def join(self, node: Json) -> None:
        """Create a node, and write its status as its kubelet would."""
        await self.create(node)
        await self.set_status("Node", node["metadata"]["name"], node["status"])

    async def set_status(self, kind: str, name: str, status: Json, *, namespace: str | None = None) -> None:
        path = f"{_path(kind, namespace)}/{name}/status"
        await self._send("PATCH", path, {"status": status}, content_type=MERGE)

    async def edit(self, kind: str, name: str, patch: Json, *, namespace: str | None = None, manager: str = "") -> Json:
        path = f"{_path(kind, namespace)}/{name}?fieldManager={manager or 'kubectl-edit'}"
        return await self._send("PATCH", path, patch, content_type=MERGE)

    async def delete(self, kind: str, name: str, *, namespace: str | None = None) -> None:
        options = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
        await self._send("DELETE", f"{_path(kind, namespace)}/{name}", options)

    async def objects(self, kind: str, namespace: str | None = None) -> dict[str, Json]:
        return {item["metadata"]["name"]: item for item in await self._items(kind, namespace)}

    async def install_cilium(self) -> None:
        """Serve CiliumNetworkPolicies."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        answer = await self._http.post(path, json=_DEFINITION)
        assert answer.status_code in (201, 409), answer.text

        async def is_served() -> bool:
            return (await self._http.get(_path("CiliumNetworkPolicy", None))).status_code == 200

        await eventually(is_served)

    async def collect(self) -> None:
        """Play the garbage collector until cancelled: nothing here has dependents, so nothing has to be waited for."""
        while True:
            for job in await self._items("Job"):
                if "deletionTimestamp" in job["metadata"]:
                    await self._release("Job", job)
            await asyncio.sleep(0.1)

    async def clear(self) -> None:
        """Remove all that tests have made."""
        for kind in PLACES:
            for item in await self._items(kind):
                metadata = item["metadata"]
                where = metadata["name"] if kind == "Namespace" else metadata.get("namespace")
                if where not in SYSTEM:
                    await self._remove(kind, item)

    async def _remove(self, kind: str, item: Json) -> None:
        metadata = item["metadata"]
        await self.delete(kind, metadata["name"], namespace=metadata.get("namespace"))
        if kind == "Namespace":  # the namespace controller would finalize it
            live = await self._send("GET", f"{_path(kind, None)}/{metadata['name']}")
            path = f"{_path(kind, None)}/{metadata['name']}/finalize"
            await self._send("PUT", path, live | {"spec": {"finalizers": []}})
        else:
            await self._release(kind, item)

    async def _release(self, kind: str, item: Json) -> None:
        """Take off every finalizer of an object that may be gone already."""
        metadata = item["metadata"]
        path = f"{_path(kind, metadata.get('namespace'))}/{metadata['name']}"
        answer = await self._http.patch(path, json={"metadata": {"finalizers": None}}, headers={"Content-Type": MERGE})
        assert answer.status_code in (200, 404), answer.text

    async def _items(self, kind: str, namespace: str | None = None) -> list[Json]:
        items: list[Json] = (await self._send("GET", _path(kind, namespace)))["items"]
        return items

    async def _send(self, method: str, path: str, body: Json | None = None, *, content_type: str = "") -> Json:
        headers = {"Content-Type": content_type or "application/json"}
        answer = await self._http.request(method, path, json=body, headers=headers)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        found: Json = answer.json()
        return found


def _path(kind: str, namespace: str | None) -> str:
    prefix, plural, is_namespaced = PLACES[kind]
    where = f"/namespaces/{namespace}" if namespace and is_namespaced else ""
    return f"{prefix}{where}/{plural}"


@contextlib.asynccontextmanager
async def real_cluster(server: RealServer, folder: Path) -> AsyncIterator[RealCluster]:
    """Give an empty cluster for the time of a block."""
    door = Door(server.port)
    await door.open()
    kubeconfig = folder / "kubeconfig"
    write_kubeconfig(kubeconfig, url_of(door.port))
    how: dict[str, Any] = {"headers": {"Authorization": f"Bearer {TOKEN}"}, "verify": False, "timeout": 30}
    async with httpx.AsyncClient(base_url=server.url, **how) as http:
        cluster = RealCluster(http, door, kubeconfig)
        await cluster.install_cilium()
        collector = asyncio.create_task(cluster.collect())
        try:
            yield cluster
        finally:
            collector.cancel()
            await asyncio.gather(collector, return_exceptions=True)
            await cluster.clear()
            await door.shut()
