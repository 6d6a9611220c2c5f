"""Every change over HTTP leaves a record, which its author and the admins can read, and nobody else."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from atoll.federation.bus.connection import Bus
from atoll.hub.access.audit import AuditLog
from atoll.hub.http.audit import AuditRecords
from atoll.kubeapi.storage import MemoryStorage
from hub.access_support import ADMIN, LAB, Parts, as_user, binding
from hub.support import API, eventually, job_spec, manifest, now, running_hub

AUDIT, JOBS = "/access/audit", f"{API}/namespaces/{LAB}/jobs"
ALICE, BOB = as_user("alice", "staff"), as_user("bob")


@dataclass
class Audited:
    """The API with its audit, over HTTP."""

    http: httpx.AsyncClient
    log: AuditLog
    parts: Parts

    async def records(self, headers: dict[str, str] = ADMIN, **query: str) -> list[dict[str, Any]]:
        """Read records over HTTP."""
        answer = await self.http.get(AUDIT, params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [orjson.loads(line) for line in answer.content.splitlines()]

    async def ended(self, count: int, **query: str) -> list[dict[str, Any]]:
        """Wait until that many records have an end, and give them."""

        async def check() -> list[dict[str, Any]] | None:
            found = [record for record in await self.records(**query) if record["result"] != "Unknown"]
            return found if len(found) >= count else None

        found = await eventually(check)
        assert found is not None
        return found


@pytest.fixture
async def audited(bus: Bus) -> AsyncIterator[Audited]:
    log, parts = await AuditLog.open(bus, clock=now), Parts(MemoryStorage())
    routes = AuditRecords(log, is_admin=parts.authorizer.is_admin, clock=now).routes()
    async with parts.serving(log, routes) as http:
        await parts.prepare()
        bindings = (binding("submitters", "Submitter", "alice", queues=["lab"]), binding("readers", "Viewer", "bob"))
        rt = parts.store.registry.by_kind("atoll.dev", "RoleBinding")
        assert rt is not None
        for one in bindings:
            await parts.store.create(rt, one)
        yield Audited(http, log, parts)
    await log.close()


def a_job(name: str, queue: str = "lab") -> dict[str, Any]:
    return manifest("Job", name, job_spec(queue=queue), LAB)


async def test_every_change_leaves_a_record_and_no_read_does(audited: Audited) -> None:
    http, apply = audited.http, {**ALICE, "content-type": "application/apply-patch+yaml"}
    await http.get(JOBS, headers=ALICE)
    await http.post(JOBS, json=a_job("one"), headers=ALICE)
    await http.patch(f"{JOBS}/one?fieldManager=me", json=a_job("one"), headers=apply)
    await http.post(f"{JOBS}?dryRun=All", json=a_job("never"), headers=ALICE)
    await http.post(JOBS, json={**a_job(""), "metadata": {"generateName": "many-"}}, headers=ALICE)
    await http.delete(f"{JOBS}/one", headers=ALICE)
    await http.delete(f"{JOBS}/one", headers=ALICE)
    await http.delete(JOBS, headers=ALICE)
    found = await audited.ended(7)
    told = [
        (one["verb"], one.get("name", "")[:5], one["code"], one["result"], one.get("dryRun", False)) for one in found
    ]
    assert told == [
        ("create", "one", 201, "Succeeded", False),
        ("patch", "one", 200, "Succeeded", False),
        ("create", "never", 201, "Succeeded", True),
        ("create", "many-", 201, "Succeeded", False),
        ("delete", "one", 200, "Succeeded", False),
        ("delete", "one", 404, "Failed", False),
        ("deletecollection", "", 200, "Succeeded", False),
    ]
    assert {(one["user"], one["resource"], one["namespace"]) for one in found} == {("alice", "jobs", LAB)}


async def test_a_refusal_is_recorded_with_its_reason_wherever_it_came_from(audited: Audited) -> None:
    assert (await audited.http.post(JOBS, json=a_job("x"), headers=BOB)).status_code == 403  # the role
    assert (await audited.http.post(JOBS, json=a_job("x", "night"), headers=ALICE)).status_code == 403  # the queue
    assert (await audited.http.post("/access/tokens", json={}, headers=ALICE)).status_code == 403
    found = await audited.ended(3)
    assert {(one["user"], one["code"], one["reason"]) for one in found} == {
        ("bob", 403, "Forbidden"),
        ("alice", 403, "Forbidden"),
    }
    assert any('queue "night" is not among those granted: lab' in one["message"] for one in found)
    assert [one["path"] for one in found if "path" in one] == ["/access/tokens"]


async def test_an_admin_sees_all_and_everybody_else_their_own(audited: Audited) -> None:
    await audited.http.post(JOBS, json=a_job("one"), headers=ALICE)
    await audited.http.post(JOBS, json=a_job("two"), headers=BOB)
    impersonating = {**ADMIN, "impersonate-user": "alice"}
    await audited.http.post(JOBS, json=a_job("three"), headers=impersonating)
    await audited.ended(3)
    assert {one["user"] for one in await audited.records(ADMIN)} == {"alice", "bob"}
    assert [one["result"] for one in await audited.records(BOB)] == ["Failed"]
    assert [one.get("acting", "") for one in await audited.records(ALICE)] == ["", "root"]
    assert await audited.records(as_user("carol")) == []
    refused = await audited.http.get(AUDIT, params={"user": "alice"}, headers=BOB)
    assert refused.status_code == 403
    assert refused.json()["message"] == 'user: only an Admin sees the audit records of others; you are "bob"'
    assert (await audited.http.get(AUDIT)).status_code == 401


async def test_a_bad_parameter_is_answered_with_its_name(audited: Audited) -> None:
    answer = await audited.http.get(AUDIT, params={"limit": "-1"}, headers=ADMIN)
    assert answer.status_code == 400
    assert answer.json()["message"] == "limit: Invalid value: '-1': must be a whole number from 1 to 10000"


async def test_filters_choose_and_a_limit_gives_the_newest(audited: Audited) -> None:
    for number in range(5):
        await audited.http.post(JOBS, json=a_job(f"job-{number}"), headers=ALICE)
        await audited.http.post(JOBS, json=a_job(f"job-{number}"), headers=BOB)
    await audited.ended(10)
    assert [one["name"] for one in await audited.records(user="alice", limit="2")] == ["job-3", "job-4"]
    assert len(await audited.records(failed="true")) == 5
    (record,) = await audited.records(name="job-1", resource="jobs", verb="create")
    assert record["user"] == "alice"
    assert await audited.records(namespace="optics") == []
    assert await audited.records(until="1h", since="2h") == []


@pytest.mark.faults
async def test_nothing_is_changed_while_nothing_can_be_recorded(audited: Audited, nats_server: Any) -> None:
    await asyncio.to_thread(nats_server.kill9)
    refused = await audited.http.post(JOBS, json=a_job("one"), headers=ALICE, timeout=30)
    assert refused.status_code == 503
    assert refused.json()["reason"] == "ServiceUnavailable"
    assert refused.headers["retry-after"] == "1"
    assert (await audited.http.get(f"{JOBS}/one", headers=ALICE)).status_code == 404
    await asyncio.to_thread(nats_server.start)

    async def is_taken() -> bool:
        return (await audited.http.post(JOBS, json=a_job("one"), headers=ALICE, timeout=30)).status_code == 201

    await eventually(is_taken)


async def test_a_hub_records_follows_and_remembers_over_its_restart(nats_server: Any, tmp_path: Path) -> None:
    async with running_hub(nats_server.url, tmp_path) as hub:
        async with hub.http.stream("GET", AUDIT, params={"follow": "true", "resource": "queues"}) as answer:
            lines = answer.aiter_lines()
            await hub.apply(manifest("Queue", "lab"))
            async with asyncio.timeout(10):
                record = orjson.loads(await anext(lines))
        assert (record["verb"], record["name"], record["result"]) == ("create", "lab", "Succeeded")
        await hub.apply(manifest("Queue", "night"))
    async with running_hub(nats_server.url, tmp_path) as hub:
        found = (await hub.http.get(AUDIT, params={"resource": "queues"})).content.splitlines()
        assert [orjson.loads(line)["result"] for line in found] == ["Succeeded", "Succeeded"], "close writes the ends"
