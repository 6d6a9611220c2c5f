"""Jobs that wait for jobs, and held ones, against a hub: what is refused, what starts when, and what is said."""

from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from hub.support import API, LAB, HubClient, eventually, job_spec, joined, manifest, path_of

MERGE = {"Content-Type": "application/merge-patch+json"}


def after(name: str, *others: str, condition: str = "Succeeded", **more: Any) -> dict[str, Any]:
    waits = [{"job": other, "condition": condition} for other in others]
    return manifest("Job", name, job_spec(dependsOn=waits, **more), LAB)


async def waits(hub: HubClient, job: dict[str, Any], reason: str, words: str = "") -> str:
    """Wait until a job says why it is pending, with some words among others, and give them all."""

    async def check() -> str | None:
        status = await hub.status(path_of(job))
        is_told = (status.get("phase"), status.get("reason")) == ("Pending", reason) and words in status["message"]
        return status["message"] if is_told else None

    return str(await eventually(check))


async def test_a_chain_runs_in_its_order_and_a_held_job_when_it_is_released(hub: HubClient, bus: Bus) -> None:
    """The last is there before the first; nothing but the end of another job, or a person, lets one start."""
    last, middle = after("last", "middle"), after("middle", "first")
    cleanup = after("cleanup", "last", condition="Finished", held=True)
    async with joined(bus, "onprem") as member:
        member.holds_runs = True
        await hub.apply(manifest("Cluster", "onprem"))
        await hub.phase(f"{API}/clusters/onprem", "Ready")
        await hub.apply(last, middle, cleanup)
        told = await waits(hub, last, "WaitingForJobs", "Pending")  # first it was told that the other did not exist yet
        assert told == f"waits for job {LAB}/middle to succeed (it is Pending)"
        assert "does not exist yet" in await waits(hub, middle, "WaitingForJobs")
        first = manifest("Job", "first", job_spec(), LAB)
        await hub.apply(first)
        await hub.phase(path_of(first), "Running")
        assert member.starts == ["first-1-e1"]
        member.holds_runs = False
        await member.tell(member.applied[f"run/{LAB}/first-1"], "Succeeded")
        await hub.phase(path_of(last), "Succeeded")
        assert "atoll job release cleanup" in await waits(hub, cleanup, "Held")
        await hub.http.patch(path_of(cleanup), json={"spec": {"held": False}}, headers=MERGE)
        await hub.phase(path_of(cleanup), "Succeeded")
        assert member.starts == ["first-1-e1", "middle-1-e1", "last-1-e1", "cleanup-1-e1"]


async def test_a_job_that_can_never_start_says_so_and_can_be_freed(hub: HubClient, bus: Bus) -> None:
    first, second = manifest("Job", "first", job_spec(held=True), LAB), after("second", "first")
    await hub.apply(first, second)
    await waits(hub, second, "WaitingForJobs")
    await hub.http.patch(path_of(first), json={"spec": {"cancelled": True}}, headers=MERGE)
    await hub.phase(path_of(first), "Cancelled")
    assert f"job {LAB}/first is Cancelled and should succeed" in await waits(hub, second, "DependencyNeverSatisfied")
    await hub.http.patch(path_of(second), json={"spec": {"dependsOn": []}}, headers=MERGE)
    await waits(hub, second, "NoFeasibleCluster")


async def test_a_circle_is_refused_by_the_field_that_closes_it(hub: HubClient) -> None:
    """The last of a circle, a job that names itself, and a change that would close one; nothing is stored."""
    free = manifest("Job", "free", job_spec(held=True), LAB)
    await hub.apply(after("b", "c"), after("a", "free", "b"), free)
    for job in (after("c", "free", "a"), after("self", "free", "self")):
        answer = await hub.http.post(f"{API}/namespaces/{LAB}/jobs", json=job)
        assert answer.status_code == 422, answer.text
        (cause,) = answer.json()["details"]["causes"]
        assert cause["field"] == "spec.dependsOn[1].job"
        assert "for ever" in cause["message"]
        assert (await hub.http.get(path_of(job))).status_code == 404
    change = {"spec": {"dependsOn": [{"job": "a"}]}}
    answer = await hub.http.patch(path_of(free), json=change, headers=MERGE)
    assert answer.status_code == 422, answer.text
    assert "dependsOn" not in (await hub.get(path_of(free)))["spec"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([{"job": "first", "condition": "Completed"}], "spec.dependsOn[0].condition"),
        ([{"job": "First!"}], "spec.dependsOn[0].job"),
        ([{"condition": "Failed"}], "spec.dependsOn[0].job"),
        ("first", "spec.dependsOn"),
    ],
    ids=["an unknown condition", "no name of a job", "no job", "no list"],
)
async def test_a_dependency_of_another_form_is_refused_by_its_field(hub: HubClient, given: Any, field: str) -> None:
    job = manifest("Job", "j", job_spec(dependsOn=given), LAB)
    answer = await hub.http.post(f"{API}/namespaces/{LAB}/jobs", json=job)
    assert answer.status_code == 422, answer.text
    assert [cause["field"] for cause in answer.json()["details"]["causes"]] == [field]
