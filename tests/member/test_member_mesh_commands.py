"""Commands in Cilium's pods, over a real WebSocket server of Kubernetes' remote command protocol, and its faults."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import WSMsgType, web

from atoll.edge.member.errors import Refused
from atoll.edge.member.kube import Kube
from atoll.edge.member.mesh.sources import PodSource
from atoll.edge.member.objects import Kind, ObjectRef
from atoll.federation.errors import Internal, Unavailable

SUCCESS = {"kind": "Status", "status": "Success"}
FAILURE = {
    "kind": "Status", "status": "Failure", "reason": "NonZeroExitCode",
    "message": "command terminated with exit code 1",
}  # fmt: skip
POD = ObjectRef(Kind("v1", "Pod"), "kube-system", "cilium-0")
Socket = web.WebSocketResponse
Play = Callable[[Socket], Awaitable[None]]


def remote(name: str, *, ready: bool = True, cached: bool = True) -> dict[str, Any]:
    found = {"name": name, "ready": ready, "connected": ready, "status": "no leader", "config": {"kvstoremesh": cached}}
    return {key: value for key, value in found.items() if value is not False}


class Server:
    """An API server that has pods of Cilium, and runs commands in them by playing what was written for them."""

    def __init__(self) -> None:
        self.pods = {"cilium-0": "n0", "cilium-1": "n1", "cilium-2": "n2"}
        self.plays: dict[tuple[str, str], Play] = {}
        self.asked: list[tuple[str, list[str]]] = []
        self.refused: set[str] = set()
        self.lists = 0
        self.protocols = ("v5.channel.k8s.io", "v4.channel.k8s.io")

    def prints(self, pod: str, command: str, output: Any) -> None:
        """Have a command print some JSON."""
        self.plays[pod, command] = lambda socket: printing(socket, orjson.dumps(output))

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/v1", self._discovery)
        app.router.add_get("/api/v1/namespaces/kube-system/pods", self._list)
        app.router.add_get("/api/v1/namespaces/kube-system/pods/{pod}/exec", self._exec)
        return app

    async def _discovery(self, _request: web.Request) -> web.Response:
        pods = {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get", "list"], "singularName": "pod"}
        return web.json_response({"kind": "APIResourceList", "groupVersion": "v1", "resources": [pods]})

    async def _list(self, request: web.Request) -> web.Response:
        is_agents = request.query["labelSelector"] == "k8s-app=cilium"
        self.lists += is_agents
        pods = self.pods if is_agents else {"clustermesh-apiserver-x": "n0"}
        items = [{"metadata": {"name": name}, "spec": {"nodeName": node}} for name, node in pods.items()]
        return web.json_response({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": items})

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        pod, command = request.match_info["pod"], request.query.getall("command")
        self.asked.append((pod, command))
        if pod not in self.pods and not pod.startswith("clustermesh"):
            return web.json_response({"kind": "Status", "message": "no such pod", "code": 404}, status=404)
        if pod in self.refused:
            return web.json_response({"kind": "Status", "message": "no exec for you", "code": 403}, status=403)
        socket = Socket(protocols=self.protocols)
        await socket.prepare(request)
        await self.plays[pod, command[0]](socket)
        await socket.close()
        return socket


async def printing(socket: Socket, output: bytes, result: Any = SUCCESS) -> None:
    """Print something in two pieces, and end as told."""
    half = len(output) // 2
    for piece in (output[:half], output[half:]):
        await socket.send_bytes(b"\x01" + piece)
    await socket.send_bytes(b"\x03" + orjson.dumps(result))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def door(server: Server, tmp_path: Path) -> AsyncIterator[Kube]:
    """A door to the server, which listens on a port of its own."""
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig = tmp_path / "kubeconfig"
    named = {"name": "x", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    content = {"current-context": "x", "clusters": [named], "users": [{"name": "x", "user": {"token": "t"}}]}
    kubeconfig.write_text(yaml.safe_dump({**content, "contexts": [context]}))
    kube = await Kube.connect(kubeconfig)
    try:
        yield kube
    finally:
        await kube.close()
        await runner.cleanup()


@contextlib.contextmanager
def deadline(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr("atoll.edge.member.kube.REQUEST_SECONDS", seconds)
        yield


async def test_a_command_gives_its_standard_output(server: Server, door: Kube) -> None:
    """Pieces are put together, errors kept apart, and each word of the command arrives as one."""

    async def play(socket: Socket) -> None:
        await socket.send_bytes(b"\x01")
        await socket.send_bytes(b"\x02a warning")
        await printing(socket, b'{"a": 1}')

    server.plays["cilium-0", "cilium"] = play
    assert await door.execute(POD, "cilium-agent", ("cilium", "status", "-o", "json")) == b'{"a": 1}'
    assert server.asked == [("cilium-0", ["cilium", "status", "-o", "json"])]


async def test_a_server_that_speaks_the_older_protocol_is_understood(server: Server, door: Kube) -> None:
    """v4 is what every server before Kubernetes 1.30 has."""
    server.protocols = ("v4.channel.k8s.io",)
    server.prints("cilium-0", "cilium", {})
    assert await door.execute(POD, "cilium-agent", ("cilium",)) == b"{}"


async def ends_at_once(_socket: Socket) -> None:
    """Say nothing."""


async def fails(socket: Socket) -> None:
    await socket.send_bytes(b"\x02no such file")
    await socket.send_bytes(b"\x03" + orjson.dumps(FAILURE))


async def ends_in_nonsense(socket: Socket) -> None:
    await socket.send_bytes(b"\x03[1")


async def hangs(socket: Socket) -> None:
    while not socket.closed:
        message = await socket.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
            return


BROKEN: dict[str, tuple[Play, type[Exception], str]] = {
    "ends at once": (ends_at_once, Unavailable, "ended before the command did"),
    "fails": (fails, Unavailable, "exit code 1: no such file"),
    "ends in nonsense": (ends_in_nonsense, Internal, "no Status"),
    "never ends": (hangs, Unavailable, "did not answer in time"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_command_that_does_not_end_well_says_how_it(
    server: Server, door: Kube, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way to fail is an error of Atoll's with the command's own words, in bounded time."""
    play, error, words = BROKEN[how]
    server.plays["cilium-0", "cilium"] = play
    with deadline(monkeypatch, 0.5), pytest.raises(error, match=words):
        await door.execute(POD, "cilium-agent", ("cilium",))


async def test_a_missing_right_to_run_commands_is_said_plainly(server: Server, door: Kube) -> None:
    """403 at the handshake is a refusal, not a broken connection."""
    server.refused = {"cilium-0"}
    with pytest.raises(Refused, match="exec"):
        await door.execute(POD, "cilium-agent", ("cilium",))


async def test_an_api_server_that_is_away_is_unavailable(tmp_path: Path, server: Server, door: Kube) -> None:
    """A refused connection is a passing trouble."""
    gone = tmp_path / "gone"
    gone.write_text((tmp_path / "kubeconfig").read_text().replace("127.0.0.1:", "127.0.0.1:1"))
    kube = await Kube.connect(gone)
    try:
        with pytest.raises(Unavailable):
            await kube.execute(POD, "cilium-agent", ("cilium",))
    finally:
        await kube.close()


@pytest.fixture
def cilium(server: Server) -> Server:
    """Three nodes whose agents see one peer through KVStoreMesh, which does not reach it."""
    for index in range(3):
        status = {"cilium": {"msg": "1.20.0"}, "cluster-mesh": {"clusters": [remote("b")]}}
        server.prints(f"cilium-{index}", "cilium", status)
        health = {"nodes": [{"name": "b/n1", "host": {"primary-address": {"icmp": {"latency": 7_000_000}}}}]}
        server.prints(f"cilium-{index}", "cilium-health", health)
    server.prints("clustermesh-apiserver-x", "/usr/bin/clustermesh-apiserver", [remote("b", ready=False)])
    return server


async def test_all_nodes_and_kvstoremesh_are_seen_by_commands(cilium: Server, door: Kube) -> None:
    """Three agents, one prober, and the cache behind them, which is cut off."""
    look = await PodSource(door).look()
    assert sorted(look.statuses) == ["n0", "n1", "n2"]
    assert (look.version, look.problems, len(look.probes)) == ("1.20.0", (), 1)
    assert look.cache is not None
    assert [(view.peer, view.is_ready, view.reason) for view in look.cache] == [("b", False, "no leader")]


async def test_nodes_take_turns_where_there_are_many(cilium: Server, door: Kube) -> None:
    """Two at each look: after three looks every node was asked, and asked as often as the others."""
    source = PodSource(door, per_look=2)
    seen = [sorted((await source.look()).statuses) for _ in range(3)]
    assert seen == [["n0", "n1"], ["n0", "n2"], ["n1", "n2"]]


async def test_a_node_that_sees_a_link_down_is_asked_until_it_does_not(cilium: Server, door: Kube) -> None:
    """One of three, one at each look: the trouble of n1 does not come and go with its turn."""
    source = PodSource(door, per_look=1)
    broken = {"cilium": {"msg": "1.20.0"}, "cluster-mesh": {"clusters": [remote("b", ready=False)]}}
    cilium.prints("cilium-1", "cilium", broken)
    seen = [sorted((await source.look()).statuses) for _ in range(4)]
    assert seen == [["n0"], ["n1"], ["n1", "n2"], ["n0", "n1"]]
    cilium.prints("cilium-1", "cilium", {**broken, "cluster-mesh": {"clusters": [remote("b")]}})
    assert [sorted((await source.look()).statuses) for _ in range(3)] == [["n1"], ["n2"], ["n0"]]


async def test_pods_are_listed_seldom_and_again_when_one_is_not_there(cilium: Server, door: Kube) -> None:
    """A rolled DaemonSet has pods of other names: one look has a problem, the next one sees them."""
    source = PodSource(door)
    await source.look()
    await source.look()
    assert cilium.lists == 1
    cilium.pods = {"cilium-9": "n0"}
    cilium.plays["cilium-9", "cilium"] = cilium.plays["cilium-0", "cilium"]
    cilium.plays["cilium-9", "cilium-health"] = cilium.plays["cilium-0", "cilium-health"]
    assert len((await source.look()).problems) == 3 + 1
    look = await source.look()
    assert (sorted(look.statuses), look.problems) == (["n0"], ())


async def test_one_pod_that_refuses_costs_only_its_own_answer(cilium: Server, door: Kube) -> None:
    """The others are seen, and the problem names the node."""
    cilium.refused = {"cilium-1"}
    look = await PodSource(door).look()
    assert sorted(look.statuses) == ["n0", "n2"]
    assert [problem.partition(":")[0] for problem in look.problems] == ["n1"]


async def test_kvstoremesh_that_cannot_be_asked_is_unknown(cilium: Server, door: Kube) -> None:
    """Not asked is not cut off."""
    cilium.refused = {"clustermesh-apiserver-x"}
    look = await PodSource(door).look()
    assert look.cache is None
    assert look.problems[0].startswith("KVStoreMesh: ")


async def test_commands_that_print_nonsense_are_problems(cilium: Server, door: Kube) -> None:
    """A status that is none is nobody's view."""
    cilium.plays["cilium-0", "cilium"] = lambda socket: printing(socket, b"Usage: cilium")
    look = await PodSource(door).look()
    assert sorted(look.statuses) == ["n1", "n2"]
    assert "no JSON" in look.problems[0]


async def test_a_cluster_without_pods_of_cilium_says_so(server: Server, door: Kube) -> None:
    """Nobody to ask is a message, and no link."""
    server.pods = {}
    look = await asyncio.wait_for(PodSource(door).look(), 10)
    assert (look.statuses, look.message) == ({}, "no Cilium agent could be asked")
