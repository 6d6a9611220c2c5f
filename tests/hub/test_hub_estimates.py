"""What a hub learns of ended runs and finished copies: kept, bounded, and used for the next decision."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import InventoryReport
from atoll.federation.estimates import History, Sample
from atoll.hub.estimates.table import LEARNED_PREFIX, LEARNED_STREAM, Histories
from hub.support import (
    API,
    LAB,
    HubClient,
    eventually,
    inventory,
    job_spec,
    manifest,
    now,
    path_of,
    ready_cluster,
)

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
MIB = 2**20


def sample(run: str, seconds: float = 60.0, *, days_ago: float = 0.0) -> Sample:
    return Sample(run=run, user="ann", seconds=seconds, ended_at=NOW - timedelta(days=days_ago))


@contextlib.asynccontextmanager
async def histories(bus: Bus, **options: Any) -> AsyncIterator[Histories]:
    """A hub's copy of the table."""
    opened = await Histories.open(bus, **options)
    task = asyncio.create_task(opened.run())
    try:
        await asyncio.wait_for(opened.synced.wait(), 20)
        yield opened
    finally:
        task.cancel()
        await asyncio.wait({task})


async def known(opened: Histories, kind: str, runs: int) -> History:
    """Wait until a hub has heard of so many runs of a kind."""

    async def check() -> History | None:
        history = opened.known.get(kind)
        return history if history is not None and len(history.samples) == runs else None

    found = await eventually(check)
    assert found is not None
    return found


async def test_what_was_learned_survives_the_hub_and_counts_once(bus: Bus) -> None:
    """Another hub reads the same, and learns none of the runs again."""
    async with histories(bus) as first:
        for number in range(3):
            assert await first.add("lab/work", sample(str(number)))
        await known(first, "lab/work", 3)
    async with histories(bus) as second:
        assert len(second.known["lab/work"].samples) == 3
        assert not await second.add("lab/work", sample("1"))
        assert await second.add("lab/work", sample("3"))
        await known(second, "lab/work", 4)


async def test_two_hubs_that_learn_at_once_lose_no_run(bus: Bus) -> None:
    """Whoever comes second is told to try again."""
    async with histories(bus) as first, histories(bus) as second:

        async def learn(opened: Histories, run: str) -> bool:
            with contextlib.suppress(Exception):
                return not await opened.add("lab/work", sample(run)) or True
            return False

        async def all_known() -> bool:
            await asyncio.gather(
                *(learn(each, f"{name}{n}") for each, name in ((first, "a"), (second, "b")) for n in range(3))
            )
            return len(first.known.get("lab/work", History()).samples) == 6

        assert await eventually(all_known)


async def test_an_entry_that_cannot_be_read_is_as_good_as_none_and_is_written_anew(bus: Bus) -> None:
    """Malformed bytes keep nobody from anything."""
    async with histories(bus) as opened:
        table = bus.table(LEARNED_STREAM, LEARNED_PREFIX)
        for number, garbage in enumerate((b"\xff", b"{}", b'{"history": {"samples": [{"run": "x", "seconds": -1}]}}')):
            await table.put(f"run-times/lab/bad{number}", garbage)
        assert await opened.add("lab/bad0", sample("a"))
        assert [each.run for each in (await known(opened, "lab/bad0", 1)).samples] == ["a"]
        assert "lab/bad2" not in opened.known


async def test_the_kinds_that_have_not_run_for_longest_make_room(bus: Bus) -> None:
    """The table is bounded."""
    async with histories(bus, most_kinds=2) as opened:
        for days_ago in (3, 2, 1):
            kind = f"lab/{days_ago}"
            await opened.add(kind, sample(kind, days_ago=days_ago))
            await known(opened, kind, 1)

        async def is_bounded() -> bool:
            return set(opened.known) == {"lab/1", "lab/2"}

        assert await eventually(is_bounded)


# --- in a running hub


async def test_a_job_without_a_duration_is_expected_to_run_as_long_as_those_before_it(hub: HubClient, bus: Bus) -> None:
    """After three runs of 100 s the next decision says learned, and from how many; a user's own number is kept."""
    async with ready_cluster(hub, bus, "onprem") as member:
        member.holds_runs = True
        for number in range(3):
            job = manifest("Job", f"j{number}", job_spec(), LAB)
            await hub.apply(job)
            await hub.phase(path_of(job), "Running")
            order = member.applied[f"run/{LAB}/j{number}-1"]
            await member.tell(order, "Succeeded", started_at=now() - timedelta(seconds=100), finished_at=now())
            await hub.phase(path_of(job), "Succeeded")

        async def expected(**spec: Any) -> dict[str, Any]:
            wanted = manifest("Job", "next", job_spec(**spec), LAB)
            answer = await hub.http.post(f"{path_of(wanted)}/whatif", json=wanted)
            return dict(answer.json()["decision"]["demand"])

        async def is_learned() -> bool:
            return (await expected())["durationSource"] == "learned"

        assert await eventually(is_learned)
        told = await expected()
        assert (told["durationSeconds"], told["learned"]["runs"]) == (100.0, 3)
        assert (await expected(timeLimit="50s"))["durationSeconds"] == 50.0
        own = await expected(expectedDuration="7m")
        assert (own["durationSource"], own["durationSeconds"]) == ("expectedDuration", 420.0)
        placed = manifest("Job", "placed", job_spec(), LAB)
        await hub.apply(placed)
        status = await hub.phase(path_of(placed), "Running")
        assert status["decision"]["demand"]["durationSource"] == "learned"


async def test_inputs_move_while_a_job_waits_at_the_measured_rate_and_its_run_finds_them(
    hub: HubClient, bus: Bus
) -> None:
    """The home has no GPUs, and those of the other cluster are taken for a while."""
    full = inventory().model_copy(
        update={"shapes": tuple(each.model_copy(update={"free_gpus": 0, "allocatable_gpus": 2,
                                                        "allocatable_millicores": 8000,
                                                        "allocatable_memory_bytes": each.free_memory_bytes})
                                for each in inventory().shapes), "counted_runs": (f"{LAB}/before-1",)}
    )  # fmt: skip
    bare = inventory().model_copy(
        update={
            "shapes": tuple(each.model_copy(update={"free_gpus": 0, "gpu_model": None}) for each in inventory().shapes)
        }
    )
    async with ready_cluster(hub, bus, "home", peers=("gpu",), nodes=bare) as home:
        async with ready_cluster(hub, bus, "gpu", peers=("home",)) as gpu:
            gpu.holds_runs = True
            await home.dataset(LAB, "waves", bytes=20 * 2**30)
            before = manifest("Job", "before", job_spec(gpu={"count": 2}, expectedDuration="2m"), LAB)
            await hub.apply(before)
            await hub.phase(path_of(before), "Running")
            await gpu.report("inventory", InventoryReport(inventory=full, at=now()))
            inputs = [{"dataset": "waves", "mountPath": "/in"}]
            job = manifest("Job", "picks", job_spec(gpu={"count": 1}, inputs=inputs, expectedDuration="10m"), LAB)
            await hub.apply(job)
            transfer = f"{API}/namespaces/{LAB}/transfers/waves.v1.gpu"
            found = await hub.phase(transfer, "Succeeded")
            assert found["phase"] == "Succeeded"
            assert (await hub.status(path_of(job)))["phase"] == "Pending", "it moved while the job waited"
            await gpu.report("inventory", InventoryReport(inventory=inventory(), at=now()))
            status = await hub.phase(path_of(job), "Running")
            assert status["cluster"] == "gpu"
