"""What triggers owe: by versions, by segments and by times, once each, through crashes and gaps."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.resources import Dataset, Trigger
from atoll.hub.controllers.firing_plan import (
    dealt_with,
    fired_segments,
    owed_by_dataset,
    owed_by_schedule,
    with_mark,
)
from hub.support import API, LAB, HubClient, eventually, job_spec, manifest, path_of, ready_cluster

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


def trigger(*, made: datetime = NOW - timedelta(hours=3), status: dict[str, Any] | None = None, **spec: Any) -> Trigger:
    metadata = {"name": "t", "namespace": "lab", "creationTimestamp": made.isoformat()}
    given = {"job": {"name": "j", "spec": job_spec()}, **spec}
    return Trigger.model_validate({"metadata": metadata, "spec": given, "status": status or {}})


def growing(segments: int, version: int = 3) -> Dataset:
    status = {"version": version, "ledger": {"segments": segments}}
    return Dataset.model_validate({"metadata": {"name": "d", "namespace": "lab"}, "status": status})


def scheduled(cron: str = "0 * * * *", **more: Any) -> Trigger:
    return trigger(schedule={"cron": cron, **more.pop("how", {})}, **more)


def test_a_job_is_owed_for_every_n_segments_and_each_once() -> None:
    each = trigger(on={"segments": 10})
    assert owed_by_dataset(each, growing(9)) == ()
    owed = owed_by_dataset(each, growing(25))
    assert [firing.name for firing in owed] == ["j-v3-s10", "j-v3-s20"]
    marked = growing(25)
    for firing in owed:
        marked = with_mark(marked, "t", firing)
    assert fired_segments(marked, "t", 3) == 20
    assert owed_by_dataset(each, marked) == ()
    assert fired_segments(marked, "t", 4) == 0, "the next version counts from the beginning"


def test_names_hold_the_time_in_utc_and_the_template_may_have_the_zones() -> None:
    how = {"timeZone": "Europe/Berlin"}
    (owed,) = owed_by_schedule(scheduled("30 12 * * *", how=how, made=NOW - timedelta(hours=2)), NOW)
    assert owed.name == "j-20261123t1130"
    assert owed.values["localTime"] == "2026-11-23T12:30"


TIMES: dict[str, tuple[Trigger, list[int]]] = {
    "the newest of those that were missed": (scheduled(), [12]),
    "each of them": (scheduled(how={"missed": "All"}), [10, 11, 12]),
    "none but what is due just now": (scheduled(how={"missed": "Skip"}), [12]),
    "none that was missed": (scheduled("0 11 * * *", how={"missed": "Skip"}), []),
    "none before it was made": (scheduled(made=NOW - timedelta(minutes=20)), [12]),
    "none while it is suspended": (scheduled(suspend=True), []),
    "none that was dealt with": (scheduled(status={"lastScheduledAt": "2026-11-23T12:00:00Z"}), []),
}


@pytest.mark.parametrize("name", TIMES)
def test_a_schedule_owes(name: str) -> None:
    given, hours = TIMES[name]
    assert [firing.at.hour for firing in owed_by_schedule(given, NOW) if firing.at is not None] == hours


def test_times_that_passed_while_it_was_suspended_are_dealt_with() -> None:
    assert dealt_with(scheduled(suspend=True), NOW) == NOW.replace(second=0)
    assert dealt_with(scheduled("0 3 * * *"), NOW) is None


async def test_a_schedule_makes_one_job_per_time_and_says_when_the_next_is_due(hub: HubClient) -> None:
    given = manifest(
        "Trigger", "tick", {"schedule": {"cron": "* * * * *"}, "job": {"name": "tick", "spec": job_spec()}}, LAB
    )
    await hub.apply(given)
    # As if it had been made long ago and dealt with until yesterday; a hub that takes over finds it so.
    path, before = path_of(given), (datetime.now(UTC) - timedelta(days=1)).isoformat()
    patch = {"content-type": "application/merge-patch+json"}
    answer = await hub.http.patch(f"{path}/status", json={"status": {"lastScheduledAt": before}}, headers=patch)
    assert answer.status_code == 200, answer.text

    async def fired() -> Any:
        status = await hub.status(path)
        return status if status.get("fired", 0) >= 1 else None

    status: Any = await eventually(fired)
    assert datetime.fromisoformat(status["nextScheduledAt"]) > datetime.fromisoformat(status["lastScheduledAt"])
    jobs = await hub.get(f"{API}/namespaces/{LAB}/jobs")
    assert 1 <= len(jobs["items"]) <= 2, "the newest of a day of minutes, and perhaps one that came meanwhile"
    assert status["history"][-1]["job"] == status["history"][-1]["job"].lower()


async def test_a_job_that_may_not_run_beside_the_one_before_waits_for_it(hub: HubClient, bus: Bus) -> None:
    async with ready_cluster(hub, bus, "onprem") as member:
        spec = {"concurrency": "Forbid", "job": {"name": "p-{dataset}", "spec": job_spec(held=True)}}
        await hub.apply(manifest("Trigger", "one", spec, LAB))
        await member.dataset(LAB, "a.1")
        await hub.phase(f"{API}/namespaces/{LAB}/jobs/p-a.1-v1", "Pending")
        await member.dataset(LAB, "a.2")

        async def names() -> list[str]:
            found = await hub.get(f"{API}/namespaces/{LAB}/jobs")
            return [item["metadata"]["name"] for item in found["items"]]

        async def is_there() -> Any:
            return (await hub.http.get(f"{API}/namespaces/{LAB}/datasets/a.2")).status_code == 200

        await eventually(is_there)
        assert await names() == ["p-a.1-v1"]
        patch = {"content-type": "application/merge-patch+json"}
        cancelled = {"spec": {"cancelled": True}}
        await hub.http.patch(f"{API}/namespaces/{LAB}/jobs/p-a.1-v1", json=cancelled, headers=patch)

        async def both() -> Any:
            return await names() == ["p-a.1-v1", "p-a.2-v1"]

        assert await eventually(both)
