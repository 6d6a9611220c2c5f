"""The small parts: worker, reporter, back-off, services; each in the one situation it exists for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.edge.member.backoff import Allowance
from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.reporter import Reporter
from atoll.edge.member.services import why_not_ready
from atoll.edge.member.work import DONE, RequeueAfter, Result, Worker
from atoll.federation.backoff import Backoff
from atoll.federation.bus.messages import Heartbeat, ServiceOrder, ServiceReport
from atoll.federation.errors import InvalidInput, Unavailable
from member.harness import HubSide
from member.world import Cluster, Json, eventually

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@contextlib.asynccontextmanager
async def running(coroutine: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_is_never_worked_on_twice_at_once_and_equal_keys_merge() -> None:
    """Ten arrivals during one reconcile make exactly one more."""
    started, go = 0, asyncio.Event()

    async def reconcile(_key: str) -> Result:
        nonlocal started
        started += 1
        await go.wait()
        return DONE

    worker = Worker("test", reconcile)
    async with running(worker.run()):
        worker.add("a")
        await eventually(lambda: _is(started == 1))
        for _ in range(10):
            worker.add("a")
        await asyncio.sleep(0.1)
        assert started == 1
        go.set()
        await eventually(lambda: _is(started == 2))
        await asyncio.sleep(0.1)
        assert started == 2


OUTCOMES: dict[str, tuple[Exception, bool]] = {
    "unavailable": (Unavailable("away"), True),
    "a bug": (ZeroDivisionError("oops"), True),
    "bad input": (InvalidInput("no"), False),
}


@pytest.mark.parametrize("what", OUTCOMES)
async def test_what_may_pass_is_tried_again_and_what_cannot_is_not(what: str) -> None:
    """Bad input stops at the first attempt; anything else comes again; another key is served meanwhile."""
    error, comes_again = OUTCOMES[what]
    attempts: list[str] = []

    async def reconcile(key: str) -> Result:
        attempts.append(key)
        if key == "bad":
            raise error
        return DONE

    worker = Worker("test", reconcile, parallel=1)
    async with running(worker.run()):
        worker.add("bad")
        worker.add("good")
        await eventually(lambda: _is("good" in attempts))
        if comes_again:
            await eventually(lambda: _is(attempts.count("bad") > 1))
        else:
            await asyncio.sleep(0.6)
            assert attempts.count("bad") == 1


async def test_a_key_comes_back_after_the_time_that_was_asked_for() -> None:
    """RequeueAfter is a timer."""
    times: list[float] = []

    async def reconcile(_key: str) -> Result:
        times.append(asyncio.get_running_loop().time())
        return RequeueAfter(0.2)

    worker = Worker("test", reconcile)
    async with running(worker.run()):
        worker.add("a")
        await eventually(lambda: _is(len(times) == 2))
        assert times[1] - times[0] >= 0.2


class Table:
    """A table in memory that can be away."""

    def __init__(self, refused: str = "") -> None:
        self.values: dict[str, bytes] = {}
        self.refused = refused
        self.is_away = False
        self.writes = self.tries = 0

    async def put(self, key: str, value: bytes) -> int:
        self.tries += 1
        if key == self.refused:
            raise InvalidInput(f"{key} is too large")
        if self.is_away:
            raise Unavailable("away")
        self.values[key] = value
        self.writes += 1
        return self.writes

    async def delete(self, key: str) -> int:
        if self.is_away:
            raise Unavailable("away")
        self.values.pop(key, None)
        return 0


def beat(message: str, at: datetime = NOW) -> Heartbeat:
    return Heartbeat(started_at=NOW, message=message, at=at)


async def test_only_news_is_written_and_the_newest_wins() -> None:
    """The same words at a later time are no news; while the bus is away only the newest report waits."""
    table, reporter = Table(), Reporter()
    async with running(reporter.run(table)):
        reporter.report("k", beat("one"))
        await eventually(lambda: _is(table.writes == 1))
        reporter.report("k", beat("one", NOW + timedelta(seconds=9)))
        await asyncio.sleep(0.05)
        assert table.writes == 1
        table.is_away = True
        for number in range(5):
            reporter.report("k", beat(f"n{number}"))
            await asyncio.sleep(0.01)
        table.is_away = False
        await eventually(lambda: _is(table.writes == 2))
        assert Heartbeat.decode(table.values["k"]).message == "n4"


async def test_after_a_reconnect_everything_is_written_again_and_what_is_forgotten_is_deleted() -> None:
    """A store that was made anew hears all that holds, and nothing that does not."""
    table, reporter = Table(), Reporter(chance=lambda: 0.0)
    async with running(reporter.run(table)):
        reporter.report("a", beat("a"))
        reporter.report("b", beat("b"))
        await eventually(lambda: _is(len(table.values) == 2))
        reporter.forget("b")
        await eventually(lambda: _is(table.values.keys() == {"a"}))
        table.values.clear()
        reporter.repeat_all()
        await eventually(lambda: _is(table.values.keys() == {"a"}))


async def test_what_waits_goes_as_soon_as_the_connection_is_back_and_the_rest_follows_within_seconds() -> None:
    """The chance says when: the longest wait of all, so that the test sees the two apart."""
    table, reporter = Table(), Reporter(chance=lambda: 1.0)
    async with running(reporter.run(table)):
        reporter.report("old", beat("old"))
        await eventually(lambda: _is(table.writes == 1))
        table.is_away, tried = True, table.tries
        for number in range(4):  # so often that the next try of its own would be seconds away
            reporter.report("news", beat(f"n{number}"))
            await eventually(lambda tried=tried + number: _is(table.tries > tried))
        table.is_away = False
        table.values.clear()
        reporter.repeat_all()
        await eventually(lambda: _is("news" in table.values), within_seconds=3)
        assert "old" not in table.values


async def test_a_report_that_can_never_be_delivered_holds_up_no_other() -> None:
    """Too large for one value: it is dropped, not tried for ever."""
    table, reporter = Table(refused="large"), Reporter()
    async with running(reporter.run(table)):
        reporter.report("large", beat("x"))
        reporter.report("small", beat("y"))
        await eventually(lambda: _is("small" in table.values))
        assert table.tries == 2
        await asyncio.sleep(0.3)
        assert table.tries == 2, "tried again"


async def _is(claim: bool) -> bool:
    return claim


def test_delays_double_up_to_the_longest_and_start_again_after_a_success() -> None:
    """1, 2, 4, then 5 for ever; after reset 1 again."""
    backoff = Backoff(1, 5)
    assert [backoff.next_seconds() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next_seconds() == 1


def test_delays_are_spread_over_their_second_half() -> None:
    """By chance, so that those who failed together do not come back together; never earlier than half the delay."""
    delays = {chance: Backoff(2, 5, chance=lambda chance=chance: chance).next_seconds() for chance in (0.0, 0.5, 1.0)}
    assert delays == {0.0: 2.0, 0.5: 1.5, 1.0: 1.0}


def test_an_allowance_is_per_key_and_comes_back_with_time() -> None:
    """Two in ten seconds: the third waits, another key does not, and time gives it back."""
    allowance = Allowance(2, 10)
    assert [allowance.take("a", NOW) for _ in range(3)] == [True, True, False]
    assert allowance.take("b", NOW)
    assert allowance.take("a", NOW + timedelta(seconds=10))


# --- data services

DEPLOYMENT = ObjectRef(Kind("apps/v1", "Deployment"), "ns", "atoll-data")
CLAIM = ObjectRef(Kind("v1", "PersistentVolumeClaim"), "ns", "atoll-datasets")


def deployment(*, generation: int = 1, observed: int = 1, available: int = 1, **spec: Any) -> Json:
    status: Json = {"observedGeneration": observed, "availableReplicas": available}
    if not available:
        status["conditions"] = [{"type": "Available", "status": "False", "message": "minimum availability"}]
    return {"metadata": {"name": "atoll-data", "generation": generation}, "spec": spec, "status": status}


READY: dict[str, tuple[ObjectRef, Json, str]] = {
    "available": (DEPLOYMENT, deployment(), ""),
    "none available": (DEPLOYMENT, deployment(available=0), "0 of 1 replicas available: minimum availability"),
    "too few": (DEPLOYMENT, deployment(replicas=2), "1 of 2"),
    "scaled to none": (DEPLOYMENT, deployment(available=0, replicas=0), ""),
    "an older generation": (DEPLOYMENT, deployment(generation=2), "1 of 1"),
    "no status yet": (DEPLOYMENT, {"metadata": {"generation": 1}, "spec": {}}, "0 of 1"),
    "a claim that waits for its consumer": (CLAIM, {"metadata": {}, "status": {"phase": "Pending"}}, ""),
    "a claim that lost its volume": (CLAIM, {"metadata": {}, "status": {"phase": "Lost"}}, "lost its volume"),
}


@pytest.mark.parametrize("what", READY)
def test_a_service_is_ready_when_its_deployment_is_available(what: str) -> None:
    """Otherwise the message says which object is in the way, and why."""
    ref, obj, words = READY[what]
    problem = why_not_ready(ref, obj)
    assert words in problem
    assert bool(problem) == bool(words)


SERVICE = ServiceOrder(
    namespace="ns",
    manifests=(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "atoll-datasets", "namespace": "ns"},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}}},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "atoll-data", "namespace": "ns", "labels": {"app.kubernetes.io/name": "atoll-data"}},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "atoll-data"}},
                "template": {
                    "metadata": {"labels": {"app": "atoll-data"}},
                    "spec": {"containers": [{"name": "sink", "image": "atoll"}]},
                },
            },
        },
    ),
)


async def test_a_service_is_applied_reported_restored_and_ended_without_its_data(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """It is ready when available, comes back when deleted or scaled by hand, and its claim outlives its order."""
    await hub.order("service/ns", SERVICE)
    waiting = await hub.reported("service/ns", ServiceReport)
    assert not waiting.ready
    await cluster.set_status(
        "Deployment", "atoll-data", {"observedGeneration": 1, "availableReplicas": 1}, namespace="ns"
    )
    await hub.reported("service/ns", ServiceReport, lambda report: report.ready)

    uid = (await cluster.objects("Deployment", "ns"))["atoll-data"]["metadata"]["uid"]
    await cluster.delete("Deployment", "atoll-data", namespace="ns")

    async def restored() -> bool:
        found = await cluster.objects("Deployment", "ns")
        return "atoll-data" in found and found["atoll-data"]["metadata"]["uid"] != uid

    await eventually(restored)
    await cluster.edit("Deployment", "atoll-data", {"spec": {"replicas": 0}}, namespace="ns")

    async def scaled_back() -> bool:
        return bool((await cluster.objects("Deployment", "ns"))["atoll-data"]["spec"]["replicas"] == 1)

    await eventually(scaled_back)
    await hub.withdraw("service/ns")
    await hub.gone("service/ns")
    assert await cluster.objects("Deployment", "ns") == {}
    assert "atoll-datasets" in await cluster.objects("PersistentVolumeClaim", "ns")
