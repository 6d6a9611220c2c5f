"""The door to the Cilium agent: its words as a table, and over real unix sockets what happens when it is not well."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atoll.edge.member.cilium import CiliumAgent
from atoll.edge.member.mesh.health import Probe, Reach, reach_of, read_health
from atoll.edge.member.mesh.merging import Look
from atoll.edge.member.mesh.reading import read_remotes, read_status, why_not_ready
from atoll.edge.member.mesh.sources import SocketSource
from atoll.federation.errors import AtollError, Internal

FAILED = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
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


def test_remote_clusters_are_read_with_what_go_leaves_out() -> None:
    """What is absent is false or zero, Go's zero time is never, and the version is the first word."""
    ready = {
        "name": "cloud-eu",
        "ready": True,
        "connected": True,
        "num-nodes": 4,
        "num-failures": 2,
        "last-failure": "2026-11-22T11:00:00.000Z",
        "config": {"cluster-id": 7, "kvstoremesh": True},
    }
    status = read_status(
        {
            "cilium": {"state": "Ok", "msg": "1.18.2 (v1.18.2-0ec01a8e)"},
            "cluster-mesh": {"clusters": [ready, {"name": "b", "last-failure": "0001-01-01T00:00:00.000Z"}]},
        }
    )
    assert status.version == "1.18.2"
    dead, alive = status.views or ()
    assert (alive.peer, alive.is_ready, alive.nodes, alive.failures) == ("cloud-eu", True, 4, 2)
    assert (alive.last_failure_at, alive.peer_id, alive.is_cached, alive.reason) == (FAILED, 7, True, "")
    assert (dead.peer, dead.is_connected, dead.is_ready, dead.last_failure_at) == ("b", False, False, None)
    assert (dead.reason, dead.peer_id, dead.is_cached) == ("not connected", 0, False)


def test_an_agent_without_cluster_mesh_is_told_from_one_without_peers() -> None:
    """An absent section means that the mesh is off; an empty one that nobody is connected yet."""
    assert read_status({"cilium": {}}).views is None
    assert read_status({"cluster-mesh": {}}).views == ()


def test_an_answer_that_says_too_much_is_told_in_bounds() -> None:
    """A peer that is listed twice is one, its newest words count; numbers and words end somewhere."""
    first = {"name": "b", "ready": True, "connected": True}
    second = {"name": "b", "num-nodes": 10**30, "num-failures": -7, "status": "x" * 100_000}
    (view,) = read_remotes([first, second])
    assert (view.is_ready, view.failures, len(view.reason)) == (False, 0, 300)
    assert view.nodes < 2**31


MALFORMED: dict[str, Any] = {
    "a list": [1],
    "text": "hello",
    "nothing": None,
    "clusters that are no list": {"cluster-mesh": {"clusters": 7}},
    "a cluster that is text": {"cluster-mesh": {"clusters": ["b"]}},
    "a cluster without a name": {"cluster-mesh": {"clusters": [{"ready": True}]}},
    "a count that is text": {"cluster-mesh": {"clusters": [{"name": "b", "num-nodes": "many"}]}},
    "a count without end": {"cluster-mesh": {"clusters": [{"name": "b", "num-nodes": inf}]}},
    "a name that no cluster can have": {"cluster-mesh": {"clusters": [{"name": "b" * 64}]}},
    "a time that is none": {"cluster-mesh": {"clusters": [{"name": "b", "last-failure": "yesterday"}]}},
    "a configuration that is text": {"cluster-mesh": {"clusters": [{"name": "b", "connected": True, "config": "x"}]}},
}


@pytest.mark.parametrize("what", MALFORMED)
def test_an_answer_of_another_form_is_an_error_that_says_so(what: str) -> None:
    """Nothing is guessed out of something that is no status."""
    with pytest.raises(Internal, match=r"no status|no list"):
        read_status(MALFORMED[what])
    with pytest.raises(Internal, match="no list"):
        read_remotes([MALFORMED[what]])


def node(name: str, *, host: Json | None = None, pods: Json | None = None) -> Json:
    """One node of a health answer, with its two addresses."""
    found: Json = {"name": name}
    if host is not None:
        found["host"] = {"primary-address": host}
    if pods is not None:
        found["health-endpoint"] = {"primary-address": pods}
    return found


GOOD = {"icmp": {"latency": 12_000_000}, "http": {"latency": 13_000_000}}
DEAD = {"icmp": {"status": "timed out"}, "http": {"status": "timed out"}}
# narrative: a node as Cilium's health API tells it → who is probed, whether it is reached, and how fast
PROBES: dict[str, tuple[Json, Probe]] = {
    "well": (node("b/n1", host=GOOD, pods=GOOD), Probe("b", "n1", True, 0.012)),
    "dead": (node("b/n1", host=DEAD, pods=DEAD), Probe("b", "n1", False)),
    "ICMP is dropped on the way": (
        node("b/n1", host={"icmp": {"status": "timed out"}, "http": {"latency": 5_000_000}}),
        Probe("b", "n1", True, 0.005),
    ),
    "the node answers and its pods do not": (node("b/n1", host=GOOD, pods=DEAD), Probe("b", "n1", False, 0.012)),
    "a round trip of nothing is absent": (node("b/n1", host={"icmp": {}, "http": {"lastProbed": "x"}}),
                                          Probe("b", "n1", True)),
    "a cluster without a name": (node("n1", host=GOOD), Probe("default", "n1", True, 0.012)),
}  # fmt: skip


@pytest.mark.parametrize("narrative", PROBES)
def test_a_probed_node_is_reached_if_each_address_answers_somehow(narrative: str) -> None:
    """ICMP or HTTP will do for an address, but every address must answer; empty words are good ones."""
    answer, probe = PROBES[narrative]
    assert read_health({"nodes": [answer]}) == (probe,)


def test_a_node_that_was_not_probed_yet_is_neither_reached_nor_missed() -> None:
    """After the prober's start nodes have addresses and no answers: that must not look like a cut."""
    waiting = {"ip": "172.31.1.10"}
    assert read_health({"nodes": [node("b/n1"), node("b/n2", host=waiting, pods=waiting)]}) == ()


def test_probes_of_many_nodes_give_the_median_and_count_a_node_once() -> None:
    """The latency is the median over all that answer; a node that one prober misses counts as missed."""
    probes = [Probe("b", "n1", True, 0.01), Probe("b", "n2", True, 0.03), Probe("b", "n3", True, 0.02)]
    assert reach_of([*probes, Probe("b", "n3", False), Probe("c", "n1", False)]) == {
        "b": Reach(probed_nodes=3, unreachable_nodes=1, latency_seconds=0.02),
        "c": Reach(probed_nodes=1, unreachable_nodes=1, latency_seconds=None),
    }


@pytest.mark.parametrize(
    "answer",
    [
        [1],
        {"nodes": [7]},
        {"nodes": [{"name": "b/n", "host": 3}]},
        "x",
        {"nodes": [{"name": "b/n", "host": {"primary-address": {"icmp": {"latency": inf}}}}]},
    ],
)
def test_a_health_answer_of_another_form_is_an_error(answer: Any) -> None:
    """As with the status, nothing is guessed."""
    with pytest.raises(Internal, match="health"):
        read_health(answer)


# --- over real sockets


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder whose path is short enough for sockets, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


Handler = Callable[[Request], Awaitable[Response]]


@contextlib.asynccontextmanager
async def answering(socket: Path, answer: Response | Handler, path: str = "/v1/healthz") -> AsyncIterator[None]:
    """A Cilium agent that gives one answer on its socket, or what a handler gives."""

    async def handle(request: Request) -> Response:
        return answer if isinstance(answer, Response) else await answer(request)

    app = Starlette(routes=[Route(path, handle)])
    server = uvicorn.Server(uvicorn.Config(app, uds=str(socket), log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def look(socket: Path, *, timeout_seconds: float = 5.0) -> Look:
    source = SocketSource(CiliumAgent(socket, timeout_seconds=timeout_seconds))
    try:
        return await source.look()
    finally:
        await source.close()


STATUS = {
    "cilium": {"msg": "1.20.0"},
    "cluster-mesh": {"clusters": [{"name": "b", "ready": True, "connected": True}]},
}
ANSWERS: dict[str, tuple[Response, str]] = {
    "no mesh": (JSONResponse({"cilium": {"state": "Ok"}}), "Cluster Mesh is not enabled"),
    "disabled API": (Response(status_code=403), "--enable-cilium-api-server-access"),
    "broken": (Response(status_code=500), "HTTP status 500"),
    "nonsense": (Response("hello"), "no JSON"),
    "JSON of another kind": (JSONResponse([1]), "no status"),
    "nothing found": (Response(status_code=404), "no status"),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_what_the_agent_cannot_say_is_a_message(sockets: Path, what: str) -> None:
    """No answer of the socket raises; the message says what is wrong."""
    answer, words = ANSWERS[what]
    async with answering(sockets / "cilium.sock", answer):
        seen = await look(sockets / "cilium.sock")
    assert not any(status.views for status in seen.statuses.values())
    assert words in seen.message


async def test_links_and_probes_come_over_two_sockets(sockets: Path) -> None:
    """The status is the agent's, the probes are those of the health socket beside it."""
    health = JSONResponse({"nodes": [node("b/n1", host=GOOD)]})
    async with (
        answering(sockets / "cilium.sock", JSONResponse(STATUS)),
        answering(sockets / "health.sock", health, "/v1beta/status"),
    ):
        seen = await look(sockets / "cilium.sock")
    assert [view.peer for view in seen.statuses[""].views or ()] == ["b"]
    assert seen.probes == (Probe("b", "n1", True, 0.012),)
    assert (seen.version, seen.message, seen.problems) == ("1.20.0", "", ())


async def test_a_health_api_that_is_disabled_costs_no_link(sockets: Path) -> None:
    """The links stand, and the problem names the switch of the health API, which is another one."""
    async with (
        answering(sockets / "cilium.sock", JSONResponse(STATUS)),
        answering(sockets / "health.sock", Response(status_code=403), "/v1beta/status"),
    ):
        seen = await look(sockets / "cilium.sock")
    assert (len(seen.statuses), seen.probes, seen.message) == (1, (), "")
    assert "--enable-cilium-health-api-server-access" in seen.problems[0]


async def test_an_agent_that_is_asked_too_often_is_asked_again_later(sockets: Path) -> None:
    """429 is waited out, for at least as long as the agent asks."""
    asked: list[float] = []

    async def busy(_request: Request) -> Response:
        asked.append(time.monotonic())
        if len(asked) == 1:
            return Response(status_code=429, headers={"Retry-After": "0.4"})
        return Response(status_code=429) if len(asked) == 2 else JSONResponse(STATUS)

    async with answering(sockets / "cilium.sock", busy):
        seen = await look(sockets / "cilium.sock")
    assert seen.statuses[""].views
    assert asked[1] - asked[0] >= 0.4
    assert asked[2] > asked[1]


async def test_an_agent_that_never_has_time_is_given_up(sockets: Path) -> None:
    """Patience ends with the time that one look may take."""
    async with answering(sockets / "cilium.sock", Response(status_code=429)):
        seen = await look(sockets / "cilium.sock", timeout_seconds=0.5)
    assert "did not answer within 0.5 s" in seen.message


async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a byte at a time, for as long as anybody listens."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the question and say nothing."""
    await reader.read()


async def hanging_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the question and leave."""
    await reader.readline()


async def babbling(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say something that is no HTTP."""
    writer.write(b"\x00\xff\x00\n\n")
    await writer.drain()


SERVERS = {
    "answers drop by drop": (dripping, "did not answer within 0.4 s"),
    "says nothing": (silent, "did not answer within 0.4 s"),
    "hangs up": (hanging_up, "cannot be reached at"),
    "speaks no HTTP": (babbling, "cannot be reached at"),
}


@pytest.mark.parametrize("how", SERVERS)
async def test_a_look_ends_in_time_where_the_socket(sockets: Path, how: str) -> None:
    """However the socket behaves, the look is over soon and says what happened."""
    behave, words = SERVERS[how]
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await behave(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    server = await asyncio.start_unix_server(serve, sockets / "cilium.sock")
    async with server:
        seen = await asyncio.wait_for(look(sockets / "cilium.sock", timeout_seconds=0.4), 20)
        await gone.wait()
    assert words in seen.message


async def test_an_absent_socket_is_a_message(sockets: Path) -> None:
    """A cluster whose Cilium is not there says so and goes on."""
    seen = await look(sockets / "nowhere.sock")
    assert "nowhere.sock" in seen.message


async def test_an_agent_that_restarts_is_seen_again(sockets: Path) -> None:
    """The same client sees an agent that was killed between two looks and made its socket anew."""
    agent = CiliumAgent(sockets / "cilium.sock", timeout_seconds=2)
    try:
        async with answering(sockets / "cilium.sock", JSONResponse(STATUS)):
            assert read_status(await agent.status()).version == "1.20.0"
        (sockets / "cilium.sock").unlink(missing_ok=True)
        with pytest.raises(AtollError, match="cannot be reached"):
            await agent.status()
        async with answering(sockets / "cilium.sock", JSONResponse(STATUS)):
            assert read_status(await agent.status()).version == "1.20.0"
    finally:
        await agent.close()
