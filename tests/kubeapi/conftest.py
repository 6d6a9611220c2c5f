"""A store of the test kinds, and the same over HTTP on a port of its own."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from atoll.kubeapi.http import create_app
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from kubeapi.kinds import make_registry
from kubeapi.targets import CLUSTER, HUB, Target, cluster_target, hub_target
from kubeapi.things import THINGS
from kubeapi.told import Told, in_new_namespace
from sandbox import worlds

VERSION = {"major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64"}


@dataclass
class Finished:
    """What a program answered."""

    code: int
    out: str
    err: str


@dataclass
class Kubectl:
    """The real kubectl against one server."""

    server: str
    home: Path

    async def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Finished:
        process = await self.start(*arguments, **environment)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert process.returncode is not None
        return Finished(process.returncode, out.decode(), err.decode())

    async def ok(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """Run, demand success, and return what was printed."""
        finished = await self(*arguments, stdin=stdin, **environment)
        assert finished.code == 0, f"kubectl {' '.join(arguments)}: {finished.out}{finished.err}"
        return finished.out

    async def start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("kubectl"),
            "--server",
            self.server,
            *arguments,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "KUBECONFIG": "/dev/null", **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, store: Store, *, ssl_certfile: str | None = None, ssl_keyfile: str | None = None
) -> AsyncIterator[str]:
    """Serve an application over HTTP for the time of a block; the store is closed first so that watches end."""
    listener = socket.create_server(("127.0.0.1", 0))
    files = {"ssl_certfile": ssl_certfile, "ssl_keyfile": ssl_keyfile} if ssl_certfile else {}
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2, **files)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http{'s' if ssl_certfile else ''}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await store.close()
        server.should_exit = True
        await task


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """An empty store in memory."""
    store = Store(make_registry(), MemoryStorage())
    await store.start()
    yield store
    await store.close()


@pytest.fixture
async def server(store: Store) -> AsyncIterator[str]:
    """The address of the store over HTTP."""
    async with serving(create_app(store, store.registry, version=VERSION), store) as url:
        yield url


@pytest.fixture
async def http(server: str) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client of the server."""
    async with httpx.AsyncClient(base_url=server, timeout=20) as client:
        yield client


@pytest.fixture
def kubectl(server: str, tmp_path: Path) -> Kubectl:
    """kubectl, talking to the server."""
    return Kubectl(server, tmp_path)


@pytest.fixture(scope="session")
def hub_server(shared_nats_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A hub, for the whole session."""
    with hub_target(shared_nats_server.url, tmp_path_factory.mktemp("hub")) as target:
        yield target


@pytest.fixture(scope="session")
def cluster_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A simulated cluster, for the whole session."""
    with cluster_target(tmp_path_factory.mktemp("cluster")) as target:
        yield target


@pytest.fixture(params=[HUB, CLUSTER])
def target(request: pytest.FixtureRequest) -> Target:
    """Each of the two servers."""
    found: Target = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def room(target: Target) -> worlds.Kubectl:
    """kubectl in a new namespace of each server."""
    return in_new_namespace(target)


@pytest.fixture(params=THINGS)
def told(request: pytest.FixtureRequest) -> Told:
    """Each kind of thing, with kubectl in a new namespace of its server."""
    thing = THINGS[request.param]
    return Told(thing, in_new_namespace(request.getfixturevalue(f"{thing.target}_server")))
