"""Every request that may change something leaves a record of who asked for what and what came of it; reads do not."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access
from atoll.kubeapi.store import Store
from kubeapi.access_world import Records, alice_and_bob, running
from kubeapi.conftest import VERSION
from kubeapi.kinds import CONFIG_MAP, WIDGET, config_map, widget

WIDGETS = "/apis/example.dev/v1/namespaces/default/widgets"
MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}
_SCALE = {"kind": "Scale", "metadata": {"name": "one"}, "spec": {"replicas": 4}}

# What is sent while a widget `one` exists: verb, subresource and name that are asked for; status, reason and the name.
MUTATIONS: dict[str, tuple[tuple[str, str, dict[str, Any]], tuple[str, str, str], tuple[int, str, str]]] = {
    "a create": (("POST", WIDGETS, {"json": widget("two")}), ("create", "", ""), (201, "", "two")),
    "a create of what exists": (
        ("POST", WIDGETS, {"json": widget("one")}), ("create", "", ""), (409, "AlreadyExists", "")),
    "a create that is wrong": (
        ("POST", WIDGETS, {"json": widget("x", size=0)}), ("create", "", ""), (422, "Invalid", "")),
    "an update": (("PUT", f"{WIDGETS}/one", {"json": widget("one", size=9)}), ("update", "", "one"), (200, "", "")),
    "a patch": (
        ("PATCH", f"{WIDGETS}/one", {"content": b'{"spec":{"size":5}}', "headers": MERGE}),
        ("patch", "", "one"), (200, "", "")),
    "an apply that creates": (
        ("PATCH", f"{WIDGETS}/new?fieldManager=me", {"content": json.dumps(widget("new")), "headers": APPLY}),
        ("patch", "", "new"), (201, "", "")),
    "a status": (
        ("PUT", f"{WIDGETS}/one/status", {"json": {**widget("one"), "status": {"count": 1}}}),
        ("update", "status", "one"), (200, "", "")),
    "a scale": (("PUT", f"{WIDGETS}/one/scale", {"json": _SCALE}), ("update", "scale", "one"), (200, "", "")),
    "a deletion": (("DELETE", f"{WIDGETS}/one", {}), ("delete", "", "one"), (200, "", "")),
    "a deletion of nothing": (("DELETE", f"{WIDGETS}/none", {}), ("delete", "", "none"), (404, "NotFound", "")),
    "a deletion of all": (("DELETE", WIDGETS, {}), ("deletecollection", "", ""), (200, "", "")),
    "a kind that is not served": (
        ("POST", "/apis/example.dev/v1/gadgets", {"json": {}}), ("create", "", ""), (404, "NotFound", "")),
    "a method that is not served": (("PUT", WIDGETS, {"json": {}}), ("update", "", ""), (405, "MethodNotAllowed", "")),
    "a body that is no JSON": (("POST", WIDGETS, {"content": b"{"}), ("create", "", ""), (400, "BadRequest", "")),
}  # fmt: skip


@pytest.mark.parametrize("case", MUTATIONS)
async def test_a_mutation_is_recorded_before_and_after(store: Store, tmp_path: Path, case: str) -> None:
    (method, path, body), asked, (code, reason, name) = MUTATIONS[case]
    await store.create(WIDGET, widget("one"))
    async with running(store, tmp_path) as world, world.http(**{"user-agent": "tool/1.2"}) as http:
        answer = await http.request(method, path, **body)
    (begun,), ((ended, outcome),) = world.records.begun, world.records.ended
    assert begun == ended
    target = begun.action.target
    assert target is not None
    assert (begun.action.verb, target.subresource, target.name) == asked
    assert (begun.user.name, begun.acting, begun.source, begun.user_agent) == ("alice", None, "127.0.0.1", "tool/1.2")
    assert (answer.status_code, outcome.code, outcome.reason, outcome.name) == (code, code, reason, name)
    assert outcome.message == (answer.json()["message"] if reason else "")
    assert answer.headers["audit-id"] == begun.id


async def test_a_generated_name_is_in_the_outcome(store: Store, tmp_path: Path) -> None:
    unnamed = {**widget("x"), "metadata": {"generateName": "run-"}}
    async with running(store, tmp_path) as world, world.http() as http:
        created = (await http.post(WIDGETS, json=unnamed)).json()["metadata"]["name"]
    assert world.records.ended[0][1].name == created


async def test_a_dry_run_is_recorded_as_one(store: Store, tmp_path: Path) -> None:
    """kubectl says so in the query of a write, and in the body of a deletion."""
    await store.create(WIDGET, widget("one"))
    async with running(store, tmp_path) as world, world.http() as http:
        await http.post(f"{WIDGETS}?dryRun=All", json=widget("two"))
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}
        await http.request("DELETE", f"{WIDGETS}/one", json=options)
        await http.request("DELETE", f"{WIDGETS}/one")
    assert [mutation.dry_run for mutation, _ in world.records.ended] == [True, True, False]


async def test_reads_watches_and_reviews_leave_no_record(store: Store, tmp_path: Path) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "widgets"}}}
    async with running(store, tmp_path) as world, world.http() as http:
        for path in (WIDGETS, f"{WIDGETS}?watch=1&timeoutSeconds=1", "/apis", "/openapi/v3", f"{WIDGETS}/none"):
            await http.get(path)
        await http.head(WIDGETS)
        reviewed = await http.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review)
    assert reviewed.json()["status"]["allowed"] is True
    assert (world.records.begun, world.records.ended) == ([], [])


async def test_what_access_refuses_is_recorded_once_and_never_begun(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path) as world, world.http("b") as http, world.http("wrong") as stranger:
        refused = await http.post(WIDGETS, json=widget("two"))
        await http.get(WIDGETS)
        assert (await stranger.post(WIDGETS, json=widget("two"))).status_code == 401
    assert refused.status_code == 403
    assert world.records.begun == []
    ((mutation, outcome),) = world.records.ended
    assert (mutation.user.name, mutation.action.verb, outcome.code) == ("bob", "create", 403)
    assert (outcome.reason, outcome.message) == ("Forbidden", refused.json()["message"])
    assert refused.headers["audit-id"] == mutation.id


async def test_nothing_is_changed_that_cannot_be_recorded(store: Store, tmp_path: Path) -> None:
    await store.create(WIDGET, widget("one"))
    async with running(store, tmp_path) as world, world.http() as http:
        world.records.is_full = True
        answers = [await http.post(WIDGETS, json=widget("two")), await http.delete(f"{WIDGETS}/one")]
        assert (await http.get(f"{WIDGETS}/one")).status_code == 200
    assert {(answer.status_code, answer.json()["reason"]) for answer in answers} == {(503, "ServiceUnavailable")}
    assert [each["metadata"]["name"] for each in (await store.list(WIDGET)).items] == ["one"]
    assert world.records.ended == []


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_recorded_and_changes_nothing(
    store: Store, tmp_path: Path
) -> None:
    async with running(store, tmp_path) as world:
        address = httpx.URL(world.url)
        _, writer = await asyncio.open_connection(address.host, address.port)
        head = f"POST {WIDGETS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Length: 1000\r\n\r\n"
        writer.write(head.encode() + b'{"kind"')
        await writer.drain()
        async with asyncio.timeout(20):
            while not world.records.begun:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while not world.records.ended:
                await asyncio.sleep(0.01)
    assert (world.records.ended[0][1].code, world.records.ended[0][1].reason) == (499, "Aborted")
    assert (await store.list(WIDGET)).items == []


def _recorded(store: Store, records: Records, route: Route) -> httpx.AsyncClient:
    users = alice_and_bob()
    app = create_app(
        store, store.registry, version=VERSION, access=Access(users, users, None, records), extra_routes=[route]
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://x", headers={"authorization": "Bearer a"})


async def test_a_fault_of_the_server_has_an_outcome_too(store: Store) -> None:
    async def fails(_request: Request) -> PlainTextResponse:
        raise RuntimeError("secret")

    records = Records()
    async with _recorded(store, records, Route("/access/tokens", fails, methods=["POST"])) as http:
        assert (await http.post("/access/tokens")).status_code == 500
    ((mutation, outcome),) = records.ended
    assert (mutation.action.verb, mutation.action.path, mutation.action.target) == ("post", "/access/tokens", None)
    assert (outcome.code, outcome.reason) == (500, "InternalError")
    assert "secret" not in outcome.message


async def test_a_request_that_is_broken_off_by_a_stop_of_the_server_has_an_outcome_too(store: Store) -> None:
    async def hangs(_request: Request) -> PlainTextResponse:
        await asyncio.sleep(60)
        return PlainTextResponse("late")

    records = Records()
    async with _recorded(store, records, Route("/access/tokens", hangs, methods=["POST"])) as http:
        request = asyncio.create_task(http.post("/access/tokens"))
        async with asyncio.timeout(20):
            while not records.begun:
                await asyncio.sleep(0.01)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert [outcome.code for _, outcome in records.ended] == [499]


async def test_the_record_of_a_refusal_is_no_longer_than_a_page(store: Store, tmp_path: Path) -> None:
    long = widget("one", **{f"field{number}": 1 for number in range(500)})
    async with running(store, tmp_path) as world, world.http() as http:
        answer = await http.post(f"{WIDGETS}?fieldValidation=Strict", json=long)
    assert answer.status_code == 400
    assert len(answer.json()["message"]) > 5000
    assert len(world.records.ended[0][1].message) == 1024


async def test_concurrent_writers_leave_one_record_each(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path) as world, world.http() as http:
        sent = [http.post("/api/v1/namespaces/default/configmaps", json=config_map("same")) for _ in range(8)]
        codes = sorted(answer.status_code for answer in await asyncio.gather(*sent))
    assert codes == [201, *[409] * 7]
    assert sorted(outcome.code for _, outcome in world.records.ended) == codes
    assert len({mutation.id for mutation in world.records.begun}) == 8
    assert len((await store.list(CONFIG_MAP)).items) == 1
