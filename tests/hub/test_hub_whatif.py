"""What if, asked of a running hub over HTTP, and then done for real: both must come to the same."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.hub.access import roles
from atoll.hub.access.grant import Grant
from atoll.hub.http.whatif import read_change, read_drain
from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.http.access import Action
from atoll.kubeapi.http.target import parse_target
from hub.support import (
    API,
    LAB,
    HubClient,
    Member,
    eventually,
    job_spec,
    manifest,
    path_of,
    ready_cluster,
    running_hub,
)

MERGE = {"Content-Type": "application/merge-patch+json"}
GPU = {"count": 1, "models": ["A100"]}


@pytest.fixture
async def hub(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[HubClient]:
    """A hub with a namespace and two queues."""
    async with running_hub(nats_server.url, tmp_path) as client:
        limited = {"quota": {"limit": {"gpus": 1}}}
        await client.apply(manifest("Namespace", LAB), manifest("Queue", "lab"), manifest("Queue", "small", limited))
        yield client


def cluster(hub: HubClient, bus: Bus, name: str, **spec: Any) -> AbstractAsyncContextManager[Member]:
    """A cluster that is Ready and leaves its runs running."""
    return ready_cluster(hub, bus, name, spec=spec, holds_runs=True)


def job(name: str, **changes: Any) -> dict[str, Any]:
    """A job of the lab."""
    return manifest("Job", name, job_spec(expectedDuration="10m", **changes), LAB)


async def ask(hub: HubClient, path: str, body: Mapping[str, Any], *, code: int = 200) -> dict[str, Any]:
    answer = await hub.http.post(f"{path}/whatif", json=body)
    assert answer.status_code == code, answer.text
    return dict(answer.json())


async def settled(hub: HubClient, path: str) -> dict[str, Any]:
    """Wait until the scheduler has said something about a job, and give its status."""

    async def check() -> dict[str, Any] | None:
        status = await hub.status(path)
        is_told = status.get("phase") not in (None, "Pending") or status.get("reason") not in ("", "Queued", None)
        return status if is_told else None

    found = await eventually(check)
    assert found is not None
    return found


async def patch(hub: HubClient, path: str, spec: Mapping[str, Any]) -> None:
    answer = await hub.http.patch(path, json={"spec": spec}, headers=MERGE)
    assert answer.status_code == 200, answer.text


def verdicts(record: Mapping[str, Any]) -> list[tuple[str, Any, list[str]]]:
    """Reduce a record to each cluster's terms and reasons."""
    return [
        (each["cluster"], each.get("terms"), [reason["reason"] for reason in each["reasons"]])
        for each in record["clusters"]
    ]


# narrative: what the job asks for
JOBS: dict[str, dict[str, Any]] = {
    "one that starts": {"gpu": GPU},
    "one that no cluster can take": {"gpu": {"count": 1, "models": ["H200"]}},
    "one that its queue has no room for": {"queue": "small", "gpu": {"count": 2}},
    "one whose input is not there yet": {"inputs": [{"dataset": "waves", "mountPath": "/in"}]},
    "one that is held": {"held": True},
}


async def test_what_a_job_would_come_to_is_what_it_comes_to(hub: HubClient, bus: Bus) -> None:
    async with cluster(hub, bus, "dear", costs={"gpuHour": 4.0}), cluster(hub, bus, "cheap", costs={"gpuHour": 1.0}):
        await hub.apply(manifest("Dataset", "waves", {}, LAB))
        for number, (narrative, changes) in enumerate(JOBS.items()):
            wanted = job(f"j{number}", **changes)
            said = await ask(hub, path_of(wanted), wanted)
            assert (await hub.http.get(path_of(wanted))).status_code == 404, "nothing was written"
            await hub.apply(wanted)
            status = await settled(hub, path_of(wanted))
            assert said["starts"] is (status["phase"] != "Pending"), narrative
            if not said["starts"]:
                assert (said["reason"], said["message"]) == (status["reason"], status["message"]), narrative
            if "clusters" in (status.get("decision") or {}):
                assert verdicts(said["decision"]) == verdicts(status["decision"]), narrative
                assert said["decision"]["selected"] == status["decision"]["selected"], narrative


async def test_what_another_quota_would_start_is_what_it_starts(hub: HubClient, bus: Bus) -> None:
    async with cluster(hub, bus, "onprem"):
        jobs = [job(f"j{number}", queue="small", gpu=GPU) for number in range(3)]
        for each in jobs:
            await hub.apply(each)
            await settled(hub, path_of(each))
        await hub.phase(path_of(jobs[0]), "Running")
        said = await ask(hub, f"{API}/queues/small", {"spec": {"quota": {"limit": {"gpus": 2}}}})
        assert (said["starts"], said["waits"], said["pending"]) == ([f"{LAB}/j1"], [], 2)
        await patch(hub, f"{API}/queues/small", {"quota": {"limit": {"gpus": 2}}})
        await hub.phase(path_of(jobs[1]), "Running")
        after = (await ask(hub, f"{API}/queues/small", {"spec": {"weight": 3}}))["changes"]
        assert after == []
        assert (await hub.status(path_of(jobs[2])))["reason"] == "QueueLimit"


async def test_what_a_drain_would_do_to_each_run_is_what_it_does(hub: HubClient, bus: Bus) -> None:
    async with cluster(hub, bus, "first"), cluster(hub, bus, "second", unschedulable=True):
        jobs = {policy: job(policy.lower(), lossPolicy=policy) for policy in ("Wait", "Failover", "Duplicate")}
        for each in jobs.values():
            await hub.apply(each)
            await hub.phase(path_of(each), "Running")
        await patch(hub, f"{API}/clusters/second", {"unschedulable": False})
        said = await ask(hub, f"{API}/clusters/first", {"drain": {}})
        told = {each["lossPolicy"]: each for each in said["runs"]}
        assert {policy: each["effect"] for policy, each in told.items()} == {
            "Wait": "Stays", "Failover": "Stops", "Duplicate": "Doubles",
        }  # fmt: skip
        assert told["Wait"]["next"] is None
        change = {"unschedulable": True, "draining": True, "evict": "ByPolicy"}
        await patch(hub, f"{API}/clusters/first", change)
        for policy in ("Failover", "Duplicate"):
            assert told[policy]["next"]["starts"]

            async def moved(path: str = path_of(jobs[policy])) -> bool:
                status = await hub.status(path)
                return (status["phase"], status["attempts"]) == ("Running", 2)

            assert await eventually(moved)
            assert (await hub.status(path_of(jobs[policy])))["cluster"] == told[policy]["next"]["cluster"] == "second"
        assert (await hub.status(path_of(jobs["Wait"])))["cluster"] == "first"


async def test_questions_that_make_no_sense_are_refused_by_name(hub: HubClient) -> None:
    assert "spec.queue" in (await ask(hub, path_of(job("j")), job("j", queue="nowhere"), code=422))["message"]
    assert "gone" in (await ask(hub, f"{API}/clusters/gone", {"drain": {}}, code=404))["message"]
    assert "gone" in (await ask(hub, f"{API}/queues/gone", {"spec": {"weight": 2}}, code=404))["message"]
    refused = await ask(hub, f"{API}/queues/small", {"spec": {"weight": 0}}, code=422)
    assert "spec.weight" in str(refused)
    missing = await hub.http.post(f"{API}/queues/small/whatif", content=b"{")
    assert missing.status_code == 400


@pytest.mark.parametrize("body", [{}, {"drain": 7}, {"drain": {"evict": "Some"}}])
def test_a_drain_that_is_not_understood_is_refused(body: Mapping[str, Any]) -> None:
    with pytest.raises(BadRequest, match="drain"):
        read_drain(body)


@pytest.mark.parametrize("body", [{}, {"spec": 7}, {"spec": {}}])
def test_a_change_that_is_not_understood_is_refused(body: Mapping[str, Any]) -> None:
    with pytest.raises(BadRequest, match="spec"):
        read_change(body)


# grant: which of the three questions it may ask in its own namespace and of all
ALLOWED = {
    "Viewer": (Grant("Viewer"), {"clusters", "queues"}),
    "Submitter": (Grant("Submitter"), {"clusters", "queues", "jobs"}),
    "Submitter of one namespace": (Grant("Submitter", namespaces=(LAB,)), {"jobs"}),
    "Viewer of one namespace": (Grant("Viewer", namespaces=(LAB,)), set()),
    "Operator": (Grant("Operator"), {"clusters", "queues", "jobs"}),
}


@pytest.mark.parametrize("narrative", ALLOWED)
def test_who_may_ask_what_becomes_of_all_jobs_sees_all_namespaces(narrative: str) -> None:
    """A role that is limited to a namespace asks for its own jobs only."""
    grant, expected = ALLOWED[narrative]
    paths = {
        "jobs": f"{API}/namespaces/{LAB}/jobs/j/whatif",
        "clusters": f"{API}/clusters/c/whatif",
        "queues": f"{API}/queues/q/whatif",
    }
    may = {
        plural
        for plural, path in paths.items()
        if roles.allowed([grant], Action("create", path, parse_target(path))).allowed
    }
    assert may == expected
