"""A small cluster for the agent: the sandbox's kinds, Job controller and garbage collector over HTTP, and faults.

There is no scheduler and no kubelet: the test itself is both, so that it decides when a pod starts and how it ends.
"""

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from starlette.types import ASGIApp, Receive, Scope, Send

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.gc import GarbageCollector
from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.sandbox.controllers import runtime
from atoll.sandbox.controllers.job import JobController
from atoll.sandbox.controllers.operator import Operator
from atoll.sandbox.kinds import catalog
from atoll.sandbox.kinds.operated import adapters_of, operated

Json = dict[str, Any]
VERSION = {"major": "1", "minor": "33", "gitVersion": "v1.33.1+k3s1", "platform": "linux/amd64"}


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Faults:
    """Stands between the wire and the API server, and misbehaves when told to."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self.delay_seconds = 0.0
        self.throttle_next = 0
        self.expire_next_watches = 0
        self.end_watches = False
        self.fail_next = 0
        self.expire_next_pages = 0
        self.forbidden: set[str] = set()  # paths
        self.chaos: random.Random | None = None
        self.requests: list[tuple[str, str]] = []
        self.authorization = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        if scope["type"] == "http":
            self.requests.append((scope["method"], scope["path"]))
            self.authorization = dict(scope["headers"]).get(b"authorization", b"")
            await asyncio.sleep(self.delay_seconds)
            is_watch = b"watch=true" in scope["query_string"]
            if self.throttle_next > 0:
                self.throttle_next -= 1
                await _refuse(send, 429, "TooManyRequests", {b"retry-after": b"1"})
                return
            if is_watch and self.expire_next_watches > 0:
                self.expire_next_watches -= 1
                await _refuse(send, 410, "Expired", {})
                return
            if self.chaos is not None and await self._misbehave(self.chaos, send):
                return
            if scope["path"] in self.forbidden:
                await _refuse(send, 403, "Forbidden", {})
                return
            if self.fail_next > 0:
                self.fail_next -= 1
                await _refuse(send, 500, "InternalError", {})
                return
            if b"continue=" in scope["query_string"] and self.expire_next_pages > 0:
                self.expire_next_pages -= 1
                await _refuse(send, 410, "Expired", {})
                return
            if is_watch and self.end_watches:
                await _answer(send, 200, b"", {})
                return
        await self.app(scope, receive, send)

    async def _misbehave(self, chaos: random.Random, send: Send) -> bool:
        """Do to every second request one of the things that API servers and proxies do in bad times."""
        fault = chaos.choice(("", "", "", "", "500", "503", "410", "429", "hang", "nonsense"))
        if fault == "hang":
            await asyncio.sleep(60)
        elif fault == "nonsense":
            await _answer(send, 200, b"<html>please wait", {})
        elif fault:
            await _refuse(send, int(fault), "InBadTimes", {b"retry-after": b"0"} if fault == "429" else {})
        return bool(fault)


async def _refuse(send: Send, code: int, reason: str, headers: dict[bytes, bytes]) -> None:
    status = {"kind": "Status", "apiVersion": "v1", "reason": reason, "message": reason, "code": code}
    await _answer(send, code, json.dumps(status).encode(), headers)


async def _answer(send: Send, code: int, body: bytes, headers: dict[bytes, bytes]) -> None:
    head = [(b"content-type", b"application/json"), *headers.items()]
    await send({"type": "http.response.start", "status": code, "headers": head})
    await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to pytest."""
        yield


def _new_store() -> Store:
    return Store(catalog.registry(), MemoryStorage(), require_namespaces=True)


class Cluster:
    """One simulated cluster. `kubeconfig` is how to reach it."""

    def __init__(self, folder: Path) -> None:
        self.store = _new_store()
        self.faults = Faults()
        self.access = Access()  # everybody may do everything, unless a test says otherwise before `start`
        self._controllers: list[asyncio.Task[None]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(f"http://127.0.0.1:{self.port}")))

    async def start(self, *seeded: Json) -> None:
        """Begin to serve, to run Jobs and to collect garbage; what is seeded is there before."""
        await self.store.start()
        for manifest in seeded:
            await self.create(manifest)
        self.faults.app = create_app(self.store, self.store.registry, version=VERSION, access=self.access)
        jobs = JobController(self.store, lambda: datetime.now(UTC)).controller()
        parts = (runtime.run(jobs, self.store), GarbageCollector(self.store).run(), self.reap())
        self._controllers = [asyncio.create_task(part) for part in parts]
        await self.start_server()

    async def stop(self) -> None:
        """End everything, cutting every connection."""
        for task in self._controllers:
            task.cancel()
        await asyncio.gather(*self._controllers, return_exceptions=True)
        await self.stop_server()
        await self.store.close()

    async def start_empty(self, *seeded: Json) -> None:
        """Come back on the same port with no object but these; resourceVersions begin again."""
        self.store = _new_store()
        await self.start(*seeded)

    async def start_server(self) -> None:
        config = uvicorn.Config(self.faults, log_level="error", lifespan="off", timeout_graceful_shutdown=2)
        if self._listener.fileno() == -1:
            self._listener = socket.create_server(("127.0.0.1", self.port))
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        while not self._server.started:
            await asyncio.sleep(0.005)

    async def stop_server(self) -> None:
        """Take the API server away, cutting every connection; the objects stay."""
        assert self._server and self._serving
        self._server.should_exit = self._server.force_exit = True
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        await self._serving
        self._listener.close()

    def cut(self) -> None:
        """Cut every connection that is; new ones are taken."""
        assert self._server
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()

    def serve(self, *types: ResourceType) -> None:
        """Serve more kinds from now on, as after the installation of what provides them."""
        for rt in types:
            self.store.registry.register(rt)

    def operate(self, *kinds: str) -> None:
        """Serve kinds of workloads from now on, each with an operator."""
        for adapter in adapters_of(kinds):
            rt = operated(adapter)
            self.serve(rt)
            operator = Operator(self.store, rt, adapter, lambda: datetime.now(UTC)).controller()
            self._controllers.append(asyncio.create_task(runtime.run(operator, self.store)))

    def withdraw(self, kind: str) -> None:
        """Serve a kind no more, as after its definition was deleted."""
        self.store.registry.unregister(self._type(kind))

    # --- the test's own hands, past the API server

    async def create(self, manifest: Json) -> Json:
        rt = self._type(manifest["kind"])
        return await self.store.create(rt, manifest, namespace=manifest["metadata"].get("namespace"))

    async def join(self, node: Json) -> None:
        """Create a node, and write its status as its kubelet would."""
        await self.create(node)
        await self.set_status("Node", node["metadata"]["name"], node["status"])

    async def set_status(self, kind: str, name: str, status: Json, *, namespace: str | None = None) -> None:
        patch = Patch("merge", {"status": status})
        await self.store.patch(self._type(kind), namespace, name, patch, subresource="status")

    async def edit(self, kind: str, name: str, patch: Json, *, namespace: str | None = None, manager: str = "") -> Json:
        return await self.store.patch(
            self._type(kind), namespace, name, Patch("merge", patch), field_manager=manager or "kubectl-edit"
        )

    async def delete(self, kind: str, name: str, *, namespace: str | None = None) -> None:
        await self.store.delete(self._type(kind), namespace, name, propagation="Background")

    async def objects(self, kind: str, namespace: str | None = None) -> dict[str, Json]:
        listing = await self.store.list(self._type(kind), namespace)
        return {item["metadata"]["name"]: item for item in listing.items}

    def _type(self, kind: str) -> Any:
        return next(rt for rt in self.store.registry.all() if rt.kind == kind)

    async def pod_of(self, run: str, namespace: str) -> Json:
        """Wait for the pod that the Job controller makes for a run."""

        async def look() -> Json | None:
            pods = await self.objects("Pod", namespace)
            live = (pod for pod in pods.values() if "deletionTimestamp" not in pod["metadata"])
            return next((pod for pod in live if pod["metadata"]["labels"].get("job-name") == run), None)

        return await eventually(look)

    async def set_pod(
        self, pod: Json, phase: str, *, state: Json | None = None, conditions: list[Json] | None = None
    ) -> None:
        """Play kubelet and scheduler: put the pod on a node and write its status."""
        metadata = pod["metadata"]
        if state is not None and not pod["spec"].get("nodeName"):
            await self.edit("Pod", metadata["name"], {"spec": {"nodeName": "n1"}}, namespace=metadata["namespace"])
        status: Json = {"phase": phase, "conditions": conditions or []}
        if state is not None:
            name = pod["spec"]["containers"][0]["name"]
            image = {"image": "x", "imageID": "x", "restartCount": 0, "ready": phase == "Running"}
            status["containerStatuses"] = [{"name": name, "state": state} | image]
        await self.set_status("Pod", metadata["name"], status, namespace=metadata["namespace"])

    async def end_pod(self, pod: Json, exit_code: int, *, began: str, reason: str = "") -> None:
        ended = {"exitCode": exit_code, "startedAt": began, "finishedAt": now_text(), "reason": reason or "Completed"}
        await self.set_pod(pod, "Failed" if exit_code else "Succeeded", state={"terminated": ended})

    async def reap(self) -> None:
        """Play the kubelet that ends the pods which are being deleted, until cancelled."""
        while True:
            for pod in (await self.objects("Pod")).values():
                if "deletionTimestamp" in pod["metadata"]:
                    with contextlib.suppress(NotFound):
                        await self._end_deleted(pod)
            await asyncio.sleep(0.05)

    async def _end_deleted(self, pod: Json) -> None:
        if pod["status"]["phase"] not in ("Succeeded", "Failed"):
            await self.set_pod(pod, "Failed")
        metadata = pod["metadata"]
        await self.store.delete(self._type("Pod"), metadata["namespace"], metadata["name"], grace_seconds=0)


@contextlib.asynccontextmanager
async def running_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """A cluster that serves, runs Jobs and collects garbage for the time of a block."""
    cluster = Cluster(folder)
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()


async def eventually(look: Callable[[], Awaitable[Any]], *, within_seconds: float = 15.0) -> Any:
    """Give the first answer that is not falsy."""
    last: Any = None
    try:
        async with asyncio.timeout(within_seconds):
            while not (last := await look()):
                await asyncio.sleep(0.03)
    except TimeoutError:
        raise AssertionError(f"nothing came within {within_seconds} s; last answer: {last!r}") from None
    return last


def node(name: str = "n1", *, gpus: int = 0, labels: dict[str, str] | None = None) -> Json:
    capacity = {"cpu": "8", "memory": "32Gi", "pods": "110"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    info = {"kubeletVersion": "v1.33.1+k3s1"}
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastTransitionTime": now_text(),
        "message": "",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64", **(labels or {})}},
        "status": {"capacity": capacity, "allocatable": capacity, "nodeInfo": info, "conditions": [ready]},
    }


def _kubeconfig(server: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {"token": "secret-of-the-test"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
