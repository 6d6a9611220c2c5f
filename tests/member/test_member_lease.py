"""The agent's lease, what it lets a run do, and the deadline that its Job carries; then an agent that loses its hub."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.member.deadline import Start, deadline, is_worth_writing, told_apart
from atoll.edge.member.fence import Standing, decide
from atoll.edge.member.lease import Lease, Proof, SavedLease
from atoll.edge.member.recency import Recency
from atoll.edge.member.records import RunRecord
from atoll.edge.member.run_status import RunState
from atoll.edge.member.settings import MemberSettings
from atoll.edge.member.shelf import Shelf
from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.messages import RunReport
from member.harness import HubSide, running_agent
from member.orders import NAMESPACE, RUN, RUN_KEY, run_order
from member.world import Cluster, eventually, now_text

LEASE = 60.0


def lease(at: float, *, sent_at: float | None = None) -> Lease:
    return Lease(lambda: at, proof=None if sent_at is None else Proof(sent_at, sent_at), boot="b")


@given(sent=st.floats(0, 1e6), delay=st.floats(0, 1e3), seconds=st.floats(1, 1e3))
def test_a_lease_ends_so_long_after_its_heartbeat_was_sent_however_late_that_was_acknowledged(
    sent: float, delay: float, seconds: float
) -> None:
    held = lease(sent + delay)
    held.renew(sent, sent + delay, seconds=seconds)
    assert held.remaining(seconds) == pytest.approx(seconds - delay, abs=1e-6)


def test_without_a_stored_heartbeat_there_is_no_lease() -> None:
    assert lease(0.0).remaining(LEASE) <= 0
    assert lease(0.0).gain == ""


def test_a_gap_makes_another_lease_even_when_nobody_looked_meanwhile() -> None:
    held = lease(0.0, sent_at=0.0)
    first = held.gain
    held.renew(59.0, 59.9, seconds=LEASE)
    assert held.gain == first
    held.renew(118.0, 119.0, seconds=LEASE)
    assert held.gain != first


def test_a_heartbeat_that_was_overtaken_shortens_nothing() -> None:
    held = lease(0.0, sent_at=50.0)
    held.renew(40.0, 51.0, seconds=LEASE)
    assert held.remaining(LEASE) == 50.0 + LEASE


@pytest.mark.parametrize(("boot", "is_held"), [("same", True), ("another", False), ("", False)])
def test_a_lease_outlives_the_agent_but_not_the_machines_life(tmp_path: Path, boot: str, is_held: bool) -> None:
    before = SavedLease(Shelf(tmp_path), boot="same", shortest=lambda: LEASE)
    before.renew(before.lease.clock())
    after = SavedLease(Shelf(tmp_path), boot=boot, shortest=lambda: LEASE)
    assert (after.lease.remaining(LEASE) > 0) is is_held
    assert (after.lease.gain == before.lease.gain) is is_held


def test_a_damaged_lease_is_none(tmp_path: Path) -> None:
    Shelf(tmp_path).put("lease", b"{")
    assert SavedLease(Shelf(tmp_path), boot="b", shortest=lambda: LEASE).lease.proof is None


HELD, LAPSED = Standing(True, "g1", True), Standing(False, "g1", True)
BEGUN = RunRecord(namespace=NAMESPACE, run=RUN, epoch=1, objects=(), is_applied=True, lease_gain="g1")
LEASED, FREE = run_order().model_copy(update={"lease_seconds": LEASE}), run_order()
STEPS = {
    "begins on a current order under a lease": (LEASED, None, HELD, "begin"),
    "does not begin without a lease": (LEASED, None, LAPSED, "wait"),
    "does not begin on an order that may have been taken back": (LEASED, None, Standing(True, "g1", False), "wait"),
    "goes on while the lease is held": (LEASED, BEGUN, HELD, "go on"),
    "stops when the lease has ended": (LEASED, BEGUN, LAPSED, "stop"),
    "stops when there was a gap, though it is over": (LEASED, BEGUN, Standing(True, "g2", True), "stop"),
    "stops when nobody knows under which lease it began": (
        LEASED, BEGUN.model_copy(update={"lease_gain": ""}), HELD, "stop",
    ),
    "stops when it was cut short while it was applied": (
        LEASED, BEGUN.model_copy(update={"is_applied": False}), LAPSED, "stop",
    ),
    "needs no lease to begin unless its order says so": (FREE, None, LAPSED, "begin"),
    "needs no lease to go on unless its order says so": (FREE, BEGUN, LAPSED, "go on"),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_a_run(name: str) -> None:
    order, record, standing, step = STEPS[name]
    assert decide(order, record, standing) == step


@given(started=st.floats(0, 1e5), seen_late=st.floats(0, 30), passed=st.floats(0, 1e4), remaining=st.floats(1, 60))
def test_a_jobs_deadline_is_never_after_its_lease(
    started: float, seen_late: float, passed: float, remaining: float
) -> None:
    """Whenever the start was seen, and however long ago: counted from the real start it ends within the lease."""
    now = started + seen_late + passed
    wanted = deadline(LEASED, remaining, start=Start("s", started + seen_late), now=now)
    assert started + wanted <= now + remaining + 1e-3


def test_the_authors_own_deadline_holds_within_a_longer_lease() -> None:
    own = run_order(activeDeadlineSeconds=10).model_copy(update={"lease_seconds": LEASE})
    assert deadline(own, 55.0, start=None, now=0.0) == 10
    assert deadline(own, 5.0, start=None, now=0.0) == 5
    late = RunState("Failed", "DeadlineExceeded", deadline_seconds=10)
    assert told_apart(own, late).reason == "DeadlineExceeded"
    assert told_apart(own, RunState("Failed", "DeadlineExceeded", deadline_seconds=9)).reason == "LeaseEnded"
    assert told_apart(FREE, RunState("Failed", "DeadlineExceeded", deadline_seconds=9)).reason == "DeadlineExceeded"
    assert told_apart(LEASED, RunState("Failed", "OOMKilled", deadline_seconds=9)).reason == "OOMKilled"


def test_a_deadline_is_written_again_only_for_a_real_gain() -> None:
    assert not is_worth_writing(69, 60, lease_seconds=LEASE)
    assert is_worth_writing(70, 60, lease_seconds=LEASE)
    assert is_worth_writing(40, None, lease_seconds=LEASE)
    assert not is_worth_writing(40, 60, lease_seconds=LEASE)


class Orders:
    """A table of one order, whose snapshot is counted."""

    def __init__(self) -> None:
        self.reads = 0
        self.known: list[int] = []
        self.written = 7
        self.behind = 0
        """How far those who answer are behind."""

    async def follow(self, under: str = "", *, known: int = 0) -> AsyncIterator[Change | Synced]:
        self.reads += 1
        self.known.append(known)
        yield Change(f"{under}run/a", b"{}", known)
        yield Synced(max(known - self.behind, 1))
        await asyncio.Event().wait()

    async def barrier(self) -> int | None:
        self.written += 1
        return self.written


async def test_only_orders_that_were_read_behind_a_barrier_count_as_current() -> None:
    """The first read may be of a replica that is behind; so may a later one, which then does not count either."""
    table, clock, given_items = Orders(), [1.0], []
    recency = Recency(lambda: clock[0])
    synced: asyncio.Queue[None] = asyncio.Queue()
    recency.on_read(lambda: synced.put_nowait(None))

    async def follow() -> None:
        async for item in recency.of(table).follow():
            given_items.append(item)

    task = asyncio.create_task(follow())
    try:
        await synced.get()
        assert not recency.is_since(1.0)
        await synced.get()
        assert recency.is_since(1.0)
        clock[0], table.behind = 5.0, 1
        assert not recency.is_since(4.0)
        await synced.get()
        table.behind = 0
        assert not recency.is_since(4.0)
        await synced.get()
        assert recency.is_since(4.0)
        assert (table.reads, len(given_items)) == (4, 8)
        assert table.known == [0, 8, 9, 10], "what was heard and written is held against whoever answers next"
    finally:
        task.cancel()
        await asyncio.wait({task})


def leased(seconds: float, **changes: Any) -> Any:
    return run_order(**changes).model_copy(update={"lease_seconds": seconds})


async def test_an_agent_without_a_hub_stops_what_has_a_lease_and_nothing_else(
    cluster: Cluster, agent: None, hub: HubSide, nats_server: Any
) -> None:
    """NATS goes away: the run with a lease is gone from the cluster when that ends, the other one stays."""
    await hub.order(RUN_KEY, leased(4.0))
    await hub.order(f"run/{NAMESPACE}/stays", run_order(run="stays"))
    pod = await cluster.pod_of(RUN, NAMESPACE)
    await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")
    nats_server.kill9()

    async def is_over() -> bool:
        return all(pod["metadata"]["labels"].get("job-name") != RUN for pod in await _live(cluster))

    await eventually(is_over)
    assert [pod["metadata"]["labels"]["job-name"] for pod in await _live(cluster)] == ["stays"]
    nats_server.start()
    ended = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert ended.reason == "LeaseEnded"
    await hub.order(RUN_KEY, leased(4.0))
    assert (await hub.reported(RUN_KEY, RunReport)).phase == "Failed"


async def _live(cluster: Cluster) -> list[dict[str, Any]]:
    pods = (await cluster.objects("Pod", NAMESPACE)).values()
    return [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]


async def test_a_jobs_deadline_moves_with_the_lease_and_outlives_a_short_absence_of_the_agent(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """The deadline of a Job that runs is prolonged again and again; an agent that restarts in time goes on with it."""
    async with running_agent(settings):
        await hub.order(RUN_KEY, leased(8.0))
        pod = await cluster.pod_of(RUN, NAMESPACE)
        await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
        await eventually(lambda: _deadline_above(cluster, 9))
    async with running_agent(settings):
        await eventually(lambda: _deadline_above(cluster, 12))
    assert (await hub.reported(RUN_KEY, RunReport)).phase == "Running"


async def _deadline_above(cluster: Cluster, seconds: int) -> bool:
    job = (await cluster.objects("Job", NAMESPACE))[RUN]
    return int(job["spec"]["activeDeadlineSeconds"]) > seconds
