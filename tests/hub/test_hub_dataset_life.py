"""A hub and real movers: copies are made, lost ones replaced, versions and datasets deleted, files registered."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.sink.verify import verify
from atoll.federation.bus.connection import Bus
from hub.support import API, LAB, HubClient, Member, eventually, joined, manifest, running_hub
from mover.mover_site import Site, make_dataset

FILES = {"a.txt": b"hello", "b/c.bin": bytes(range(256)) * 40}
DATASETS = f"{API}/namespaces/{LAB}/datasets"
CLUSTERS = {"alpha": ("eu", "north"), "beta": ("eu", "south"), "gamma": ("us", "west")}
MERGE = {"content-type": "application/merge-patch+json"}


class World:
    """Three clusters with movers on folders of their own, and their hub."""

    def __init__(self, hub: HubClient, sites: dict[str, Site], members: dict[str, Member]) -> None:
        self.hub, self.sites, self.members = hub, sites, members

    def write(self, cluster: str, version: int = 1, files: dict[str, bytes] = FILES, name: str = "shots") -> None:
        make_dataset(self.sites[cluster].root, files, name, version)

    async def dataset(self, name: str = "shots") -> dict[str, Any] | None:
        answer = await self.hub.http.get(f"{DATASETS}/{name}")
        return dict(answer.json()) if answer.status_code == 200 else None

    async def patch(self, spec: dict[str, Any], name: str = "shots", **metadata: Any) -> None:
        body = {"spec": spec, **({"metadata": metadata} if metadata else {})}
        answer = await self.hub.http.patch(f"{DATASETS}/{name}", json=body, headers=MERGE)
        assert answer.status_code == 200, answer.text

    async def where(self, *clusters: str, version: int = 1, name: str = "shots") -> dict[str, Any]:
        """Wait until a version is told to be in exactly these clusters."""

        async def told() -> Any:
            found = await self.dataset(name)
            lines = (found or {}).get("status", {}).get("versions", [])
            here = next((line["clusters"] for line in lines if line["version"] == version), [])
            return found if here == sorted(clusters) else None

        return dict(await eventually(told, seconds=30) or {})

    async def condition(self, kind: str, status: str, reason: str = "", name: str = "shots") -> str:
        async def holds() -> Any:
            found = await self.dataset(name)
            for each in (found or {}).get("status", {}).get("conditions", []):
                if (each["type"], each["status"]) == (kind, status) and reason in ("", each["reason"]):
                    return each
            return None

        return str((await eventually(holds, seconds=30) or {})["message"])

    def has(self, cluster: str, version: int = 1, name: str = "shots") -> bool:
        return (self.sites[cluster].root / name / f"v{version}" / "a.txt").exists()


async def build(stack: AsyncExitStack, hub: HubClient, bus: Bus, place: tuple[str, Path]) -> World:
    """Join three clusters with movers, until the stack ends; `place` is NATS's URL and a folder."""
    sites: dict[str, Site] = {}
    members: dict[str, Member] = {}
    for name, (residency, region) in CLUSTERS.items():
        members[name] = await stack.enter_async_context(joined(bus, name))
        members[name].has_mover = True
        cluster = manifest("Cluster", name, {"residency": [residency]})
        cluster["metadata"]["labels"] = {"region": region, "tier": "gold"}
        await hub.apply(cluster)
        sites[name] = Site(bus, place[0], place[1] / f"site-{name}", name, LAB)
        sites[name].start()
        stack.push_async_callback(sites[name].stop)
    for name in CLUSTERS:
        await hub.phase(f"{API}/clusters/{name}", "Ready")
    return World(hub, sites, members)


@pytest.fixture
async def world(hub: HubClient, bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await build(stack, hub, bus, (nats_server.url, tmp_path))


def declared(spec: dict[str, Any], name: str = "shots") -> dict[str, Any]:
    return manifest("Dataset", name, spec, LAB)


async def test_copies_are_made_as_the_rule_says_and_a_lost_one_is_replaced(world: World) -> None:
    await world.hub.apply(
        declared({"home": "alpha", "replicas": {"count": 2, "clusters": {"matchLabels": {"tier": "gold"}}}})
    )
    world.write("alpha")
    found = await world.where("alpha", "beta")
    assert [each["cluster"] for each in found["status"]["replicas"]] == ["alpha", "beta"]
    await world.condition("Replicated", "True")
    assert verify(world.sites["beta"].root, "shots", 1).problems == ()
    # The volume of the copy is lost with all that is on it; its mover begins on an empty one.
    await world.sites["beta"].stop()
    shutil.rmtree(world.sites["beta"].root)
    world.sites["beta"].root.mkdir()
    world.sites["beta"].start()

    async def is_back() -> bool:
        return world.has("beta") or world.has("gamma")

    assert await eventually(is_back, seconds=30)


async def test_older_versions_stay_known_and_are_copied_too(world: World) -> None:
    await world.hub.apply(declared({"home": "alpha", "replicas": {"count": 2}}))
    world.write("alpha", 1)
    world.write("alpha", 2, {"a.txt": b"two"})
    await world.where("alpha", "beta", version=1)
    found = await world.where("alpha", "beta", version=2)
    assert (found["status"]["version"], found["status"]["complete"]) == (2, True)
    older = await world.hub.http.get(f"{DATASETS}/shots/files/a.txt", params={"version": "1", "cluster": "beta"})
    assert older.content == b"hello"


async def test_data_leaves_where_its_residency_does_not_let_it_be(world: World) -> None:
    await world.hub.apply(declared({"home": "alpha", "replicas": {"clusters": {"matchLabels": {"tier": "gold"}}}}))
    world.write("alpha")
    await world.where("alpha", "beta", "gamma")
    await world.patch({"residency": ["eu"]})
    await world.where("alpha", "beta")

    async def is_gone() -> bool:
        return not world.has("gamma")

    assert await eventually(is_gone)
    await world.condition("Replicated", "True")


async def test_a_copy_too_many_stays_for_its_grace_and_goes_then(world: World) -> None:
    rule = {"count": 3, "grace": "1h"}
    await world.hub.apply(declared({"home": "alpha", "replicas": rule}))
    world.write("alpha")
    await world.where("alpha", "beta", "gamma")
    await world.patch({"replicas": {"count": 1}})

    async def is_marked() -> Any:
        lines = ((await world.dataset()) or {})["status"]["versions"]
        return sorted(lines[0].get("surplus", {})) == ["beta", "gamma"]

    assert await eventually(is_marked)
    assert world.has("beta")
    await world.patch({"replicas": {"grace": "0s"}})
    await world.where("alpha")
    assert not world.has("beta")


async def test_retention_deletes_older_versions_everywhere_but_nothing_that_is_pinned(world: World) -> None:
    rule = {"versions": 1, "grace": "0s"}
    await world.hub.apply(declared({"home": "alpha", "replicas": {"count": 2}, "pinned": True, "retention": rule}))
    for version in (1, 2, 3):
        world.write("alpha", version)
        await world.where("alpha", "beta", version=version)
    assert world.has("beta", 1)
    await world.patch({"pinned": False})

    async def are_gone() -> bool:
        return not any(world.has(cluster, version) for cluster in ("alpha", "beta") for version in (1, 2))

    assert await eventually(are_gone)
    await world.where("alpha", "beta", version=3)

    async def are_untold() -> bool:
        return [line["version"] for line in ((await world.dataset()) or {})["status"]["versions"]] == [3]

    assert await eventually(are_untold)


async def test_what_a_run_reads_outlives_its_retention(world: World) -> None:
    world.members["alpha"].holds_runs = True
    await world.hub.apply(declared({"home": "alpha"}))
    world.write("alpha", 1)
    await world.where("alpha", version=1)
    reader = {"queue": "lab", "inputs": [{"dataset": "shots", "mountPath": "/in"}], "workload": WORKLOAD}
    await world.hub.apply(manifest("Job", "reader", reader, LAB))
    await world.hub.phase(f"{API}/namespaces/{LAB}/jobs/reader", "Running")
    world.write("alpha", 2)
    await world.where("alpha", version=2)
    await world.patch({"retention": {"versions": 1, "grace": "0s"}})

    async def is_marked() -> Any:
        lines = ((await world.dataset()) or {})["status"]["versions"]
        return any(line.get("obsoleteSince") for line in lines)

    assert await eventually(is_marked)
    assert world.has("alpha", 1)
    cancelled = {"spec": {"cancelled": True}}
    await world.hub.http.patch(f"{API}/namespaces/{LAB}/jobs/reader", json=cancelled, headers=MERGE)
    await world.hub.phase(f"{API}/namespaces/{LAB}/jobs/reader", "Cancelled")

    async def is_gone() -> bool:
        return not world.has("alpha", 1)

    assert await eventually(is_gone, seconds=30)


WORKLOAD = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "spec": {"template": {"spec": {"containers": [{"name": "m", "image": "x", "command": ["true"]}]}}},
}


async def test_a_deleted_dataset_goes_with_all_its_files_and_does_not_come_back(world: World) -> None:
    await world.hub.apply(declared({"home": "alpha", "replicas": {"count": 2}}))
    world.write("alpha")
    await world.where("alpha", "beta")
    await world.sites["beta"].stop()  # a mover that is away: the object waits for it
    answer = await world.hub.http.delete(f"{DATASETS}/shots")
    assert answer.status_code == 200
    assert "beta" in await world.condition("Deleting", "True")
    world.sites["beta"].start()

    async def is_gone() -> bool:
        return await world.dataset() is None

    assert await eventually(is_gone, seconds=30)
    assert not world.has("alpha")
    assert not world.has("beta")
    left = await world.hub.get(f"{API}/namespaces/{LAB}/transfers")
    assert left["items"] == []


async def test_files_may_be_kept_and_registered_again(world: World) -> None:
    world.write("alpha")
    await world.where("alpha")
    notes = {"atoll.dev/keep-files": "true"}
    await world.patch({}, annotations=notes)
    await world.hub.http.delete(f"{DATASETS}/shots")

    async def is_gone() -> bool:
        return await world.dataset() is None

    assert await eventually(is_gone)
    await world.hub.apply(declared({"origin": {"cluster": "alpha", "path": "_kept/shots/v1"}}, "again"))
    await world.where("alpha", name="again")
    await world.condition("Registered", "True", name="again")
    assert verify(world.sites["alpha"].root, "again", 1).problems == ()


async def test_a_pinned_dataset_that_is_deleted_says_what_it_waits_for(world: World) -> None:
    world.write("alpha")
    await world.where("alpha")
    await world.patch({"pinned": True})
    await world.hub.http.delete(f"{DATASETS}/shots")
    assert "it is pinned" in await world.condition("Deleting", "True", "Kept")
    assert world.has("alpha")


async def test_a_folder_that_cannot_be_registered_is_told_with_the_reason(world: World) -> None:
    await world.hub.apply(declared({"origin": {"cluster": "alpha", "path": "nowhere"}}))
    assert "no such folder" in await world.condition("Registered", "False", "CannotRegister")


async def test_versions_that_a_newer_one_has_overtaken_fire_their_triggers_too(world: World) -> None:
    template = {"queue": "lab", "workload": WORKLOAD}
    await world.hub.apply(manifest("Trigger", "each", {"job": {"name": "j-{dataset}", "spec": template}}, LAB))
    await world.hub.apply(declared({"home": "alpha"}))
    # The sink tells of the newest version only: of the others the hub hears from the mover.
    for version in (1, 2, 3):
        world.write("alpha", version)
    await world.where("alpha", version=1)

    async def jobs() -> Any:
        found = await world.hub.get(f"{API}/namespaces/{LAB}/jobs")
        return [item["metadata"]["name"] for item in found["items"]] == ["j-shots-v1", "j-shots-v2", "j-shots-v3"]

    assert await eventually(jobs)


async def test_a_job_that_a_dead_hub_had_made_but_not_marked_is_not_made_twice(world: World) -> None:
    """The state that kill -9 between the two writes leaves: the job is there, the mark on the dataset is not."""
    template = {"queue": "lab", "held": True, "workload": WORKLOAD}
    await world.hub.apply(declared({"home": "alpha"}))
    await world.hub.apply(manifest("Job", "j-shots-v1", template, LAB))
    await world.hub.apply(manifest("Trigger", "each", {"job": {"name": "j-{dataset}", "spec": template}}, LAB))
    world.write("alpha")

    async def is_marked() -> Any:
        found = await world.dataset() or {}
        return found["metadata"].get("annotations", {}).get("trigger.atoll.dev/each") == "1"

    assert await eventually(is_marked)
    jobs = await world.hub.get(f"{API}/namespaces/{LAB}/jobs")
    assert [item["metadata"]["name"] for item in jobs["items"]] == ["j-shots-v1"]
    assert (await world.hub.status(f"{API}/namespaces/{LAB}/triggers/each"))["fired"] == 1


async def test_another_hub_goes_on_in_the_middle_of_a_deletion_and_of_a_copy(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """The hub that had begun is gone, with all that it knew; the next one finds what is to be done where it is kept."""
    async with AsyncExitStack() as stack:
        async with running_hub(nats_server.url, tmp_path / "one") as first:
            await first.apply(manifest("Namespace", LAB), manifest("Queue", "lab"))
            world = await build(stack, first, bus, (nats_server.url, tmp_path))
            await first.apply(declared({"home": "alpha", "replicas": {"count": 2}}))
            world.write("alpha")
            world.write("alpha", name="kept")
            await world.where("alpha", "beta")
            await world.sites["beta"].stop()
            await world.patch({"replicas": {"count": 2}}, "kept")
            await first.http.delete(f"{DATASETS}/shots")
            await world.condition("Deleting", "True", "DeletingFiles")
        async with running_hub(nats_server.url, tmp_path / "two") as second:
            world.hub = second
            world.sites["beta"].start()

            async def is_gone() -> bool:
                return await world.dataset() is None

            assert await eventually(is_gone, seconds=40)
            await world.condition("Replicated", "True", name="kept")
            assert not world.has("alpha")
            assert not world.has("beta")
