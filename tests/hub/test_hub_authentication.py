"""Who comes in: certificates, tokens and their end, from the client's side of a hub that is as secure as by default."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.support import API, HubClient, eventually, job_spec, manifest
from hub.tls_support import REVIEW, WHO, Authority, ready, secured_hub, status, visitor, who

LAB, OTHER = "seismology", "optics"
SUBMITTER = {"user": "ci", "role": "Submitter", "namespaces": [LAB], "queues": ["lab"]}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
async def hub(nats_server: Any, tmp_path: Path, authority: Authority) -> AsyncIterator[HubClient]:
    async with secured_hub(nats_server.url, tmp_path / "a", authority) as client:
        await ready(client)
        yield client


async def issue(http: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    answer = await http.post("/access/tokens", json=wanted)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_token_lets_a_program_submit_to_its_queue_and_nothing_else_until_it_is_revoked(
    hub: HubClient, nats_server: Any, tmp_path: Path, authority: Authority
) -> None:
    await hub.apply(*(manifest("Namespace", name) for name in (LAB, OTHER)))
    await hub.apply(*(manifest("Queue", name) for name in ("lab", "night")))
    issued = await issue(hub.http, **SUBMITTER)
    jobs = f"{API}/namespaces/{LAB}/jobs"
    async with (
        secured_hub(nats_server.url, tmp_path / "b", authority) as second,
        visitor(hub.url, authority.context(), token=issued["token"]) as program,
        visitor(second.url, authority.context(), token=issued["token"]) as elsewhere,
    ):
        await ready(second)
        created = await program.post(jobs, json=manifest("Job", "picks", job_spec(), LAB))
        assert created.status_code == 201, created.text
        other_queue = await program.post(jobs, json=manifest("Job", "more", job_spec(queue="night"), LAB))
        code, reason, message = status(other_queue)
        assert (code, reason) == (403, "Forbidden")
        assert message.startswith('jobs.atoll.dev "more" is forbidden: ')
        assert '"night"' in message
        abroad = await program.post(f"{API}/namespaces/{OTHER}/jobs", json=manifest("Job", "picks", job_spec(), OTHER))
        code, reason, message = status(abroad)
        assert (code, reason) == (403, "Forbidden")
        assert message.startswith(
            'jobs.atoll.dev is forbidden: User "ci" cannot create resource "jobs" in API group "atoll.dev" '
            f'in the namespace "{OTHER}"'
        )
        assert status(await program.get("/access/tokens"))[:2] == (403, "Forbidden")
        assert (await elsewhere.get(f"{jobs}/picks")).status_code == 200

        assert (await hub.http.delete(f"/access/tokens/{issued['id']}")).status_code == 200
        assert status(await program.get(f"{jobs}/picks")) == (401, "Unauthorized", "Unauthorized")

        async def is_out() -> bool:
            return (await elsewhere.get(f"{jobs}/picks")).status_code == 401

        await eventually(is_out, seconds=15)
        assert (await hub.http.delete(f"/access/tokens/{issued['id']}")).status_code == 404


async def test_issuing_using_and_revoking_a_token_is_on_record_by_its_id(hub: HubClient, authority: Authority) -> None:
    issued = await issue(hub.http, user="ci", role="Operator")
    async with visitor(hub.url, authority.context(), token=issued["token"]) as program:
        assert (await program.post("/api/v1/namespaces", json=manifest("Namespace", LAB))).status_code == 201
    assert (await hub.http.delete(f"/access/tokens/{issued['id']}")).status_code == 200

    async def records() -> list[dict[str, Any]]:
        lines = (await hub.http.get("/access/audit")).text.splitlines()
        found = [json.loads(line) for line in lines]
        return found if len([record for record in found if "code" in record]) == 3 else []

    first, used, last = await eventually(records)
    assert (first["user"], first["verb"], first["path"], first["name"], first["code"]) == (
        "root", "post", "/access/tokens", issued["id"], 201,
    )  # fmt: skip
    assert (used["user"], used["credential"], used["resource"]) == ("ci", f"TOKEN={issued['id']}", "namespaces")
    assert (last["verb"], last["path"], last["code"]) == ("delete", f"/access/tokens/{issued['id']}", 200)
    assert issued["token"] not in str((first, used, last))


async def test_a_token_issued_at_one_hub_is_good_at_another_at_once(
    hub: HubClient, nats_server: Any, tmp_path: Path, authority: Authority
) -> None:
    async with secured_hub(nats_server.url, tmp_path / "b", authority) as second:
        await ready(second)
        for number in range(20):  # as many races between the follower and the request
            issued = await issue(hub.http, user=f"u{number}")
            async with visitor(second.url, authority.context(), token=issued["token"]) as program:
                assert (await who(program))["username"] == f"u{number}"


async def test_the_secret_of_a_token_is_shown_once_and_stored_nowhere(hub: HubClient, nats_server: Any) -> None:
    answer = await hub.http.post("/access/tokens", json={"user": "alice", "description": "laptop"})
    issued = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    secret = issued["token"].rpartition("_")[2]
    listed = (await hub.get("/access/tokens"))["items"]
    assert [(entry["id"], entry["user"], entry["createdBy"], entry["description"]) for entry in listed] == [
        (issued["id"], "alice", "root", "laptop")
    ]
    lifetime = datetime.fromisoformat(issued["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=89) < lifetime <= timedelta(days=90)
    assert secret not in str(listed)
    stored = b"".join(file.read_bytes() for file in (nats_server.home / "store").rglob("*") if file.is_file())
    assert issued["id"].encode() in stored
    assert secret.encode() not in stored


async def test_a_wrong_bearer_token_is_refused_whatever_certificate_comes_with_it(
    hub: HubClient, authority: Authority
) -> None:
    issued = await issue(hub.http, user="alice")
    wrong = {
        "no token of ours": "Bearer atoll_nonsense",
        "an unknown id": f"Bearer atoll_{'0' * 12}_{'0' * 64}",
        "another secret": f"Bearer {issued['token'][:-1]}{'0' if issued['token'][-1] != '0' else '1'}",
        "a longer secret": f"Bearer {issued['token']}0",
        "a JWT although no issuer is known": "Bearer eyJhbGciOiJub25lIn0.e30.",
        "another scheme": "Basic YWxpY2U6c2VjcmV0",
        "nothing after the scheme": "Bearer",
        "an empty header": "",
        "bytes that are no text": b"Bearer \xff\xfe",
    }
    for what, header in wrong.items():
        answer = await hub.http.get(f"{API}/jobs", headers={"Authorization": header})
        assert status(answer) == (401, "Unauthorized", "Unauthorized"), what
    both = [("Authorization", f"Bearer {issued['token']}"), ("Authorization", f"Bearer {issued['token']}")]
    assert (await hub.http.get(f"{API}/jobs", headers=both)).status_code == 401
    assert (await hub.http.get(f"{API}/jobs")).status_code == 200
    metrics = (await hub.http.get("/metrics")).text
    assert 'atoll_hub_authentications_total{method="token",result="refused"} 4.0' in metrics
    assert 'atoll_hub_authentications_total{method="oidc",result="refused"} 2.0' in metrics
    assert 'atoll_hub_authentications_total{method="other",result="refused"} 4.0' in metrics


async def test_whoever_shows_nothing_reads_health_and_version_only(hub: HubClient, authority: Authority) -> None:
    async with visitor(hub.url, authority.context()) as stranger:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert (await stranger.get(path)).status_code == 200, path
        for path in ("/metrics", "/apis", "/openapi/v3", f"{API}/jobs", "/access/tokens", "/nothing"):
            assert status(await stranger.get(path)) == (401, "Unauthorized", "Unauthorized"), path
        refused = await stranger.post("/api/v1/namespaces", json=manifest("Namespace", LAB))
        assert refused.status_code == 401
    assert LAB not in [item["metadata"]["name"] for item in (await hub.get("/api/v1/namespaces"))["items"]]


async def test_a_client_certificate_names_the_user_and_the_groups(hub: HubClient, authority: Authority) -> None:
    shown = authority.client("Zoë, the first", ("labs", "night shift"))
    async with visitor(hub.url, authority.context(shown)) as person:
        found = await who(person)
        assert found["username"] == "Zoë, the first"
        assert found["groups"] == ["labs", "night shift", "system:authenticated"]
        assert status(await person.get(f"{API}/jobs"))[:2] == (403, "Forbidden")


async def test_a_token_beside_a_certificate_counts_alone(hub: HubClient) -> None:
    issued = await issue(hub.http, user="alice", groups=["labs"], role="Viewer")
    answer = await hub.http.post(WHO, json=REVIEW, headers={"Authorization": f"bearer {issued['token']}"})
    found = answer.json()["status"]["userInfo"]
    assert found["username"] == "alice"
    assert found["groups"] == ["labs", "system:authenticated"]
    assert found["extra"]["authentication.kubernetes.io/credential-id"] == [f"TOKEN={issued['id']}"]


async def test_an_expired_token_is_refused_and_still_listed(
    nats_server: Any, tmp_path: Path, authority: Authority
) -> None:
    async with secured_hub(nats_server.url, tmp_path, authority) as hub:
        await ready(hub)
        soon = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
        issued = await issue(hub.http, user="alice", expiresAt=soon)
        async with visitor(hub.url, authority.context(), token=issued["token"]) as program:
            assert (await who(program))["username"] == "alice"
            await asyncio.sleep(1.6)
            assert (await program.post(WHO, json=REVIEW)).status_code == 401
        assert [entry["id"] for entry in (await hub.get("/access/tokens"))["items"]] == [issued["id"]]


async def test_a_request_for_a_token_names_every_fault_at_once(hub: HubClient) -> None:
    past = "2020-01-01T00:00:00Z"
    far = (datetime.now(UTC) + timedelta(days=366)).isoformat()
    cases: dict[str, tuple[dict[str, Any], set[str]]] = {
        "nothing": ({}, {"user"}),
        "many faults": (
            {"user": "", "role": "King", "namespaces": ["A_b"], "color": "red", "lifetimeSeconds": 5},
            {"user", "role", "namespaces[0]", "color", "lifetimeSeconds"},
        ),
        "a reserved user": ({"user": "atoll:hub"}, {"user"}),
        "a reserved group": ({"user": "eve", "groups": ["labs", "atoll:admins"]}, {"groups[1]"}),
        "Kubernetes' own group": ({"user": "eve", "groups": ["system:masters"]}, {"groups[0]"}),
        "a name of the identity provider": ({"user": "oidc:alice"}, {"user"}),
        "a name with a line break": ({"user": "eve\nadmin"}, {"user"}),
        "namespaces without a role": ({"user": "eve", "namespaces": [LAB]}, {"role"}),
        "queues of a Viewer": ({"user": "eve", "role": "Viewer", "queues": ["lab"]}, {"queues"}),
        "the past": ({"user": "eve", "expiresAt": past}, {"expiresAt"}),
        "more than a year": ({"user": "eve", "expiresAt": far}, {"expiresAt"}),
        "a second more than a year": ({"user": "eve", "lifetimeSeconds": 365 * 86400 + 1}, {"lifetimeSeconds"}),
        "no time zone": ({"user": "eve", "expiresAt": "2030-01-01T00:00:00"}, {"expiresAt"}),
        "two ends": ({"user": "eve", "expiresAt": past, "lifetimeSeconds": 60}, {"lifetimeSeconds"}),
        "a huge number": ({"user": "eve", "lifetimeSeconds": 10**30}, {"lifetimeSeconds"}),
    }
    for what, (body, fields) in cases.items():
        answer = await hub.http.post("/access/tokens", content=httpx.Request("POST", "http://x", json=body).content)
        assert answer.status_code == 422, (what, answer.text)
        assert {cause["field"] for cause in answer.json()["details"]["causes"]} == fields, (what, answer.text)
    for body in (b"[]", b"no JSON", b'"text"'):
        assert (await hub.http.post("/access/tokens", content=body)).status_code == 400
    assert (await hub.get("/access/tokens"))["items"] == []


async def test_a_dry_run_issues_and_revokes_nothing(hub: HubClient) -> None:
    dry = await hub.http.post("/access/tokens?dryRun=All", json=SUBMITTER)
    assert (dry.status_code, dry.json()["role"]) == (201, "Submitter")
    assert "token" not in dry.json()
    issued = await issue(hub.http, **SUBMITTER)
    assert (await hub.http.delete(f"/access/tokens/{issued['id']}?dryRun=All")).status_code == 200
    assert [entry["id"] for entry in (await hub.get("/access/tokens"))["items"]] == [issued["id"]]


async def test_forwarding_headers_are_not_believed(hub: HubClient, authority: Authority) -> None:
    headers = {
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Client-Cert": "Subject=CN=root,O=atoll:admins",
        "X-Remote-User": "root",
        "X-Remote-Group": "atoll:admins",
    }
    async with visitor(hub.url, authority.context()) as stranger:
        assert (await stranger.get(f"{API}/jobs", headers=headers)).status_code == 401


@pytest.mark.faults
async def test_known_tokens_go_on_working_while_nats_is_away_and_unknown_ones_are_told_to_wait(
    hub: HubClient, nats_server: Any, authority: Authority
) -> None:
    issued = await issue(hub.http, user="alice", role="Viewer")
    nats_server.kill9()
    async with visitor(hub.url, authority.context(), token=issued["token"]) as program:
        assert (await who(program))["username"] == "alice"
        assert (await program.get("/metrics")).status_code == 200
    async with visitor(hub.url, authority.context(), token=f"atoll_{'0' * 12}_{'0' * 64}") as unknown:
        answer = await unknown.get(f"{API}/jobs")
        assert status(answer)[:2] == (503, "ServiceUnavailable")
        assert "retry-after" in answer.headers
    assert (await hub.http.post("/access/tokens", json={"user": "bob"})).status_code == 503
    nats_server.start()

    async def is_back() -> bool:
        return (await hub.http.post("/access/tokens", json={"user": "bob"})).status_code == 201

    await eventually(is_back, seconds=40)
    async with visitor(hub.url, authority.context(), token=issued["token"]) as program:
        assert (await who(program))["username"] == "alice"


async def test_tokens_and_their_ends_survive_a_restart_of_the_hub(
    nats_server: Any, tmp_path: Path, authority: Authority
) -> None:
    async with secured_hub(nats_server.url, tmp_path, authority) as hub:
        kept, revoked = await issue(hub.http, user="alice"), await issue(hub.http, user="bob")
        assert (await hub.http.delete(f"/access/tokens/{revoked['id']}")).status_code == 200
    async with secured_hub(nats_server.url, tmp_path, authority) as hub:
        await ready(hub)
        async with visitor(hub.url, authority.context(), token=kept["token"]) as program:
            assert (await who(program))["username"] == "alice"
        async with visitor(hub.url, authority.context(), token=revoked["token"]) as program:
            assert (await program.post(WHO, json=REVIEW)).status_code == 401
