"""Accounts on a real nats-server: each run once, whoever writes and dies; sums that outlive a hub; who sees what."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.errors import Conflict
from atoll.federation.resources import Cluster, Queue, Run
from atoll.federation.resources.submitter import QUEUE, SUBMITTER
from atoll.hub.accounting.accounts import Accounts
from atoll.hub.accounting.book import ACCOUNTS_STREAM, AccountBook, Retention
from atoll.hub.accounting.charging import Charge
from atoll.hub.accounting.checkpoints import Checkpoints
from atoll.hub.accounting.daily import DailyCharges
from atoll.hub.http.accounts import AccountRoutes, parse_query
from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.storage import MemoryStorage
from hub.access_support import ADMIN, Parts, as_user, binding
from hub.support import API, HubClient, Member, eventually, job_spec, joined, manifest, path_of, running_hub

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY, DAY = NOON.date(), timedelta(days=1)
LAB = "seismology"
DEMAND = {"demand": {"pods": 1, "gpus": 1, "millicores": 1000, "memoryBytes": 0}}


def a_charge(name: str, *, user: str = "ada", queue: str = "lab", hours: float = 1, now: datetime = NOON) -> Charge:
    spec = {"job": name, "cluster": "onprem", "epoch": 1, "decision": DEMAND}
    made = manifest("Run", f"{name}-1", spec, LAB)
    made["metadata"] |= {"uid": f"uid-{name}", "annotations": {SUBMITTER: user, QUEUE: queue}}
    made["metadata"]["creationTimestamp"] = now - timedelta(hours=hours)
    status = {"phase": "Succeeded", "startedAt": now - timedelta(hours=hours), "finishedAt": now}
    made["status"] = {**status, "usage": {"gpuSeconds": hours * 3600}}
    cluster = Cluster.model_validate({"metadata": {"name": "onprem"}, "spec": {"costs": {"gpuHour": 3}}})
    return Charge(Run.model_validate(made), None, {"onprem": cluster}, now)


async def opened(bus: Bus, now: datetime = NOON) -> Accounts:
    return await Accounts.open(bus, clock=lambda: now, retention=Retention())


async def stored(bus: Bus) -> int:
    return int((await bus.api(f"STREAM.INFO.{ACCOUNTS_STREAM}"))["state"]["messages"])


async def spent(accounts: Accounts, queue: str = "lab") -> float:
    budgeted = Queue.model_validate(manifest("Queue", queue, {"budgets": [{"period": "Day", "money": 1}]}))
    return sum(each.money for each in accounts.charged({queue: budgeted}).spent[queue].values())


async def test_a_run_is_charged_once_though_two_hubs_tell_its_end_at_once_and_again_the_next_day(bus: Bus) -> None:
    """A hub that was killed before it told the end does all of it again, when another day has begun."""
    hubs = [await opened(bus) for _ in range(2)]
    charge = a_charge("j", hours=20)
    lost = replace(charge, is_told=False)
    await asyncio.gather(*(hub.charge(lost) for hub in hubs for _ in range(3)))
    assert await stored(bus) == 2, "yesterday's part, and the last"
    await hubs[0].charge(replace(lost, now=NOON + 2 * DAY))
    assert await stored(bus) == 2


async def test_many_ends_at_once_are_all_written(bus: Bus) -> None:
    """Sums count all of them, at once where they were written and soon in a hub that follows."""
    accounts = await opened(bus)
    await accounts.load()
    await asyncio.gather(*(accounts.charge(a_charge(f"j{number}")) for number in range(200)))
    assert await stored(bus) == 200
    assert await spent(accounts) == pytest.approx(600)
    await accounts.catch_up()
    assert await spent(accounts) == pytest.approx(600)
    days = await accounts.days()
    (row,) = days.days[TODAY].rows.values()
    assert (row.runs, row.cost) == (200, pytest.approx(600))


async def test_a_hub_that_begins_reads_days_and_only_the_records_behind_them(bus: Bus) -> None:
    """What was written after the sums were stored is found; what is in them is not read again."""
    first = await opened(bus)
    await first.load()
    await first.charge(a_charge("before"))
    await first.catch_up()
    await (await opened(bus)).charge(a_charge("after", hours=2))
    sums = await Checkpoints(bus).load((await AccountBook(bus).extent()).created)
    assert (sums.through, sums.days[TODAY].through) == (1, 1), "the sums as they were stored"
    second = await opened(bus)
    await second.load()
    assert await spent(second) == pytest.approx(9)


async def test_of_two_hubs_that_both_think_they_lead_one_notices(bus: Bus) -> None:
    first, second = await opened(bus), await opened(bus)
    for hub in (first, second):
        await hub.load()
    await first.charge(a_charge("one"))
    await first.catch_up()
    await second.charge(a_charge("two"))
    with pytest.raises(Conflict):
        await second.catch_up()
    await second.load()
    await second.catch_up()
    assert await spent(second) == pytest.approx(6)


async def test_sums_survive_that_the_stream_of_records_was_made_anew(bus: Bus) -> None:
    """Its sequences begin at 1 again: what comes then is added, and what was known stays."""
    accounts = await opened(bus)
    await accounts.load()
    for number in range(3):
        await accounts.charge(a_charge(f"old{number}"))
    await accounts.catch_up()
    await bus.api(f"STREAM.DELETE.{ACCOUNTS_STREAM}")
    anew = await opened(bus)
    await anew.load()
    await anew.charge(a_charge("new"))
    await anew.catch_up()
    assert await spent(anew) == pytest.approx(12)


async def test_bytes_that_are_no_record_are_passed_over(bus: Bus) -> None:
    accounts = await opened(bus)
    await bus.store("accounts.final.rubbish", b"\xff{")
    await accounts.charge(a_charge("good"))
    await accounts.load()
    assert await spent(accounts) == pytest.approx(3)


# --- with a hub


@pytest.fixture
async def hub(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[HubClient]:
    async with running_hub(nats_server.url, tmp_path) as client:
        budgets = [{"period": "Month", "gpuHours": 1}]
        await client.apply(manifest("Namespace", LAB), manifest("Queue", "lab", {"budgets": budgets}))
        yield client


async def records(http: httpx.AsyncClient, what: str = "records", **query: str) -> list[dict[str, Any]]:
    answer = await http.get(f"/accounts/{what}", params=query)
    assert answer.status_code == 200, answer.text
    return [orjson.loads(line) for line in answer.content.splitlines()]


async def started(hub: HubClient, member: Member, name: str) -> dict[str, Any]:
    await hub.apply(manifest("Cluster", member.name, {"costs": {"gpuHour": 2}}))
    await hub.phase(f"{API}/clusters/{member.name}", "Ready")
    member.holds_runs = True
    job = manifest("Job", name, job_spec(gpu={"count": 1}, expectedDuration="10m"), LAB)
    await hub.apply(job)
    await hub.phase(path_of(job), "Running")
    return job


def ran(seconds: int) -> dict[str, Any]:
    end = datetime.now(UTC)
    return {
        "started_at": end - timedelta(seconds=seconds),
        "finished_at": end,
        "usage": {"gpu_seconds": float(seconds), "cpu_seconds": 1.0},
    }


async def test_what_a_run_took_outlives_its_job_and_the_hub(
    hub: HubClient, bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """Its end is reported twice, its job deleted, another hub begins; a job beyond the budget waits and says why."""
    async with joined(bus, "onprem") as member:
        job = await started(hub, member, "once")
        (order,) = member.applied.values()
        for _ in range(2):
            await member.tell(order, "Succeeded", **ran(3240))
        await hub.phase(path_of(job), "Succeeded")
        (record,) = await records(hub.http)
        assert (record["job"], record["queue"], record["user"]) == ("once", "lab", "system:anonymous")
        assert (record["gpuSeconds"], record["cost"], record["phase"]) == (3240, 1.8, "Succeeded")
        assert (await hub.http.delete(path_of(job))).status_code == 200
        (row,) = await records(hub.http, "days", queue="lab", user="me")
        assert (row["runs"], row["gpuSeconds"]) == (1, 3240)
        async with running_hub(nats_server.url, tmp_path / "other") as other:
            assert await records(other.http) == [record]
        waits = manifest("Job", "waits", job_spec(gpu={"count": 1}, expectedDuration="10m"), LAB)
        await hub.apply(waits)

        async def reason() -> bool:
            return bool((await hub.status(path_of(waits))).get("reason") == "BudgetSpent")

        assert await eventually(reason)
        assert "queue lab has spent 0.9 GPU hours of 1 GPU hours" in (await hub.status(path_of(waits)))["message"]

        async def told() -> bool:
            budgets = (await hub.status(f"{API}/queues/lab")).get("budgets", [])
            return [each["spent"]["gpuHours"] for each in budgets] == [0.9]

        assert await eventually(told)


async def test_a_run_whose_hub_died_between_its_record_and_its_end_is_charged_once(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """The record was written and the end was not told; the next hub finds the report, and that record."""
    async with joined(bus, "onprem") as member:
        async with running_hub(nats_server.url, tmp_path) as hub:
            await hub.apply(manifest("Namespace", LAB), manifest("Queue", "lab"))
            job = await started(hub, member, "j")
            run = Run.model_validate(await hub.get(f"{API}/namespaces/{LAB}/runs/j-1"))
            later = DailyCharges(hub.hub.client, hub.hub.context.accounts, clock=lambda: datetime.now(UTC) + 2 * DAY)
            for _ in range(2):
                await later.charge()
            assert [each["isFinal"] for each in await records(hub.http, until="2999-01-01T00:00:00Z")] == [False] * 2
        (order,) = member.applied.values()
        await member.tell(order, "Succeeded", **ran(60))
        accounts = await Accounts.open(bus, clock=lambda: datetime.now(UTC), retention=Retention())
        await accounts.charge(Charge(run, None, {}, datetime.now(UTC)))
        before = await stored(bus)
        async with running_hub(nats_server.url, tmp_path) as following:
            await following.phase(path_of(job), "Succeeded")
            assert await stored(bus) == before
            assert [each["isFinal"] for each in await records(following.http)] == [True]


async def test_a_run_that_is_deleted_with_its_job_is_charged(bus: Bus, nats_server: Any, tmp_path: Path) -> None:
    """The agent takes its work away; what it took until then is estimated, for whose it was."""
    async with joined(bus, "onprem") as member, running_hub(nats_server.url, tmp_path) as hub:
        await hub.apply(manifest("Namespace", LAB), manifest("Queue", "lab"))
        job = await started(hub, member, "gone")
        assert (await hub.http.delete(f"{path_of(job)}?propagationPolicy=Background")).status_code == 200
        (record,) = await eventually(lambda: records(hub.http))
        assert (record["queue"], record["user"]) == ("lab", "system:anonymous")
        assert (record["reason"], record["isEstimated"]) == ("Deleted", True)


# --- who sees what


async def test_everybody_sees_their_own_and_what_their_roles_let_them_see(bus: Bus) -> None:
    accounts, parts = await opened(bus), Parts(MemoryStorage())
    await accounts.load()
    for name, user in (("a", "ada"), ("b", "bob")):
        await accounts.charge(a_charge(name, user=user))
    elsewhere = a_charge("c", user="eve")
    metadata = elsewhere.run.metadata.model_copy(update={"namespace": "optics"})
    await accounts.charge(replace(elsewhere, run=elsewhere.run.model_copy(update={"metadata": metadata})))
    await accounts.catch_up()
    routes = AccountRoutes(accounts, parts.authorizer, clock=lambda: NOON).routes()
    async with parts.serving(routes=routes) as http:
        await parts.prepare()
        made = binding("viewers", "Viewer", "vera", namespaces=[LAB])
        assert (await http.post(f"{API}/rolebindings", json=made, headers=ADMIN)).status_code == 201

        async def users(headers: dict[str, str], what: str, **query: str) -> list[str]:
            answer = await http.get(f"/accounts/{what}", params=query, headers=headers)
            assert answer.status_code == 200, answer.text
            return sorted(orjson.loads(line)["user"] for line in answer.content.splitlines())

        for what in ("records", "days"):
            assert await users(ADMIN, what) == ["ada", "bob", "eve"]
            assert await users(as_user("ada"), what) == ["ada"], "without any role"
            assert await users(as_user("vera"), what) == ["ada", "bob"]
            assert await users(as_user("vera"), what, user="bob") == ["bob"]
            assert await users(as_user("eve"), what, user="me", namespace="optics") == ["eve"]
            assert await users(ADMIN, what, since="1m", until="2026-11-23T12:00:00Z", queue="other") == []
        assert await users(ADMIN, "records", job="a") == ["ada"]
        refused = await http.get("/accounts/days", params={"job": "a"}, headers=ADMIN)
        assert refused.status_code == 400 and "not by job" in refused.text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"since": "yesterday"}, "since: Invalid value: 'yesterday'"),
        ({"since": "999999999d"}, "since: Invalid value"),
        ({"since": "1h", "until": "2h"}, "until: is before since"),
        ({"colour": "red"}, "colour: unknown parameter"),
    ],
    ids=str,
)
def test_a_query_that_is_wrong_is_refused_by_name(query: dict[str, str], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        parse_query(query, now=NOON, user="ada")
