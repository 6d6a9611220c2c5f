"""The door to the Cilium agent: its words as a table, and over a unix socket what happens when it is not well."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atoll.edge.member.cilium import CiliumAgent, Mesh, read_mesh, why_not_ready

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
Json = dict[str, Any]
ALL_SYNCED = {"nodes": True, "endpoints": True, "identities": True, "services": True}
RETRIEVED = {"required": True, "retrieved": True, "cluster-id": 3}

# narrative: RemoteCluster without what Go leaves out → the reason, in cilium-cli's order
REASONS: dict[str, tuple[Json, str]] = {
    "never connected": (
        {"name": "b", "status": "Waiting for initial connection to be established"},
        "Waiting for initial",
    ),
    "not connected, no words": ({"name": "b"}, "not connected"),
    "no configuration section": ({"connected": True, "synced": ALL_SYNCED}, "configuration is unknown"),
    "configuration missing": ({"connected": True, "config": {"required": True}}, "configuration missing"),
    "no sync section": ({"connected": True, "config": RETRIEVED}, "synchronization status unknown"),
    "some behind": (
        {"connected": True, "config": RETRIEVED, "synced": {"nodes": True, "services": True}},
        "in progress for endpoints, identities",
    ),
    "unwatched exports are no failure": ({"connected": True, "config": RETRIEVED, "synced": ALL_SYNCED}, "not ready"),
    "watched exports are": (
        {"connected": True, "config": RETRIEVED, "synced": {**ALL_SYNCED, "service-exports": False}},
        "in progress for service-exports",
    ),
}


@pytest.mark.parametrize("narrative", REASONS)
def test_a_link_that_is_not_ready_says_why(narrative: str) -> None:
    """Absent means false, and the first reason in cilium-cli's order is the one that is told."""
    cluster, words = REASONS[narrative]
    assert words in why_not_ready(cluster)


def test_links_are_read_with_what_go_leaves_out() -> None:
    """A ready link is proven now; a dead one has zeros, no proof and the agent's words."""
    ready = {"name": "cloud-eu", "ready": True, "connected": True, "num-nodes": 4, "num-failures": 2}
    status = {
        "cilium": {"state": "Ok", "msg": "1.18.2 (v1.18.2-0ec01a8e)"},
        "cluster-mesh": {"clusters": [ready, {"name": "b"}]},
    }
    mesh = read_mesh(status, NOW)
    dead, alive = mesh.links
    assert mesh.version == "1.18.2"
    assert (alive.peer, alive.is_ready, alive.remote_nodes, alive.failures) == ("cloud-eu", True, 4, 2)
    assert (alive.last_proven_at, alive.reason) == (NOW, "")
    assert (dead.peer, dead.is_connected, dead.is_ready, dead.last_proven_at) == ("b", False, False, None)
    assert dead.reason == "not connected"


@contextlib.asynccontextmanager
async def answering(socket: Path, answer: Response) -> AsyncIterator[None]:
    """A Cilium agent that gives one answer on its socket."""

    async def healthz(_request: Request) -> Response:
        return answer

    app = Starlette(routes=[Route("/v1/healthz", healthz)])
    server = uvicorn.Server(uvicorn.Config(app, uds=str(socket), log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def ask(socket: Path) -> Mesh:
    agent = CiliumAgent(socket)
    try:
        return await agent.mesh(NOW)
    finally:
        await agent.close()


ANSWERS: dict[str, tuple[Response, str]] = {
    "no mesh": (JSONResponse({"cilium": {"state": "Ok"}}), "Cluster Mesh is not enabled"),
    "disabled API": (Response(status_code=403), "--enable-cilium-api-server-access"),
    "overloaded": (Response(status_code=500), "HTTP status 500"),
    "nonsense": (Response("hello"), "no status"),
    "JSON of another kind": (JSONResponse([1]), "no status"),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_what_the_agent_cannot_say_is_a_message(tmp_path: Path, what: str) -> None:
    """No answer of the socket raises; the message says what is wrong."""
    answer, words = ANSWERS[what]
    async with answering(tmp_path / "cilium.sock", answer):
        mesh = await ask(tmp_path / "cilium.sock")
    assert mesh.links == ()
    assert words in mesh.message


async def test_links_come_over_the_socket(tmp_path: Path) -> None:
    """A real HTTP answer on a unix socket becomes links."""
    status = {"cluster-mesh": {"clusters": [{"name": "b", "ready": True, "connected": True}]}}
    async with answering(tmp_path / "cilium.sock", JSONResponse(status)):
        mesh = await ask(tmp_path / "cilium.sock")
    assert [(link.peer, link.is_ready) for link in mesh.links] == [("b", True)]


async def test_an_absent_socket_is_a_message(tmp_path: Path) -> None:
    """A cluster whose Cilium is not there says so and goes on."""
    mesh = await ask(tmp_path / "nowhere.sock")
    assert "nowhere.sock" in mesh.message
