"""A request is served as what it was authorized as, however its path is written."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message

from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access
from atoll.kubeapi.store import Store
from kubeapi.access_world import alice_and_bob, running
from kubeapi.conftest import VERSION
from kubeapi.kinds import CONFIG_MAP, config_map

_WIDGET = "/apis/example.dev/v1/namespaces/{namespace}/widgets/{name}"


async def served_as(request: Request) -> JSONResponse:
    """Answer with what the route thinks it serves, and remember nothing of what was authorized."""
    return JSONResponse({"served": {"path": "", **request.path_params}})


ROUTES = [
    Route(f"{_WIDGET}/files", served_as),
    Route(f"{_WIDGET}/files/{{path:path}}", served_as),
    Route(f"{_WIDGET}/verify", served_as, methods=["GET", "POST"]),
    Route("/access/tokens", served_as, methods=["GET", "POST"]),
    Route("/access/tokens/{name}", served_as, methods=["DELETE"]),
]

# What somebody might write to reach `vault/hidden` who may read config maps in `default` only.
TRICKS = {
    "as it is": "/api/v1/namespaces/vault/configmaps/hidden",
    "with the slash of the path encoded": "/api/v1/namespaces/default%2F..%2Fvault/configmaps/hidden",
    "with two dots": "/api/v1/namespaces/default/configmaps/../../vault/configmaps/hidden",
    "with two dots encoded": "/api/v1/namespaces/default/configmaps/%2e%2e/%2E%2E/vault/configmaps/hidden",
    "with two dots encoded twice": "/api/v1/namespaces/default/%252e%252e/vault/configmaps/hidden",
    "with one dot": "/api/v1/./namespaces/vault/configmaps/hidden",
    "behind a second slash": "//api/v1/namespaces/vault/configmaps/hidden",
    "behind a second slash inside": "/api/v1/namespaces//vault/configmaps/hidden",
    "behind a name that is a namespace": "/api/v1/namespaces/default/namespaces/vault/configmaps/hidden",
    "behind the status of a namespace": "/api/v1/namespaces/default/status/namespaces/vault/configmaps/hidden",
    "in a namespace without a name": "/api/v1/namespaces//configmaps/hidden",
    "in all namespaces": "/api/v1/configmaps",
    "in all namespaces, by its name": "/api/v1/configmaps?fieldSelector=metadata.name%3Dhidden",
    "with a line feed": "/api/v1/namespaces/vault/configmaps/hidden%0A",
    "with a zero": "/api/v1/namespaces/default/configmaps%00/../../vault/configmaps/hidden",
    "with a backslash": "/api/v1/namespaces/default%5C..%5Cvault/configmaps/hidden",
    "with a query in the path": "/api/v1/namespaces/default/configmaps%3F/../vault/configmaps/hidden",
    "with a parameter in the path": "/api/v1/namespaces/default;/vault/configmaps/hidden",
    "in capitals": "/API/v1/namespaces/vault/configmaps/hidden",
    "as a core group by name": "/apis//v1/namespaces/vault/configmaps/hidden",
    "by a watch of all": "/api/v1/configmaps?watch=1&timeoutSeconds=1",
    "by a watch in the old form": "/api/v1/watch/namespaces/vault/configmaps",
    "with the whole URL": "http://127.0.0.1/api/v1/namespaces/vault/configmaps/hidden",
}


async def _raw(url: str, target: str, token: str) -> tuple[int, str]:
    """Send a request target exactly as it is written: clients tidy theirs."""
    address = httpx.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    answer = (await asyncio.wait_for(reader.read(), 20)).decode()
    writer.close()
    return int(answer.split(" ", 2)[1]), answer


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_way_of_writing_a_path_reaches_what_its_reader_may_not(
    store: Store, tmp_path: Path, trick: str
) -> None:
    await store.create(CONFIG_MAP, config_map("hidden", "vault", secret="treasure"))
    async with running(store, tmp_path) as world:
        refused, answer = await _raw(world.url, TRICKS[trick], "b")
    assert refused in (400, 403, 404)
    assert "treasure" not in answer


async def test_a_closing_slash_is_nothing(store: Store, tmp_path: Path) -> None:
    """Several client libraries write `/apis/` and `/version/`."""
    await store.create(CONFIG_MAP, config_map("mine", x="1"))
    async with running(store, tmp_path) as world, world.http("b") as http:
        codes = {
            path: (await http.get(path)).status_code
            for path in ("/apis/", "/api/v1/", "/version/", "/api/v1/namespaces/default/configmaps/mine/")
        }
    assert set(codes.values()) == {200}, codes


async def test_health_needs_no_token_but_only_to_be_read(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path) as world, world.http("") as http:
        assert (await http.get("/livez")).status_code == 200
        assert (await http.post("/livez")).status_code == 401
        assert (await http.get("/livez/ping")).status_code == 401


_WORDS = """
    api apis v1 example.dev namespaces default vault configmaps widgets hidden one files verify status scale log access
    tokens watch . .. %2e %2E%2e %2F %252F %00 %0A %0D%0A ; ? # * ~ x:y é %ff
"""
_SEGMENTS = _WORDS.split()
_PATHS = st.lists(st.sampled_from(["", *_SEGMENTS]), max_size=9).map("/".join)
_LIKELY = st.builds(
    lambda start, middle, end: "/".join((start, *middle, end)),
    st.sampled_from(["/api/v1", "/apis/example.dev/v1", "/apis/example.dev/v1/namespaces/default", "/access"]),
    st.lists(st.sampled_from(["", *_SEGMENTS]), max_size=6),
    st.sampled_from(["", "hidden", "files", "files/a", "verify", "tokens", "tokens%0A", "widgets/one/verify%0A"]),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(path="/access/tokens%0A", method="POST")  # a route's pattern ends before a line feed at the end
@example(path="/apis/example.dev/v1/namespaces/default/widgets/one/verify%0A", method="POST")
@given(path=_PATHS | _LIKELY, method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PATCH", "TRACE"]))
async def test_what_is_served_is_what_was_asked_of_the_authorizer(store: Store, path: str, method: str) -> None:
    if not (await store.list(CONFIG_MAP)).items:
        await store.create(CONFIG_MAP, config_map("hidden", "vault"))
        await store.create(CONFIG_MAP, config_map("one", "default"))
    users = alice_and_bob()
    app = create_app(store, store.registry, version=VERSION, access=Access(users, users), extra_routes=ROUTES)
    code, body = await _call(app, method, unquote(path))
    if code >= 400 or code == 0:
        return
    action = users.asked[-1]
    document = json.loads(body) if body.startswith(b"{") else {}
    target = action.target
    if "served" in document:
        served = document["served"]
        if target is None:
            assert action.path == "/access/tokens" + (f"/{served['name']}" if "name" in served else "")
        else:
            assert (target.namespace, target.name, target.tail) == (served["namespace"], served["name"], served["path"])
            assert target.subresource in ("files", "verify")
    elif target is not None:
        objects: Sequence[dict[str, Any]] = document.get("items", [document])
        for found in objects:
            assert target.plural == "configmaps" or not target.name
            assert target.namespace in (None, found["metadata"]["namespace"])
            assert target.name in ("", found["metadata"]["name"])


async def _call(app: Any, method: str, path: str) -> tuple[int, bytes]:
    """Put a request to an application as uvicorn puts it; return its status and body."""
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": b"", "query_string": b"", "root_path": "",
        "headers": [(b"authorization", b"Bearer a")], "client": ("127.0.0.1", 1), "server": ("x", 1), "scheme": "http",
        "http_version": "1.1",
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)
