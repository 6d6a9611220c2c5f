"""A member cluster for the dispatch benchmark: its API server in memory, in a process of its own, over HTTP.

    python benchmarks/fleet/dispatch_member.py [--seconds 1.0]

It serves the kinds of a simulated cluster, and one ready node that is large enough for everything. Each batch/v1 Job is
said when it is there and not suspended, and is Complete some seconds later; it makes no pods. Prints JSON by lines:

    {"port": 40123}
    {"event": "dispatched", "job": NAME, "at": SECONDS}     of the machine's monotonic clock, which processes share
    {"event": "requests", "count": N}                       in answer to a line on stdin: what clients asked for so far

Nothing is measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from atoll.kubeapi.errors import ApiError
from atoll.kubeapi.http import create_app
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import JOB, NAMESPACE, NODE, registry

_VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0", "platform": "linux/amd64"}
_AMOUNTS = {"cpu": "100000", "memory": "1000000Gi", "pods": "1000000"}


class Counted:
    """An application whose requests are counted; a watch is one."""

    def __init__(self, app: ASGIApp) -> None:
        """Count from now on."""
        self._app, self.count = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        self.count += scope["type"] == "http"
        await self._app(scope, receive, send)


class Jobs:
    """Plays the Job controller without pods: a Job runs for some seconds, then it is Complete."""

    def __init__(self, store: Store, seconds: float) -> None:
        """Run Jobs so long."""
        self._store, self._seconds = store, seconds
        self._seen: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow Jobs for ever."""
        async for event in self._store.watch(JOB, None):
            job = event.object
            if event.type in ("ADDED", "MODIFIED") and not job["spec"].get("suspend"):
                self._begin(job)

    def _begin(self, job: dict[str, Any]) -> None:
        uid = job["metadata"]["uid"]
        if uid in self._seen:
            return
        self._seen.add(uid)
        _say({"event": "dispatched", "job": job["metadata"]["name"], "at": time.monotonic()})
        task = asyncio.create_task(self._complete(job["metadata"]["namespace"], job["metadata"]["name"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _complete(self, namespace: str, name: str) -> None:
        began = _now()
        await asyncio.sleep(self._seconds)
        ended = _now()
        condition = {"type": "Complete", "status": "True", "lastTransitionTime": ended}
        status = {"startTime": began, "completionTime": ended, "succeeded": 1, "conditions": [condition]}
        try:
            job = await self._store.get(JOB, namespace, name)
            await self._store.update(JOB, {**job, "status": status}, subresource="status")
        except ApiError:  # it was deleted meanwhile
            return


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(what).decode() + "\n")
    sys.stdout.flush()


def _node() -> dict[str, Any]:
    labels = {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": "large"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "large", "labels": labels},
        "status": {
            "allocatable": _AMOUNTS,
            "capacity": _AMOUNTS,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Linux", "architecture": "amd64"},
        },
    }


async def serve(seconds: float) -> None:
    """Serve the cluster until the process is ended."""
    store = Store(registry(), MemoryStorage(), require_namespaces=True)
    await store.start()
    for name in ("kube-system", "default"):
        await store.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await store.create(NODE, _node())
    node = await store.get(NODE, None, "large")
    await store.update(NODE, {**node, "status": _node()["status"]}, subresource="status")
    app = Counted(create_app(store, store.registry, version=_VERSION))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    _say({"port": listener.getsockname()[1]})
    async with asyncio.TaskGroup() as group:
        group.create_task(Jobs(store, seconds).run())
        group.create_task(_answer(app))
        group.create_task(server.serve(sockets=[listener]))


async def _answer(app: Counted) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        _say({"event": "requests", "count": app.count})


def main(arguments: Sequence[str]) -> None:
    """Parse and serve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="How long each Job runs.")
    asyncio.run(serve(parser.parse_args(arguments).seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
