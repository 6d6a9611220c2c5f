"""Finished jobs and transfers go by the hub's setting; what unfinished ones depend on, and the accounts, stay."""

from atoll.federation.bus.connection import Bus
from atoll.hub.app import utc_now
from atoll.hub.controllers.finished import FinishedSweeper, Keep
from hub.support import API, LAB, HubClient, eventually, job_spec, manifest, path_of, ready_cluster

JOBS = f"{API}/namespaces/{LAB}/jobs"


async def names(hub: HubClient, kind: str) -> list[str]:
    return [each["metadata"]["name"] for each in (await hub.get(f"{API}/namespaces/{LAB}/{kind}"))["items"]]


async def test_the_oldest_of_too_many_finished_jobs_go_with_their_runs(hub: HubClient, bus: Bus) -> None:
    async with ready_cluster(hub, bus, "onprem"):
        for name in ("a", "b", "c"):
            job = manifest("Job", name, job_spec(), LAB)
            await hub.apply(job)
            await hub.phase(path_of(job), "Succeeded")
        await hub.apply(manifest("Job", "waits", job_spec(held=True, dependsOn=[{"job": "a"}]), LAB))
        sweeper = FinishedSweeper(hub.hub.client, Keep(1, 0), clock=utc_now)

        async def one_is_gone() -> bool:
            await sweeper.sweep()
            return await names(hub, "jobs") == ["a", "c", "waits"]

        assert await eventually(one_is_gone), "a is needed, c is the newest, waits has not ended"

        async def runs() -> bool:
            return await names(hub, "runs") == ["a-1", "c-1"]

        assert await eventually(runs)
        assert await sweeper.sweep() == 0


async def test_nothing_goes_where_all_is_to_be_kept(hub: HubClient, bus: Bus) -> None:
    async with ready_cluster(hub, bus, "onprem"):
        job = manifest("Job", "a", job_spec(), LAB)
        await hub.apply(job)
        await hub.phase(path_of(job), "Succeeded")
        assert await FinishedSweeper(hub.hub.client, Keep(0, 0), clock=utc_now).sweep() == 0
        assert await names(hub, "jobs") == ["a"]
