"""Roles over HTTP: what a binding gives counts at once, on every hub, and no way around it leads into a queue."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from atoll.hub.access.grant import Grant
from atoll.kubeapi.storage import MemoryStorage
from hub.access_support import ADMIN, LAB, OTHER, Parts, api, as_user, binding
from hub.support import API, eventually, job_spec, manifest

JOBS, TRIGGERS, BINDINGS = f"{API}/namespaces/{LAB}/jobs", f"{API}/namespaces/{LAB}/triggers", f"{API}/rolebindings"
ALICE, BOB = as_user("alice", "oidc:seismologists"), as_user("bob")
MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with api() as client:
        yield client


async def bind(http: httpx.AsyncClient, *bindings: Mapping[str, Any]) -> None:
    for one in bindings:
        answer = await http.post(BINDINGS, json=one, headers=ADMIN)
        assert answer.status_code == 201, answer.text


def a_job(name: str, queue: str, namespace: str = LAB) -> dict[str, Any]:
    return manifest("Job", name, job_spec(queue=queue), namespace)


def a_trigger(name: str, queue: str) -> dict[str, Any]:
    return manifest("Trigger", name, {"job": {"name": "picks", "spec": job_spec(queue=queue)}}, LAB)


async def code(http: httpx.AsyncClient, path: str, headers: Mapping[str, str]) -> int:
    return (await http.get(path, headers=headers)).status_code


async def test_a_binding_counts_at_once_and_is_gone_at_once(http: httpx.AsyncClient) -> None:
    assert await code(http, JOBS, ALICE) == 403
    await bind(http, binding("readers", "Viewer", groups=["oidc:seismologists"]))
    assert await code(http, JOBS, ALICE) == 200
    assert await code(http, JOBS, BOB) == 403
    changed = [{"op": "replace", "path": "/spec/namespaces", "value": [OTHER]}]
    patched = await http.patch(
        f"{BINDINGS}/readers",
        json=[{"op": "add", "path": "/spec/namespaces", "value": []}, *changed],
        headers={**ADMIN, "content-type": "application/json-patch+json"},
    )
    assert patched.status_code == 200, patched.text
    assert await code(http, JOBS, ALICE) == 403
    assert await code(http, f"{API}/namespaces/{OTHER}/jobs", ALICE) == 200
    assert (await http.delete(f"{BINDINGS}/readers", headers=ADMIN)).status_code == 200
    assert await code(http, f"{API}/namespaces/{OTHER}/jobs", ALICE) == 403


async def test_a_binding_that_a_finalizer_holds_back_grants_nothing_any_more(http: httpx.AsyncClient) -> None:
    held = binding("readers", "Viewer", "alice")
    held["metadata"]["finalizers"] = ["example.org/wait"]
    await bind(http, held)
    assert await code(http, JOBS, ALICE) == 200
    await http.delete(f"{BINDINGS}/readers", headers=ADMIN)
    assert (await http.get(f"{BINDINGS}/readers", headers=ADMIN)).json()["metadata"]["deletionTimestamp"]
    assert await code(http, JOBS, ALICE) == 403


async def test_a_binding_made_on_one_hub_counts_on_the_other(http: httpx.AsyncClient) -> None:
    storage = MemoryStorage()
    one, other = Parts(storage), Parts(storage)
    async with one.serving() as first, other.serving() as second:
        await one.prepare()
        await bind(first, binding("readers", "Viewer", "alice"))

        async def is_heard() -> bool:
            return await code(second, JOBS, ALICE) == 200

        await eventually(is_heard)


async def test_the_admins_group_is_admin_without_any_binding_and_cannot_be_locked_out(http: httpx.AsyncClient) -> None:
    await bind(http, binding("admins", "Admin", "bob"))
    assert (await http.delete(f"{BINDINGS}/admins", headers=BOB)).status_code == 200
    assert await code(http, BINDINGS, BOB) == 403
    await bind(http, binding("admins", "Admin", "bob"))
    assert await code(http, BINDINGS, BOB) == 200


async def test_a_token_brings_its_own_grant_and_one_that_cannot_be_read_brings_none(http: httpx.AsyncClient) -> None:
    assert await code(http, JOBS, as_user("ci", grant=Grant("Viewer", (LAB,)))) == 200
    assert await code(http, JOBS, as_user("ci", grant=Grant("Viewer", (OTHER,)))) == 403
    assert await code(http, JOBS, as_user("ci", grant='{"role": "Root"}')) == 403
    assert await code(http, JOBS, as_user("ci", grant="Admin")) == 403


async def test_a_limited_reader_lists_their_namespace_and_not_all_of_them(http: httpx.AsyncClient) -> None:
    await bind(http, binding("readers", "Viewer", "alice", namespaces=[LAB]))
    assert await code(http, JOBS, ALICE) == 200
    assert await code(http, f"{API}/clusters", ALICE) == 200
    refused = await http.get(f"{API}/jobs", headers=ALICE)
    assert refused.status_code == 403
    assert refused.json()["message"] == (
        'jobs.atoll.dev is forbidden: User "alice" cannot list resource "jobs" in API group "atoll.dev" at the cluster '
        f"scope: it is about all namespaces, and granted is only Viewer in namespace {LAB}"
    )
    assert (await http.get(f"{API}/jobs?watch=true", headers=ALICE)).status_code == 403


async def test_a_file_deep_in_a_dataset_is_as_closed_as_the_dataset(http: httpx.AsyncClient) -> None:
    path = f"{API}/namespaces/{LAB}/datasets/waves/files/2026/11/22.mseed"
    assert await code(http, path, BOB) == 403


async def test_a_submitter_submits_to_their_queues_only(http: httpx.AsyncClient) -> None:
    await bind(http, binding("submitters", "Submitter", "alice", namespaces=[LAB], queues=["lab"]))
    assert (await http.post(JOBS, json=a_job("own", "lab"), headers=ALICE)).status_code == 201
    refused = await http.post(JOBS, json=a_job("foreign", "night"), headers=ALICE)
    assert refused.status_code == 403
    assert refused.json()["reason"] == "Forbidden"
    assert refused.json()["message"] == (
        'jobs.atoll.dev "foreign" is forbidden: queue "night" is not among those granted: lab'
    )
    tried = await http.post(f"{JOBS}?dryRun=All", json=a_job("foreign", "night"), headers=ALICE)
    assert tried.status_code == 403
    applied = await http.patch(
        f"{JOBS}/foreign?fieldManager=me", json=a_job("foreign", "night"), headers={**ALICE, **APPLY}
    )
    assert applied.status_code == 403
    elsewhere = a_job("own", "lab", OTHER)
    assert (await http.post(f"{API}/namespaces/{OTHER}/jobs", json=elsewhere, headers=ALICE)).status_code == 403
    assert (await http.post(f"{API}/jobs", json=elsewhere, headers=ALICE)).status_code == 403
    names = [job["metadata"]["name"] for job in (await http.get(f"{API}/jobs", headers=ADMIN)).json()["items"]]
    assert names == ["own"]


async def test_a_submitter_changes_no_job_and_no_trigger_of_a_foreign_queue(http: httpx.AsyncClient) -> None:
    await bind(http, binding("submitters", "Submitter", "alice", namespaces=[LAB], queues=["lab"]))
    for path, one in ((JOBS, a_job("foreign", "night")), (TRIGGERS, a_trigger("foreign", "night"))):
        assert (await http.post(path, json=one, headers=ADMIN)).status_code == 201
    cancelled = await http.patch(f"{JOBS}/foreign", json={"spec": {"cancelled": True}}, headers={**ALICE, **MERGE})
    assert cancelled.status_code == 403
    moved = await http.patch(
        f"{TRIGGERS}/foreign", json={"spec": {"job": {"spec": {"queue": "lab"}}}}, headers={**ALICE, **MERGE}
    )
    assert moved.status_code == 403
    assert 'queue "night" is not among those granted: lab' in moved.json()["message"]
    assert (await http.post(TRIGGERS, json=a_trigger("own", "lab"), headers=ALICE)).status_code == 201
    out = await http.patch(
        f"{TRIGGERS}/own", json={"spec": {"job": {"spec": {"queue": "night"}}}}, headers={**ALICE, **MERGE}
    )
    assert out.status_code == 403
    stored = (await http.get(f"{TRIGGERS}/foreign", headers=ADMIN)).json()
    assert stored["spec"]["job"]["spec"]["queue"] == "night"
    assert (await http.get(f"{TRIGGERS}/own", headers=ADMIN)).json()["spec"]["job"]["spec"]["queue"] == "lab"


async def test_a_status_is_written_by_an_operator_and_by_no_submitter(http: httpx.AsyncClient) -> None:
    await bind(http, binding("submitters", "Submitter", "alice"), binding("operators", "Operator", "bob"))
    assert (await http.post(JOBS, json=a_job("own", "lab"), headers=ALICE)).status_code == 201
    change = {"status": {"phase": "Succeeded"}}
    assert (await http.patch(f"{JOBS}/own/status", json=change, headers={**ALICE, **MERGE})).status_code == 403
    assert (await http.patch(f"{JOBS}/own/status", json=change, headers={**BOB, **MERGE})).status_code == 200
    bypass = await http.patch(f"{JOBS}/own", json={"status": {"phase": "Failed"}}, headers={**ALICE, **MERGE})
    assert bypass.json()["status"]["phase"] == "Succeeded"


async def test_an_operator_gives_nobody_a_role_and_not_themselves(http: httpx.AsyncClient) -> None:
    await bind(http, binding("operators", "Operator", "bob"))
    assert (await http.post(BINDINGS, json=binding("mine", "Admin", "bob"), headers=BOB)).status_code == 403
    change = {"spec": {"role": "Admin"}}
    assert (await http.patch(f"{BINDINGS}/operators", json=change, headers={**BOB, **MERGE})).status_code == 403
    assert (await http.delete(BINDINGS, headers=BOB)).status_code == 403
    impersonating = {**BOB, "impersonate-user": "root", "impersonate-group": "atoll:admins"}
    assert await code(http, BINDINGS, impersonating) == 403


async def test_who_may_do_nothing_still_learns_what_they_may_do(http: httpx.AsyncClient) -> None:
    review = {
        "spec": {"resourceAttributes": {"verb": "create", "group": "atoll.dev", "resource": "jobs", "namespace": LAB}}
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = (await http.post(path, json=review, headers=BOB)).json()
    assert answer["status"]["allowed"] is False
    assert "an Admin grants one by a RoleBinding" in answer["status"]["reason"]
    await bind(http, binding("submitters", "Submitter", "bob", namespaces=[LAB]))
    assert (await http.post(path, json=review, headers=BOB)).json()["status"]["allowed"] is True
