"""What the member agent relies on in an API server: one suite for simulated clusters and the real kube-apiserver.

Only what a bare API server does: objects, server-side apply, conflicts, watches. Nothing here needs a kubelet.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes.aio import client, config, watch

from sandbox.worlds import Sandbox

APPLY = "application/apply-patch+yaml"
Json = dict[str, Any]


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.real_kube)])
def kubeconfig(request: pytest.FixtureRequest) -> str:
    """Give the kubeconfig of each kind of API server that there is."""
    if request.param == "real":
        return str(request.getfixturevalue("real_server").kubeconfig)
    sandbox: Sandbox = request.getfixturevalue("sandbox")
    return sandbox.state.cluster("lab-k3s").kubeconfig


class Refused(Exception):
    """The API server answered with a Status that is a failure."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.answer: Json = json.loads(text)
        self.what = (code, str(self.answer["reason"]))
        self.message = str(self.answer["message"])


class Server:
    """The generic requests of `kubernetes.aio` in a namespace of the test's own."""

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api
        self.namespace = f"c-{uuid.uuid4().hex[:8]}"
        self.base = f"/api/v1/namespaces/{self.namespace}"
        self.policies = f"/apis/networking.k8s.io/v1/namespaces/{self.namespace}/networkpolicies"

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Json:
        headers = {"Content-Type": options.pop("content_type", "application/json"), "Accept": "application/json"}
        query = list(options.items())
        request = await self.api.param_serialize(
            method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        response = (await self.api.call_api(*request)).response
        async with response:
            text = await response.text()
            if response.status >= 300:
                raise Refused(response.status, text)
        found: Json = json.loads(text)
        return found

    async def apply(self, path: str, body: Json, manager: str, **options: Any) -> Json:
        return await self("PATCH", path, body, content_type=APPLY, fieldManager=manager, **options)


@pytest.fixture
async def server(kubeconfig: str) -> AsyncIterator[Server]:
    """Give a client of the API server with a fresh namespace."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        made = Server(api)
        await made("POST", "/api/v1/namespaces", {"metadata": {"name": made.namespace}})
        yield made


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_applying_the_same_again_changes_nothing(server: Server) -> None:
    """A second apply of equal content keeps the resourceVersion: the agent may apply as often as it likes."""
    path = f"{server.base}/configmaps/a"
    first = await server.apply(path, config_map("a", x="1"), "atoll")
    again = await server.apply(path, config_map("a", x="1"), "atoll")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_field_that_is_no_longer_applied_goes(server: Server) -> None:
    """Apply removes what its manager owned and does not name any more, and keeps what others set."""
    path = f"{server.base}/configmaps/a"
    await server.apply(path, config_map("a", mine="1", old="2"), "atoll")
    await server.apply(path, config_map("a", theirs="3"), "someone")
    left = await server.apply(path, config_map("a", mine="1"), "atoll")
    assert left["data"] == {"mine": "1", "theirs": "3"}


async def test_a_field_that_another_changed_is_a_conflict_unless_forced(server: Server) -> None:
    """After an edit by hand apply answers 409 Conflict; with force the value is put back."""
    path = f"{server.base}/configmaps/a"
    await server.apply(path, config_map("a", x="policy"), "atoll")
    merge = "application/merge-patch+json"
    await server("PATCH", path, {"data": {"x": "hand"}}, content_type=merge, fieldManager="kubectl-edit")
    with pytest.raises(Refused) as error:
        await server.apply(path, config_map("a", x="policy"), "atoll")
    assert error.value.what == (409, "Conflict")
    healed = await server.apply(path, config_map("a", x="policy"), "atoll", force="true")
    assert healed["data"] == {"x": "policy"}


async def test_a_dry_run_stores_nothing(server: Server) -> None:
    """dryRun=All answers with what would be stored, and the object is not there afterwards."""
    answer = await server.apply(f"{server.base}/configmaps/a", config_map("a", x="1"), "atoll", dryRun="All")
    assert answer["data"] == {"x": "1"}
    with pytest.raises(Refused) as error:
        await server("GET", f"{server.base}/configmaps/a")
    assert error.value.what == (404, "NotFound")


async def test_an_update_with_a_stale_version_is_refused(server: Server) -> None:
    """PUT with an old resourceVersion answers 409 Conflict and changes nothing."""
    path = f"{server.base}/configmaps"
    old = await server("POST", path, config_map("a", x="1"))
    await server("PUT", f"{path}/a", {**old, "data": {"x": "2"}})
    with pytest.raises(Refused) as error:
        await server("PUT", f"{path}/a", {**old, "data": {"x": "3"}})
    assert error.value.what == (409, "Conflict")
    assert (await server("GET", f"{path}/a"))["data"] == {"x": "2"}


async def test_an_unknown_field_is_refused_by_name(server: Server) -> None:
    """Under strict validation a misspelt field is a 400 that names its path, and nothing is stored."""
    policy = _policy("p")
    policy["spec"]["podSelecter"] = {}
    with pytest.raises(Refused) as error:
        await server("POST", server.policies, policy, fieldValidation="Strict")
    assert error.value.what == (400, "BadRequest")
    assert 'unknown field "spec.podSelecter"' in error.value.message
    assert (await server("GET", server.policies))["items"] == []


async def test_a_network_policy_gets_its_defaults(server: Server) -> None:
    """policyTypes follows from the rules that are there, and a port without a protocol is TCP."""
    stored = await server.apply(f"{server.policies}/p", _policy("p"), "atoll", force="true")
    assert stored["spec"]["policyTypes"] == ["Ingress"]
    assert stored["spec"]["ingress"][0]["ports"][0]["protocol"] == "TCP"


def _policy(name: str) -> Json:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 443}], "from": [{"podSelector": {}}]}]},
    }


async def test_labels_select_what_is_listed_and_deleted(server: Server) -> None:
    """A label selector restricts a list, and deletecollection deletes only what it selects."""
    path = f"{server.base}/configmaps"
    for name, owner in (("a", "atoll"), ("b", "other")):
        manifest = config_map(name)
        manifest["metadata"]["labels"] = {"owner": owner}
        await server("POST", path, manifest)
    await server("DELETE", path, labelSelector="owner=atoll")
    left = {item["metadata"]["name"] for item in (await server("GET", path, labelSelector="owner"))["items"]}
    assert left == {"b"}


async def test_a_watch_goes_on_from_a_list_and_misses_nothing(server: Server) -> None:
    """A watch from the list's resourceVersion shows exactly the changes after it, in their order."""
    path = f"{server.base}/configmaps"
    await server("POST", path, config_map("before"))
    version = (await server("GET", path))["metadata"]["resourceVersion"]
    await server("POST", path, config_map("a", x="1"))
    merge = "application/merge-patch+json"
    await server("PATCH", f"{path}/a", {"data": {"x": "2"}}, content_type=merge)
    await server("DELETE", f"{path}/a")
    api = client.CoreV1Api(server.api)
    seen = []
    async with asyncio.timeout(20), watch.Watch() as stream:
        listed = stream.stream(api.list_namespaced_config_map, server.namespace, resource_version=version)
        async for event in listed:
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 3:
                break
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_an_object_in_a_namespace_that_does_not_exist_is_refused(server: Server) -> None:
    """The namespace is named and the answer is 404."""
    with pytest.raises(Refused) as error:
        await server("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a"))
    assert error.value.what == (404, "NotFound")
    assert 'namespaces "nowhere" not found' in error.value.message


async def test_an_object_with_a_finalizer_stays_until_it_is_taken_away(server: Server) -> None:
    """Deletion only marks the object; removing the finalizer removes it."""
    path = f"{server.base}/configmaps"
    manifest = config_map("a")
    manifest["metadata"]["finalizers"] = ["atoll.dev/test"]
    await server("POST", path, manifest)
    await server("DELETE", f"{path}/a")
    assert "deletionTimestamp" in (await server("GET", f"{path}/a"))["metadata"]
    merge = "application/merge-patch+json"
    await server("PATCH", f"{path}/a", {"metadata": {"finalizers": None}}, content_type=merge)
    with pytest.raises(Refused) as error:
        await server("GET", f"{path}/a")
    assert error.value.what == (404, "NotFound")


async def test_the_status_is_written_by_its_own_endpoint_only(server: Server) -> None:
    """A status in an update of the object is dropped, and an update of the status leaves the spec alone."""
    path = f"/apis/batch/v1/namespaces/{server.namespace}/jobs"
    container = {"name": "c", "image": "i", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    manifest = {"metadata": {"name": "j"}, "spec": {"suspend": True, "template": template}}
    made = await server("POST", path, {**manifest, "status": {"succeeded": 7}})
    assert "succeeded" not in made.get("status", {})
    assert made["spec"]["backoffLimit"] == 6
    merge = "application/merge-patch+json"
    body = {"spec": {"suspend": False}, "status": {"ready": 0}}
    await server("PATCH", f"{path}/j/status", body, content_type=merge)
    assert (await server("GET", f"{path}/j"))["spec"]["suspend"] is True
