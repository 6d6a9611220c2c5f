"""Connect subresources over WebSockets: who may, which protocols are spoken, and what hostile clients come to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from starlette.datastructures import QueryParams

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.http.access import Rule
from atoll.kubeapi.http.channels import PROTOCOLS, RESULT, STDIN, STDOUT, Channels
from atoll.kubeapi.http.connecting import Session, connect_routes
from atoll.kubeapi.http.target import Target
from atoll.kubeapi.store import Store
from kubeapi.access_world import EVERYWHERE, World, running
from kubeapi.kinds import WIDGET

WIDGETS = "/apis/example.dev/v1/namespaces/default/widgets"
DONE = {"kind": "Status", "status": "Success"}
V5, V4 = PROTOCOLS
OLD = "channel.k8s.io"


class Echo:
    """Says back what it hears, to the end of that or to `quit`; there is nothing behind a widget called `none`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Target, QueryParams]] = []
        self.talks = 0
        self.over = asyncio.Event()

    async def connect(self, target: Target, query: QueryParams) -> Session:
        self.asked.append((target, query))
        if target.name == "none":
            raise NotFound.of("example.dev", "widgets", "none")
        return self

    async def run(self, channels: Channels) -> dict[str, Any]:
        self.talks += 1
        try:
            async for frame in channels.frames():
                if frame.is_last or frame.data == b"quit":
                    break
                await channels.send(STDOUT, b"%d:%b" % (frame.channel, frame.data))
            return DONE
        finally:
            self.over.set()


@contextlib.asynccontextmanager
async def echoing(store: Store, home: Path) -> AsyncIterator[tuple[World, Echo]]:
    """A server whose widgets have a subresource `talk`."""
    echo = Echo()
    async with running(store, home, extra_routes=connect_routes(WIDGET, "talk", echo)) as world:
        yield world, echo


@contextlib.asynccontextmanager
async def talking(
    world: World, name: str = "one", *, token: str = "a", protocols: tuple[str, ...] = PROTOCOLS
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    address = f"{world.url}{WIDGETS}/{name}/talk?mode=loud&mode=clear"
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(address, protocols=protocols, headers=headers) as socket,
    ):
        yield socket


async def heard(socket: aiohttp.ClientWebSocketResponse) -> tuple[int, bytes]:
    message = await asyncio.wait_for(socket.receive_bytes(), 10)
    return message[0], message[1:]


async def result(socket: aiohttp.ClientWebSocketResponse) -> Any:
    """The Status, after which the server closes as one should."""
    channel, data = await heard(socket)
    assert channel == RESULT
    assert (await asyncio.wait_for(socket.receive(), 10)).type is aiohttp.WSMsgType.CLOSE
    assert socket.close_code == aiohttp.WSCloseCode.OK
    return orjson.loads(data)


@pytest.mark.parametrize(("offered", "spoken"), [((V5,), V5), ((V4,), V4), ((OLD, V4, V5), V5), ((OLD, V4), V4)])
async def test_the_best_protocol_that_both_speak_is_chosen(
    store: Store, tmp_path: Path, offered: tuple[str, ...], spoken: str
) -> None:
    """What is said on a channel is carried with its number, and it ends with a Status; the query arrives whole."""
    async with echoing(store, tmp_path) as (world, echo), talking(world, protocols=offered) as socket:
        assert socket.protocol == spoken
        await socket.send_bytes(b"\x00hello")
        assert await heard(socket) == (STDOUT, b"0:hello")
        await socket.send_bytes(b"\x00quit")
        assert await result(socket) == DONE
    ((target, query),) = echo.asked
    assert (target.name, target.subresource, query.getlist("mode")) == ("one", "talk", ["loud", "clear"])


@pytest.mark.parametrize("offered", [(), (OLD,), ("base64.channel.k8s.io", "v3.channel.k8s.io")])
async def test_a_client_that_speaks_no_known_protocol_is_refused(
    store: Store, tmp_path: Path, offered: tuple[str, ...]
) -> None:
    """Those cannot tell how it ended: 400, and nothing is begun."""
    async with echoing(store, tmp_path) as (world, echo):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with talking(world, protocols=offered):
                pass
        assert (refused.value.status, echo.talks) == (400, 0)


async def test_a_client_may_close_one_channel_in_the_newer_protocol_only(store: Store, tmp_path: Path) -> None:
    """v5's close ends the input; in v4 the same bytes say nothing."""
    async with echoing(store, tmp_path) as (world, _):
        async with talking(world, protocols=(V5,)) as socket:
            await socket.send_bytes(bytes((255, STDIN)))
            assert await result(socket) == DONE
        async with talking(world, protocols=(V4,)) as socket:
            await socket.send_bytes(bytes((255, STDIN)))
            await socket.send_bytes(b"\x00on")
            assert await heard(socket) == (STDOUT, b"0:on")


async def test_frames_that_say_nothing_are_no_end(store: Store, tmp_path: Path) -> None:
    """Empty ones, a close of no channel, unknown channels, and text instead of bytes."""
    async with echoing(store, tmp_path) as (world, _), talking(world) as socket:
        for frame in (b"", b"\xff", bytes((200,)) + b"x"):
            await socket.send_bytes(frame)
        assert await heard(socket) == (STDOUT, b"200:x")
        await socket.send_str("")
        await socket.send_str("\x00text")
        assert await heard(socket) == (STDOUT, b"0:text")


async def test_a_client_that_breaks_off_ends_the_conversation(store: Store, tmp_path: Path) -> None:
    """The session hears of it, however it went away; the next one is served."""
    async with echoing(store, tmp_path) as (world, echo):
        async with talking(world) as socket:
            await socket.send_bytes(b"\x00on")
            await heard(socket)
            assert socket._response.connection is not None
            transport = socket._response.connection.transport
            assert transport is not None
            transport.abort()  # type: ignore[attr-defined]  # asyncio's, whose base class has none
            await asyncio.wait_for(echo.over.wait(), 10)
        async with talking(world) as socket:
            await socket.send_bytes(b"\x00quit")
            assert await result(socket) == DONE


async def test_a_message_larger_than_any_server_takes_ends_the_connection(store: Store, tmp_path: Path) -> None:
    """17 MB in one frame: closed as too big, and the session hears that the client is gone."""
    async with echoing(store, tmp_path) as (world, echo), talking(world) as socket:
        with contextlib.suppress(ConnectionError):
            await socket.send_bytes(bytes(17 * 1024 * 1024))
        await asyncio.wait_for(echo.over.wait(), 10)


# narrative: bob's rights on widgets/talk → the status of the handshake
RIGHTS = {
    "none": ((), 403),
    "to get": (("get",), 403),
    "to create": (("create",), 403),
    "to get and to create": (("get", "create"), 101),
}


@pytest.mark.parametrize("narrative", RIGHTS)
async def test_who_talks_must_be_allowed_to_get_and_to_create(store: Store, tmp_path: Path, narrative: str) -> None:
    """The handshake is a GET, and what it opens is none: a reader may not talk."""
    verbs, status = RIGHTS[narrative]
    async with echoing(store, tmp_path) as (world, echo):
        world.users.granted["bob"] = [(EVERYWHERE, Rule(verbs, ("example.dev",), ("widgets/talk",)))]
        try:
            async with talking(world, token="b") as socket:
                await socket.send_bytes(b"\x00quit")
                assert await result(socket) == DONE
            found = 101
        except aiohttp.WSServerHandshakeError as refused:
            found = refused.status
        assert (found, echo.talks) == (status, int(status == 101))
        mutation, outcome = world.records.ended[-1]
        assert (mutation.user.name, mutation.action.verb, outcome.code) == ("bob", "create", status)


async def test_nobody_talks_without_saying_who_they_are(store: Store, tmp_path: Path) -> None:
    """401 at the handshake."""
    async with echoing(store, tmp_path) as (world, _):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with talking(world, token=""):
                pass
        assert refused.value.status == 401


@pytest.mark.parametrize(("path", "status"), [("none/talk", 404), ("one/sing", 403), ("one//talk", 404)])
async def test_a_websocket_to_nothing_is_refused(store: Store, tmp_path: Path, path: str, status: int) -> None:
    """An object that is not there, a subresource that is none, and a path that others may read otherwise."""
    async with echoing(store, tmp_path) as (world, echo), aiohttp.ClientSession() as session:
        address = f"{world.url}{WIDGETS}/{path}"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(address, protocols=PROTOCOLS, headers={"authorization": "Bearer a"})
        assert (refused.value.status, echo.talks) == (status, 0)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_without_websockets_is_told_what_is_wrong(store: Store, tmp_path: Path, method: str) -> None:
    """First what is wrong with the request, as for SPDY clients that fall back to it; else what to speak."""
    async with echoing(store, tmp_path) as (world, _), world.http() as http:
        missing = await http.request(method, f"{WIDGETS}/none/talk")
        assert (missing.status_code, missing.json()["reason"]) == (404, "NotFound")
        answer = await http.request(method, f"{WIDGETS}/one/talk")
        assert (answer.status_code, V5 in answer.json()["message"]) == (400, True)
