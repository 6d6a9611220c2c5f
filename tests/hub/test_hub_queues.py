"""Queue.status: what waits, runs, is held and was held, and whether guarantees are backed; by counts and in a hub."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.resources import Cluster, Job, Queue, Run
from atoll.hub.controllers.queue_tally import Tallied, is_barred
from atoll.hub.controllers.queues import Census, count
from atoll.hub.scheduler.usage import held_of
from hub.support import API, HubClient, eventually, inventory, job_spec, joined, manifest, path_of, running_hub

NOW = datetime(2026, 11, 23, tzinfo=UTC)
LAB = "seismology"


def queue(name: str, **spec: Any) -> Queue:
    return Queue.model_validate(manifest("Queue", name, spec))


def job(name: str, queue_name: str, phase: str = "Pending", gpus: int = 1) -> Job:
    spec = job_spec(queue=queue_name, gpu={"count": gpus})
    return Job.model_validate({**manifest("Job", name, spec, LAB), "status": {"phase": phase}})


def run(of: str, phase: str = "Running") -> Run:
    made = manifest("Run", f"{of}-1", {"job": of, "cluster": "onprem", "epoch": 1}, LAB)
    return Run.model_validate({**made, "status": {"phase": phase}})


def census(queues: list[Queue], jobs: list[Job], runs: list[Run], *, now: datetime = NOW) -> Census:
    nodes = Cluster.model_validate({"metadata": {"name": "onprem"}, "spec": {}, "status": {"inventory": inventory()}})
    by_key, waiting = {each.key: each for each in jobs}, [each for each in jobs if each.status.phase == "Pending"]
    going_on = [(each, by_key[f"{LAB}/{each.spec.job}"]) for each in runs]
    return Census(
        queues={each.metadata.name: each for each in queues},
        tallied=Tallied(
            pending=Counter(each.spec.queue for each in waiting),
            going_on=going_on,
            held=[found for each in going_on if (found := held_of(*each)) is not None],
        ),
        clusters=[nodes],
        now=now,
        half_life_seconds=3600,
    )


def test_a_queue_counts_what_waits_and_what_is_held_in_it_and_below_it() -> None:
    """Runs that commit hold nothing any more; what is beyond the guarantee is borrowed."""
    queues = [queue("lab", quota={"guaranteed": {"gpus": 1}}), queue("lab.a", parent="lab"), queue("idle", weight=3)]
    jobs = [job("w", "lab.a"), job("r", "lab.a", "Running", 2), job("c", "lab", "Committing")]
    statuses = count(census(queues, jobs, [run("r"), run("c", "Committing")]))
    lab, below, idle = (statuses[name] for name in ("lab", "lab.a", "idle"))
    assert (lab.pending, lab.running, lab.used_gpus, lab.used.gpus, lab.borrowed.gpus) == (1, 1, 2, 2, 1)
    assert (below.running, below.used.gpus, below.fair_share) == (1, 2, 0.25)
    assert (lab.share, idle.share, idle.fair_share) == (1.0, 0.0, 0.75), "all of the two GPUs that there are"


def test_jobs_that_no_room_would_let_start_are_told_apart() -> None:
    """Above their queue, too; they are among those that wait."""
    found = census([queue("lab"), queue("lab.a", parent="lab")], [job("w", "lab.a"), job("never", "lab.a")], [])
    statuses = count(replace(found, tallied=replace(found.tallied, barred={"lab.a": 1})))
    assert [(statuses[name].pending, statuses[name].barred) for name in ("lab", "lab.a")] == [(2, 1), (2, 1)]


BARRED: dict[str, tuple[Any, bool]] = {
    "it waits for room": ({"status": {"phase": "Pending", "reason": "Queued"}}, False),
    "it has no status yet": ({}, False),
    "its queue is full": ({"status": {"decision": {"queue": {"asked": 1, "limit": 4}}}}, False),
    "it asks for more than its queue may hold": ({"status": {"decision": {"queue": {"asked": 64, "limit": 4}}}}, True),
    "no cluster has what it asks for": ({"status": {"reason": "NoFeasibleCluster"}}, True),
    "it waits for others": ({"status": {"reason": "WaitingForJobs"}}, True),
    "it is held": ({"spec": {"held": True}}, True),
}


@pytest.mark.parametrize("name", BARRED)
def test_whether_a_job_that_waits_is_barred_where(name: str) -> None:
    obj, expected = BARRED[name]
    assert is_barred({"spec": {}, **obj}) is expected


def test_what_was_held_is_summed_up_when_something_else_is_held() -> None:
    """Two GPUs for an hour, with a half-life of an hour: one on average, which halves from then on."""
    queues, jobs = [queue("lab")], [job("r", "lab", "Running", 2)]
    status = count(census(queues, jobs, [run("r")]))["lab"]
    assert status.past is not None and status.past.gpus == 0
    held = [queues[0].model_copy(update={"status": status})]
    hour = NOW + timedelta(hours=1)
    assert count(census(held, jobs, [run("r")], now=hour))["lab"].past == status.past, "nothing changed: not written"
    ended = count(census(held, [], [], now=hour))["lab"]
    assert ended.past is not None and ended.past.gpus == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("queues", "reason"),
    [
        ([queue("lab", parent="gone")], "ParentNotFound"),
        ([queue("lab", parent="lab")], "BelowItself"),
        (
            [
                queue("lab", quota={"guaranteed": {"cpu": "1"}}),
                queue("a", parent="lab", quota={"guaranteed": {"cpu": "2"}}),
            ],
            "Overcommitted",
        ),
        ([queue("lab")], "Backed"),
    ],
)
def test_a_queue_tells_by_a_condition_whether_it_is_sound(queues: list[Queue], reason: str) -> None:
    (condition,) = count(census(queues, [], []))["lab"].conditions
    assert (condition.type, condition.reason) == ("Sound", reason)
    assert (condition.status == "True") == (reason == "Backed")


@pytest.fixture
async def hub(nats_server: Any, tmp_path: Path) -> AsyncIterator[HubClient]:
    async with running_hub(nats_server.url, tmp_path) as client:
        await client.apply(
            manifest("Namespace", LAB),
            manifest("Queue", "lab", {"quota": {"guaranteed": {"gpus": 1}, "limit": {"gpuModels": {"A100": 1}}}}),
            manifest("Queue", "lab.a", {"parent": "lab"}),
        )
        yield client


async def test_a_second_job_waits_for_the_limit_of_the_queue_above_and_starts_when_the_first_has_ended(
    hub: HubClient, bus: Bus
) -> None:
    """What it waits for, and who holds it, stands in its decision; the queues show what is held and what was."""
    first, second = (manifest("Job", name, job_spec(queue="lab.a", gpu={"count": 1}), LAB) for name in ("one", "two"))
    async with joined(bus, "onprem") as member:
        member.holds_runs = True
        await hub.apply(manifest("Cluster", "onprem"), first)
        await hub.phase(path_of(first), "Running")
        await hub.apply(second)

        async def blocked() -> dict[str, Any] | None:
            status = await hub.status(path_of(second))
            return status if status.get("reason") == "QueueLimit" else None

        told = (await eventually(blocked))["decision"]["queue"]
        assert (told["queue"], told["resource"], told["held"], told["limit"]) == ("lab", "gpuModels.A100", 1, 1)
        assert told["holders"] == [{"job": f"{LAB}/one", "queue": "lab.a", "amount": 1, "holds": "1 A100"}]

        async def counted() -> dict[str, Any] | None:
            status = await hub.status(f"{API}/queues/lab")
            return status if (status.get("running"), status.get("pending")) == (1, 1) else None

        status = await eventually(counted)
        assert (status["used"]["gpus"], status["used"]["gpuModels"]) == (1, {"A100": 1})
        assert (status["borrowed"]["gpus"], status["share"]) == (0, 0.5)
        member.holds_runs = False
        (order,) = member.applied.values()
        await member.tell(order, "Succeeded")
        await hub.phase(path_of(second), "Succeeded")

        async def emptied() -> dict[str, Any] | None:
            status = await hub.status(f"{API}/queues/lab")
            return status if (status.get("running"), status.get("pending")) == (0, 0) else None

        assert (await eventually(emptied))["past"]["gpus"] > 0
