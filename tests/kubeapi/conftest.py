"""A store of the test kinds, and the same over HTTP on a port of its own."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from atoll.kubeapi.http import create_app
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from kubeapi.kinds import make_registry

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
async def serving(app: ASGIApp, store: Store) -> AsyncIterator[str]:
    """Serve an application over HTTP for the time of a block; the store is closed first so that watches end."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
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
