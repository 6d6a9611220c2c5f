"""The API over HTTP: forms, errors worded as Kubernetes words them, discovery, and access."""

from typing import Any

import httpx
import pytest
import yaml
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from atoll.kubeapi.discovery import version_priority
from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access, Action, Decision, Rule, User
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.store import Store
from kubeapi.conftest import VERSION, serving
from kubeapi.kinds import CONFIG_MAP, POD, WIDGET, config_map, widget

WIDGETS = "/apis/example.dev/v1/namespaces/default/widgets"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def test_an_object_lives_through_every_verb(http: httpx.AsyncClient) -> None:
    created = await http.post(WIDGETS, json=widget("one"))
    assert created.status_code == 201
    read = await http.get(f"{WIDGETS}/one")
    assert read.json() == created.json()
    changed = {**read.json(), "spec": {**read.json()["spec"], "size": 4}}
    assert (await http.put(f"{WIDGETS}/one", json=changed)).json()["spec"]["size"] == 4
    merge = {"content-type": "application/merge-patch+json"}
    patched = await http.patch(f"{WIDGETS}/one", content=b'{"spec":{"size":5}}', headers=merge)
    assert patched.json()["spec"]["size"] == 5
    deleted = await http.delete(f"{WIDGETS}/one")
    assert deleted.json()["status"] == "Success"
    assert deleted.json()["details"]["name"] == "one"
    missing = await http.get(f"{WIDGETS}/one")
    assert missing.status_code == 404
    assert missing.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'widgets.example.dev "one" not found',
        "reason": "NotFound",
        "details": {"name": "one", "group": "example.dev", "kind": "widgets"},
        "code": 404,
    }


async def test_a_body_may_be_yaml_and_so_may_the_answer(http: httpx.AsyncClient) -> None:
    body = yaml.safe_dump({**widget("one"), "metadata": {"name": "one", "annotations": {"day": "2026-11-22"}}})
    body = body.replace("'2026-11-22'", "2026-11-22")
    headers = {"content-type": "application/yaml", "accept": "application/yaml"}
    created = await http.post(WIDGETS, content=body, headers=headers)
    assert created.status_code == 201, created.text
    assert created.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(created.text)["metadata"]["annotations"] == {"day": "2026-11-22"}


BAD_REQUESTS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "a body that is no JSON": ("POST", WIDGETS, {"content": b"{"}, 400, "it is not JSON"),
    "a body that is no object": ("POST", WIDGETS, {"json": [1]}, 400, "must be an object"),
    "a body of an unknown type": (
        "POST",
        WIDGETS,
        {"content": b"x", "headers": {"content-type": "text/csv"}},
        415,
        "accepted media types include",
    ),
    "a patch of an unknown type": (
        "PATCH",
        f"{WIDGETS}/one",
        {"content": b"{}", "headers": {"content-type": "application/json"}},
        415,
        "application/merge-patch+json",
    ),
    "an answer nobody can give": ("GET", WIDGETS, {"headers": {"accept": "image/png"}}, 406, "application/json"),
    "a resource that is not served": ("GET", "/apis/example.dev/v1/gadgets", {}, 404, "could not find the requested"),
    "a path that leads nowhere": ("GET", "/nothing/here", {}, 404, "could not find the requested resource"),
    "a subresource that is not served": ("GET", "/api/v1/namespaces/a/configmaps/b/status", {}, 404, "could not find"),
    "a namespaced object without its namespace": ("GET", "/apis/example.dev/v1/widgets/one", {}, 404, "could not find"),
    "a method that a collection has not": ("PUT", WIDGETS, {"json": {}}, 405, "does not allow this method"),
    "a name that is not that of the path": ("PUT", f"{WIDGETS}/two", {"json": widget("one")}, 400, "does not match"),
    "a limit that is no number": ("GET", f"{WIDGETS}?limit=many", {}, 400, "limit"),
    "a selector that is wrong": ("GET", f"{WIDGETS}?labelSelector=a%20b", {}, 400, "unable to parse requirement"),
    "a dry run of some": ("POST", f"{WIDGETS}?dryRun=Some", {"json": widget("x")}, 422, "dryRun"),
    "force on a plain patch": (
        "PATCH",
        f"{WIDGETS}/one?force=true",
        {"content": b"{}", "headers": {"content-type": "application/merge-patch+json"}},
        422,
        "force",
    ),
    "a watch with a selector that is wrong": (
        "GET",
        f"{WIDGETS}?watch=1&labelSelector=a%20b",
        {},
        400,
        "unable to parse",
    ),
    "a watch from a version that is none": ("GET", f"{WIDGETS}?watch=1&resourceVersion=x", {}, 400, "resourceVersion"),
    "a body that is too large": ("POST", WIDGETS, {"content": b" " * 3_200_000}, 413, "too large"),
    "a body that is not there": ("POST", WIDGETS, {}, 400, "must be an object"),
    "a body that is nested too deeply": (
        "POST",
        WIDGETS,
        {"content": b'{"spec":{"size":1,"anything":' + b'{"a":' * 300 + b"1" + b"}" * 302},
        400,
        "Recursion limit",
    ),
    "a patch that is no object": (
        "PATCH",
        f"{WIDGETS}/one",
        {"content": b"[]", "headers": {"content-type": "application/merge-patch+json"}},
        400,
        "must be an object",
    ),
    "options of deletion that are no object": ("DELETE", f"{WIDGETS}/one", {"content": b"[1]"}, 400, "DeleteOptions"),
    "an apply without its manager": (
        "PATCH",
        f"{WIDGETS}/one",
        {"content": b"{}", "headers": {"content-type": "application/apply-patch+yaml"}},
        422,
        "fieldManager",
    ),
    "a policy of deletion that does not exist": (
        "DELETE",
        f"{WIDGETS}/one?propagationPolicy=Slowly",
        {},
        422,
        "propag",
    ),
    "a version of a group that is not served": ("GET", "/apis/example.dev/v9", {}, 404, "could not find"),
    "a group that is not served": ("GET", "/apis/nobody.dev", {}, 404, "could not find"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
async def test_a_bad_request_gets_a_status_that_says_what_is_wrong(
    http: httpx.AsyncClient, store: Store, case: str
) -> None:
    await store.create(WIDGET, widget("one"))
    method, path, arguments, code, text = BAD_REQUESTS[case]
    if method == "DELETE" and "content" in arguments:
        arguments = {**arguments, "headers": {"content-type": "application/json"}}
    answer = await http.request(method, path, **arguments)
    assert (answer.status_code, answer.json()["code"]) == (code, code), answer.text
    assert answer.json()["kind"] == "Status"
    assert text in answer.json()["message"]
    assert len((await store.list(WIDGET)).items) == 1


async def test_an_invalid_object_gets_422_with_a_cause_for_every_field(http: httpx.AsyncClient) -> None:
    answer = await http.post(WIDGETS, json=widget("one", size=0, color="pink"))
    assert answer.status_code == 422
    assert [cause["field"] for cause in answer.json()["details"]["causes"]] == ["spec.size", "spec.color"]
    assert answer.json()["message"].startswith('Widget.example.dev "one" is invalid: [spec.size: Invalid value: 0')


async def test_a_warning_is_a_header(http: httpx.AsyncClient) -> None:
    answer = await http.post(f"{WIDGETS}?fieldValidation=Warn", json=widget("one", colour="é"))
    assert answer.status_code == 201
    assert answer.headers["warning"] == '299 - "unknown field \\"spec.colour\\""'


async def test_a_table_has_cells_and_the_metadata_of_its_objects(http: httpx.AsyncClient, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    table = (await http.get(WIDGETS, headers={"accept": TABLE})).json()
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size", "Ready", "Color", "Age"]
    assert table["rows"][0]["cells"][:4] == ["one", 3, None, "red"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in table["rows"][0]["object"]
    whole = (await http.get(f"{WIDGETS}/one?includeObject=Object", headers={"accept": TABLE})).json()
    assert whole["rows"][0]["cells"][0] == "one"


async def test_only_the_metadata_can_be_asked_for(http: httpx.AsyncClient, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    accept = {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    listed = (await http.get(WIDGETS, headers=accept)).json()
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_a_collection_is_deleted_by_selector(http: httpx.AsyncClient, store: Store) -> None:
    for name, label in (("a", "x"), ("b", "y"), ("c", "x")):
        labelled = widget(name)
        labelled["metadata"]["labels"] = {"l": label}
        await store.create(WIDGET, labelled)
    answer = await http.delete(f"{WIDGETS}?labelSelector=l%3Dx")
    assert [item["metadata"]["name"] for item in answer.json()["items"]] == ["a", "c"]
    assert [item["metadata"]["name"] for item in (await store.list(WIDGET)).items] == ["b"]


async def test_the_scale_of_an_object_is_read_and_written(http: httpx.AsyncClient, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    scale = (await http.get(f"{WIDGETS}/one/scale")).json()
    assert (scale["kind"], scale["spec"], scale["status"]) == ("Scale", {"replicas": 3}, {"replicas": 0})
    scale["spec"]["replicas"] = 7
    assert (await http.put(f"{WIDGETS}/one/scale", json=scale)).json()["spec"] == {"replicas": 7}
    stale = await http.put(f"{WIDGETS}/one/scale", json=scale)
    assert stale.status_code == 409
    merge = {"content-type": "application/merge-patch+json"}
    negative = await http.patch(f"{WIDGETS}/one/scale", content=b'{"spec":{"replicas":-1}}', headers=merge)
    assert (negative.status_code, negative.json()["details"]["causes"][0]["field"]) == (422, "spec.replicas")
    assert (await store.get(WIDGET, "default", "one"))["spec"]["size"] == 7


async def test_discovery_says_the_same_in_both_forms(http: httpx.AsyncClient) -> None:
    legacy = (await http.get("/apis/example.dev/v1")).json()
    accept = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}
    aggregated = await http.get("/apis", headers=accept)
    assert aggregated.headers["content-type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    version = aggregated.json()["items"][0]["versions"][0]
    flat = {resource["resource"] for resource in version["resources"]}
    below = {
        f"{resource['resource']}/{sub['subresource']}"
        for resource in version["resources"]
        for sub in resource.get("subresources", ())
    }
    assert flat | below == {resource["name"] for resource in legacy["resources"]}
    core = (await http.get("/api", headers=accept)).json()
    assert [item["metadata"]["name"] for item in core["items"]] == [""]
    assert (await http.get("/apis")).json()["groups"][0]["preferredVersion"]["groupVersion"] == "example.dev/v1"
    assert (await http.get("/apis/example.dev")).json()["name"] == "example.dev"


async def test_the_server_says_how_it_is(http: httpx.AsyncClient, store: Store) -> None:
    version = (await http.get("/version")).json()
    assert version.items() >= VERSION.items()
    assert all(isinstance(version[key], str) for key in ("gitCommit", "buildDate", "goVersion", "compiler"))
    for path in ("/healthz", "/livez", "/readyz"):
        assert (await http.get(path)).text == "ok"
    await store.close()
    assert (await http.get("/readyz")).status_code == 503


async def test_openapi_is_made_again_when_a_kind_comes(http: httpx.AsyncClient, store: Store) -> None:
    before = (await http.get("/openapi/v3")).json()["paths"]
    document = (await http.get(before["apis/example.dev/v1"]["serverRelativeURL"])).json()
    names = {name.rsplit(".", 1)[-1] for name in document["components"]["schemas"]}
    assert {"Widget", "WidgetList", "ObjectMeta"} <= names
    store.registry.unregister(WIDGET)
    after = (await http.get("/openapi/v3")).json()["paths"]
    assert after["apis/example.dev/v1"] != before["apis/example.dev/v1"]
    assert after["api/v1"] == before["api/v1"]
    assert (await http.get(WIDGETS)).status_code == 404
    assert "dev.example.v1.Slow" in (await http.get("/openapi/v2")).json()["definitions"]


async def test_openapi_v2_in_protobuf_defines_no_type(http: httpx.AsyncClient) -> None:
    """Field 1 of a Document is the version of OpenAPI, field 2 title and release; definitions would be field 9."""
    asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    answer = await http.get("/openapi/v2", headers={"Accept": asked})
    assert answer.headers["content-type"] == asked.replace("@", ".")
    release = VERSION["gitVersion"].encode()
    info = b"\x0a\x0aKubernetes\x12" + bytes([len(release)]) + release
    assert answer.content == b"\x0a\x032.0\x12" + bytes([len(info)]) + info
    assert (await http.get("/openapi/v2", headers={"Accept": "text/html"})).status_code == 406


class Tokens:
    """Knows two users by their tokens; one may only read."""

    async def authenticate(self, request: Request) -> User | None:
        names = {"Bearer a": "alice", "Bearer b": "bob"}
        name = names.get(request.headers.get("authorization", ""))
        return User(name) if name else None

    async def authorize(self, user: User, action: Action) -> Decision:
        allowed = user.name == "alice" or action.verb in ("get", "list", "watch")
        return Decision(allowed, "" if allowed else "bob only reads")

    async def rules(self, user: User, namespace: str) -> list[Rule]:
        return [Rule(("*",) if user.name == "alice" else ("get", "list", "watch"), ("*",), ("*",))]


async def test_access_is_refused_as_kubernetes_refuses_it(store: Store) -> None:
    async def whoami(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.user.name)

    extra = [Route("/api/v1/namespaces/{namespace}/pods/{name}/log", whoami)]
    tokens = Tokens()
    app = create_app(store, store.registry, version=VERSION, access=Access(tokens, tokens), extra_routes=extra)
    async with serving(app, store) as url, httpx.AsyncClient(base_url=url) as http:
        unknown = await http.get(WIDGETS)
        refused = await http.post(WIDGETS, json=widget("one"), headers={"authorization": "Bearer b"})
        allowed = await http.post(WIDGETS, json=widget("one"), headers={"authorization": "Bearer a"})
        log = await http.get("/api/v1/namespaces/a/pods/p/log", headers={"authorization": "Bearer b"})
        health = await http.get("/healthz")
    assert (unknown.status_code, unknown.json()["reason"]) == (401, "Unauthorized")
    assert refused.json()["message"] == (
        'widgets.example.dev is forbidden: User "bob" cannot create resource "widgets" in API group "example.dev" '
        'in the namespace "default": bob only reads'
    )
    assert (refused.status_code, allowed.status_code, health.status_code) == (403, 201, 200)
    assert log.text == "bob"


async def test_a_fault_of_the_server_is_a_status_without_its_details(store: Store) -> None:
    async def fails(_request: Request) -> PlainTextResponse:
        raise RuntimeError("secret")

    app = create_app(store, store.registry, version=VERSION, extra_routes=[Route("/fails", fails)])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answer = await http.get("/fails")
    assert (answer.status_code, answer.json()["reason"]) == (500, "InternalError")
    assert "secret" not in answer.text


async def test_the_manager_of_a_field_is_the_program_that_wrote_it(http: httpx.AsyncClient, store: Store) -> None:
    await http.post(
        "/api/v1/namespaces/default/configmaps", json=config_map("a", x="1"), headers={"user-agent": "mytool/v1 (x)"}
    )
    found = await store.get(CONFIG_MAP, "default", "a")
    assert found["metadata"]["managedFields"][0]["manager"] == "mytool"


async def test_a_name_may_be_escaped_in_a_path(http: httpx.AsyncClient, store: Store) -> None:
    roles = ResourceType("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", "clusterrole", False)
    store.registry.register(roles)
    await store.create(roles, {"metadata": {"name": "system:node"}})
    answer = await http.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode")
    assert (answer.status_code, answer.json()["metadata"]["name"]) == (200, "system:node")


async def test_a_list_is_the_same_joined_or_decoded(http: httpx.AsyncClient, store: Store) -> None:
    for name in ("a", "b"):
        await store.create(POD, {"metadata": {"name": name}}, namespace="x")
    plain = (await http.get("/api/v1/pods")).json()
    as_yaml = yaml.safe_load((await http.get("/api/v1/pods", headers={"accept": "application/yaml"})).text)
    assert plain == as_yaml
    assert (plain["kind"], len(plain["items"])) == ("PodList", 2)


async def test_an_apply_that_creates_answers_201_and_one_that_changes_200(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/apply-patch+yaml"}
    codes = []
    for size in (3, 4):
        body = yaml.safe_dump(widget("one", size=size))
        answer = await http.patch(f"{WIDGETS}/one?fieldManager=me", content=body, headers=headers)
        codes.append(answer.status_code)
    assert codes == [201, 200]


def test_clients_are_told_to_prefer_the_most_stable_and_then_the_newest_version() -> None:
    versions = ["foo10", "v1alpha1", "v10", "v2", "v11beta2", "foo1", "v3beta1", "v12alpha1", "v1"]
    expected = ["v10", "v2", "v1", "v11beta2", "v3beta1", "v12alpha1", "v1alpha1", "foo1", "foo10"]
    assert sorted(versions, key=version_priority) == expected
