"""Retries, requeue and arrays against a hub: asked for at awkward moments, and by users of a hub that was killed."""

import asyncio
from pathlib import Path
from typing import Any

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import RunReport
from atoll.federation.tasks import Tasks
from hub.support import API, LAB, HubClient, eventually, job_spec, joined, manifest, path_of, ready_cluster, running_hub

MERGE = {"Content-Type": "application/merge-patch+json"}


async def change(hub: HubClient, job: dict[str, Any], **spec: Any) -> None:
    answer = await hub.http.patch(path_of(job), json={"spec": spec}, headers=MERGE)
    assert answer.status_code == 200, answer.text


async def is_answered(hub: HubClient, job: dict[str, Any], requests: int) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        status = await hub.status(path_of(job))
        return status if status.get("requeue", {}).get("answered") == requests else None

    return dict(await eventually(look))


async def test_a_requeue_stops_a_run_counts_no_failure_and_works_again_when_the_job_is_done(
    hub: HubClient, bus: Bus
) -> None:
    """Asked twice at one moment it is one more attempt; asked after the success, it is another."""
    job = manifest("Job", "again", job_spec(), LAB)
    async with ready_cluster(hub, bus, "onprem", holds_runs=True) as member:
        await hub.apply(job)
        await hub.phase(path_of(job), "Running")
        await asyncio.gather(change(hub, job, requeues=1), change(hub, job, requeues=2))
        await is_answered(hub, job, 2)
        await eventually(lambda: has_started(member, "again-2-e2"))
        member.holds_runs = False
        await member.tell(member.applied[f"run/{LAB}/again-2"], "Succeeded")
        await hub.phase(path_of(job), "Succeeded")
        member.holds_runs = True
        await change(hub, job, requeues=3)
        await eventually(lambda: has_started(member, "again-3-e3"))
        await change(hub, job, requeues=4, cancelled=True)
        status = await hub.phase(path_of(job), "Cancelled")
        assert status["requeue"]["answered"] == 3, "a job that is cancelled answers no request"
        assert member.starts == ["again-1-e1", "again-2-e2", "again-3-e3"]


async def has_started(member: Any, name: str) -> bool:
    return name in member.starts


async def test_a_requeue_that_was_asked_for_as_its_hub_ended_is_answered_by_the_next_one(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """An ended job is passed over when a hub begins; one that is to be placed again is not."""
    job = manifest("Job", "again", job_spec(), LAB)
    async with joined(bus, "onprem") as member:
        async with running_hub(nats_server.url, tmp_path) as first:
            await first.apply(manifest("Namespace", LAB), manifest("Queue", "lab"), manifest("Cluster", "onprem"))
            await first.phase(f"{API}/clusters/onprem", "Ready")
            await first.apply(job)
            await first.phase(path_of(job), "Succeeded")
            await change(first, job, requeues=1)
        async with running_hub(nats_server.url, tmp_path) as second:
            await is_answered(second, job, 1)
            await eventually(lambda: has_started(member, "again-2-e2"))


async def test_a_killed_hub_loses_no_retry_and_its_successor_waits_by_its_own_clock(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """The failure is reported twice, before and after; there is one more attempt, and it succeeds."""
    policy = {"backoff": "2s", "maxBackoff": "2s"}
    job = manifest("Job", "flaky", job_spec(retries=1, retryPolicy=policy), LAB)
    async with joined(bus, "onprem") as member:
        member.holds_runs = True
        async with running_hub(nats_server.url, tmp_path) as first:
            await first.apply(manifest("Namespace", LAB), manifest("Queue", "lab"), manifest("Cluster", "onprem"))
            await first.phase(f"{API}/clusters/onprem", "Ready")
            await first.apply(job)
            await first.phase(path_of(job), "Running")
            order = member.applied[f"run/{LAB}/flaky-1"]
            await member.tell(order, "Failed")

            async def waits() -> bool:
                return (await first.status(path_of(job))).get("reason") == "RetryBackoff"

            await eventually(waits)
        await member.tell(order, "Failed")
        member.holds_runs = False
        async with running_hub(nats_server.url, tmp_path) as second:
            status = await second.phase(path_of(job), "Succeeded")
            assert status["attempts"] == 2
            assert member.starts == ["flaky-1-e1", "flaky-2-e2"]
            assert "retryAt" not in status


async def test_an_array_is_summed_up_from_reports_that_come_twice_and_its_next_attempt_has_what_is_left(
    hub: HubClient, bus: Bus
) -> None:
    """Of five tasks two have succeeded; the second order names the other three."""
    spec = job_spec(array={"count": 5}, retries=1, retryPolicy={"backoff": "10ms"})
    job = manifest("Job", "sweep", spec, LAB)
    async with ready_cluster(hub, bus, "onprem", holds_runs=True) as member:
        await hub.apply(job)
        await hub.phase(path_of(job), "Running")
        order = member.applied[f"run/{LAB}/sweep-1"]
        manifests = {each["kind"]: each["spec"] for each in order.manifests if "spec" in each}
        assert (manifests["Job"]["completions"], order.tasks) == (5, "")
        for _ in range(2):
            await member.tell(order, "Failed", succeeded_tasks="0,3", failed_tasks="1-2,4")
        await eventually(lambda: has_started(member, "sweep-2-e2"))
        assert member.applied[f"run/{LAB}/sweep-2"].tasks == "1-2,4"
        status = await hub.status(path_of(job))
        assert (status["array"]["progress"], status["array"]["succeededTasks"]) == ("2/5", "0,3")
        await member.tell(member.applied[f"run/{LAB}/sweep-2"], "Succeeded")
        assert (await hub.phase(path_of(job), "Succeeded"))["array"]["progress"] == "5/5"


async def test_the_worst_order_of_a_hundred_thousand_tasks_goes_through_nats_hub_and_api(
    hub: HubClient, bus: Bus
) -> None:
    """Every second task has failed: each list is 300 kB, which no message holds whole, and the next order names it."""
    odd, even = Tasks.of(range(1, 100_000, 2)), Tasks.of(range(0, 100_000, 2))
    spec = job_spec(array={"count": 100_000}, retries=1, retryPolicy={"backoff": "10ms"})
    job = manifest("Job", "sweep", spec, LAB)
    async with ready_cluster(hub, bus, "onprem", holds_runs=True) as member:
        await hub.apply(job)
        await hub.phase(path_of(job), "Running")
        first = member.applied[f"run/{LAB}/sweep-1"]
        await member.tell(first, "Failed", succeeded_tasks=str(odd), failed_tasks=str(even))
        await eventually(lambda: has_started(member, "sweep-2-e2"))
        assert Tasks.parse(member.applied[f"run/{LAB}/sweep-2"].tasks) == even
        array = (await hub.status(path_of(job)))["array"]
        assert (array["progress"], Tasks.parse(array["succeededTasks"])) == ("50000/100000", odd)
        await member.tell(member.applied[f"run/{LAB}/sweep-2"], "Succeeded", succeeded_tasks=str(even))
        ended = await hub.phase(path_of(job), "Succeeded")
        assert (ended["array"]["succeededTasks"], ended["array"]["failedTasks"]) == ("0-99999", "")


def rule(**said: Any) -> dict[str, Any]:
    return {"retryPolicy": {"rules": [{"action": "Fail", **said}]}}


WRONG = {
    "no task": ({"array": {"count": 0}}, "spec.array.count"),
    "fewer than none": ({"array": {"count": -1}}, "spec.array.count"),
    "more tasks than Kubernetes takes": ({"array": {"count": 100_001}}, "spec.array.count"),
    "a number beyond all machines": ({"array": {"count": 10**30}}, "spec.array.count"),
    "none at once": ({"array": {"count": 9, "maxParallel": 0}}, "spec.array.maxParallel"),
    "tasks that follow none": ({"dependsOn": [{"job": "a", "perTask": True}]}, "array"),
    "an exit code that is none": (rule(exitCodes=[0]), "exitCodes[0]"),
    "a range that falls": (rule(exitCodeRanges=["9-1"]), "a range rises"),
    "a rule without a case": (rule(), "names exitCodes"),
    "a reason that nobody reports": (rule(reasons=["Bored"]), "reasons[0]"),
    "a backoff that is no duration": ({"retryPolicy": {"backoff": "-1s"}}, "spec.retryPolicy.backoff"),
    "a grace that is no duration": ({"gracePeriod": "soon"}, "spec.gracePeriod"),
    "requeues that go back": ({"requeues": -1}, "spec.requeues"),
    "a success that no task can have": (
        {"array": {"count": 2}, "retryPolicy": {"rules": [{"exitCodes": [3], "action": "Succeed"}]}}, "Succeed is for",
    ),
}  # fmt: skip


async def test_wrong_input_is_refused_by_its_field_and_changes_nothing(hub: HubClient) -> None:
    for name, (spec, field) in WRONG.items():
        answer = await hub.http.post(
            f"{API}/namespaces/{LAB}/jobs", json=manifest("Job", "wrong", job_spec(**spec), LAB)
        )
        assert answer.status_code == 422, name
        assert field in answer.text, f"{name}: {answer.text}"
    assert (await hub.http.get(f"{API}/namespaces/{LAB}/jobs")).json()["items"] == []


def test_a_report_of_an_older_agent_that_knows_no_tasks_is_read() -> None:
    old = b'{"namespace": "n", "run": "r", "epoch": 1, "phase": "Running", "at": "2026-11-23T04:00:00Z"}'
    assert RunReport.decode(old).succeeded_tasks == ""
