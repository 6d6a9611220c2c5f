"""A hub with a real NATS server and members in memory: the main flows, end to end."""

from pathlib import Path
from typing import Any

from atoll.federation.bus.connection import Bus
from atoll.federation.workloads import LEVEL_LABEL
from hub.support import API, LAB, HubClient, eventually, job_spec, joined, manifest, path_of, ready_cluster, running_hub


async def test_a_job_is_placed_runs_and_succeeds_with_events_that_tell_its_story(hub: HubClient, bus: Bus) -> None:
    async with ready_cluster(hub, bus, "onprem") as member:
        job = manifest("Job", "hello", job_spec(), LAB)
        await hub.apply(job)
        status = await hub.phase(path_of(job), "Succeeded")
        assert (status["cluster"], status["run"], status["attempts"]) == ("onprem", "hello-1", 1)
        assert member.starts == ["hello-1-e1"]
        conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
        assert conditions["Complete"] == "True"

        async def reasons() -> bool:
            events = await hub.get(f"/api/v1/namespaces/{LAB}/events")
            return "Completed" in {event["reason"] for event in events["items"]}

        assert await eventually(reasons)


async def test_a_completed_dataset_releases_exactly_one_job_whose_output_becomes_a_dataset(
    hub: HubClient, bus: Bus
) -> None:
    async with ready_cluster(hub, bus, "onprem") as member:
        template = job_spec(
            inputs=[{"dataset": "{dataset}", "mountPath": "/data"}],
            outputs=[{"dataset": "picks.{dataset}", "mountPath": "/out"}],
            gpu={"count": 1, "models": ["A100"]},
        )
        trigger = manifest(
            "Trigger", "pick", {"on": {"name": "anmo.*"}, "job": {"name": "picks-{dataset}", "spec": template}}, LAB
        )
        await hub.apply(trigger)
        await member.dataset(LAB, "anmo.1", complete=False, manifest_sha256="")
        await member.dataset(LAB, "anmo.1")
        await member.dataset(LAB, "other.1")
        status = await hub.phase(f"{API}/namespaces/{LAB}/jobs/picks-anmo.1-v1", "Succeeded")
        assert status["decision"]["selected"] == "onprem", "the decision is stored with the job"
        jobs = await hub.get(f"{API}/namespaces/{LAB}/jobs")
        assert [job["metadata"]["name"] for job in jobs["items"]] == ["picks-anmo.1-v1"]
        picks = await hub.status(f"{API}/namespaces/{LAB}/datasets/picks.anmo.1")
        assert (picks["version"], picks["complete"], picks["producedBy"]) == (1, True, "picks-anmo.1-v1-1")
        assert (await hub.status(path_of(trigger)))["fired"] == 1

        async def has_service() -> bool:
            return f"service/{LAB}" in member.orders

        assert await eventually(has_service), "the namespace has a sink and a mover where its data is"


async def test_deleting_a_triggered_job_does_not_bring_it_back(hub: HubClient, bus: Bus) -> None:
    async with ready_cluster(hub, bus, "onprem") as member:
        await hub.apply(manifest("Trigger", "pick", {"job": {"name": "p-{dataset}", "spec": job_spec()}}, LAB))
        await member.dataset(LAB, "anmo.1")
        path = f"{API}/namespaces/{LAB}/jobs/p-anmo.1-v1"
        await hub.phase(path, "Succeeded")
        await hub.http.delete(path)

        async def is_gone() -> bool:
            return (await hub.http.get(path)).status_code == 404

        assert await eventually(is_gone)
        await member.dataset(LAB, "anmo.1", bytes=11)
        await member.dataset(LAB, "anmo.2")
        await hub.phase(f"{API}/namespaces/{LAB}/jobs/p-anmo.2-v1", "Succeeded")
        assert (await hub.http.get(path)).status_code == 404


async def test_a_deleted_job_takes_its_run_and_the_members_workload_with_it(hub: HubClient, bus: Bus) -> None:
    async with ready_cluster(hub, bus, "onprem") as member:
        member.holds_runs = True
        job = manifest("Job", "long", job_spec(), LAB)
        await hub.apply(job)
        await hub.phase(path_of(job), "Running")
        assert list(member.applied) == [f"run/{LAB}/long-1"]
        await hub.http.delete(path_of(job))

        async def is_clean() -> bool:
            runs = await hub.get(f"{API}/namespaces/{LAB}/runs")
            return not runs["items"] and not member.applied

        assert await eventually(is_clean)


async def test_a_run_brings_the_level_of_its_namespace_to_the_member(hub: HubClient, bus: Bus) -> None:
    """Which an operator may change at any time: it holds for what begins from then on."""
    async with ready_cluster(hub, bus, "onprem") as member:
        member.holds_runs = True
        for name, level in (("before", "baseline"), ("after", "privileged")):
            label = {"metadata": {"labels": {LEVEL_LABEL: level}}}
            merge = {"Content-Type": "application/merge-patch+json"}
            await hub.http.patch(f"/api/v1/namespaces/{LAB}", json=label, headers=merge)
            job = manifest("Job", name, job_spec(), LAB)
            await hub.apply(job)
            await hub.phase(path_of(job), "Running")
            assert member.applied[f"run/{LAB}/{name}-1"].manifests[0] == {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": LAB, "labels": {LEVEL_LABEL: level}},
            }


async def test_a_cancelled_job_stops_its_run_and_is_not_placed_again(hub: HubClient, bus: Bus) -> None:
    async with ready_cluster(hub, bus, "onprem") as member:
        member.holds_runs = True
        job = manifest("Job", "long", job_spec(retries=3), LAB)
        await hub.apply(job)
        await hub.phase(path_of(job), "Running")
        merge = {"Content-Type": "application/merge-patch+json"}
        await hub.http.patch(path_of(job), json={"spec": {"cancelled": True}}, headers=merge)
        await hub.phase(path_of(job), "Cancelled")
        assert member.starts == ["long-1-e1"]


async def test_a_failed_run_is_tried_again_with_a_new_epoch_until_the_retries_are_used(
    hub: HubClient, bus: Bus
) -> None:
    async with ready_cluster(hub, bus, "onprem") as member:
        member.holds_runs = True
        job = manifest("Job", "flaky", job_spec(retries=1), LAB)
        await hub.apply(job)
        for epoch in (1, 2):
            key = f"run/{LAB}/flaky-{epoch}"

            async def is_ordered(key: str = key) -> bool:
                return key in member.applied

            assert await eventually(is_ordered)
            await member.tell(member.applied[key], "Failed", reason="Error", message="exit code 3", exit_code=3)
        status = await hub.phase(path_of(job), "Failed")
        assert (status["attempts"], status["reason"]) == (2, "Error")
        assert member.starts == ["flaky-1-e1", "flaky-2-e2"]


async def test_a_run_away_from_its_data_waits_for_the_copy_before_it_is_ordered(hub: HubClient, bus: Bus) -> None:
    async with (
        ready_cluster(hub, bus, "lab", peers=("cloud",)) as home,
        ready_cluster(hub, bus, "cloud", peers=("lab",)) as cloud,
    ):
        await home.dataset(LAB, "anmo.1")

        async def is_complete() -> bool:
            answer = await hub.http.get(f"{API}/namespaces/{LAB}/datasets/anmo.1")
            return answer.status_code == 200 and answer.json().get("status", {}).get("complete", False)

        assert await eventually(is_complete)
        labels = {"metadata": {"labels": {"at": "cloud"}}}
        merge = {"Content-Type": "application/merge-patch+json"}
        await hub.http.patch(f"{API}/clusters/cloud", json=labels, headers=merge)
        spec = job_spec(
            inputs=[{"dataset": "anmo.1", "mountPath": "/data"}],
            placement={"clusters": {"matchLabels": {"at": "cloud"}}},
        )
        job = manifest("Job", "away", spec, LAB)
        await hub.apply(job)
        await hub.phase(path_of(job), "Succeeded")
        assert cloud.starts == ["away-1-e1"]
        transfer = await hub.status(f"{API}/namespaces/{LAB}/transfers/anmo.1.v1.cloud")
        assert transfer["phase"] == "Succeeded"
        replicas = (await hub.status(f"{API}/namespaces/{LAB}/datasets/anmo.1"))["replicas"]
        assert [replica["cluster"] for replica in replicas] == ["cloud", "lab"]


async def test_a_cluster_that_falls_silent_is_unreachable_and_is_ready_again_when_it_is_heard(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    async with running_hub(nats_server.url, tmp_path, heartbeat_timeout_seconds=1.5) as hub:
        path = f"{API}/clusters/onprem"
        async with ready_cluster(hub, bus, "onprem"):
            pass
        status = await hub.phase(path, "Unreachable")
        assert status["lostSince"]
        ready = next(condition for condition in status["conditions"] if condition["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "HeartbeatStale")
        async with joined(bus, "onprem"):
            status = await hub.phase(path, "Ready")
            assert "lostSince" not in status


async def test_a_deleted_namespace_takes_everything_in_it_and_then_goes(hub: HubClient, bus: Bus) -> None:
    async with ready_cluster(hub, bus, "onprem") as member:
        member.holds_runs = True
        job = manifest("Job", "long", job_spec(), LAB)
        await hub.apply(job)
        await hub.phase(path_of(job), "Running")
        await hub.http.delete(f"/api/v1/namespaces/{LAB}")

        async def is_gone() -> bool:
            return (await hub.http.get(f"/api/v1/namespaces/{LAB}")).status_code == 404

        assert await eventually(is_gone)
        assert not member.applied
        answer = await hub.http.post(f"{API}/namespaces/{LAB}/jobs", json=job)
        assert (answer.status_code, answer.json()["message"]) == (404, f'namespaces "{LAB}" not found')
