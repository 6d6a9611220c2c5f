"""Phases of clusters: what reports, their age and a schedule add up to.

Table: one row is one cluster at noon UTC of Sunday, 2026-11-22. Property: whatever is heard, Ready is never stale.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.bus.messages import Heartbeat, InventoryReport
from atoll.federation.resources import ClusterStatus, Inventory
from atoll.federation.resources.schedule import Schedule
from atoll.hub.controllers.cluster_phase import Evidence
from atoll.hub.controllers.cluster_status import plan_status
from atoll.hub.members import Held, proven_at
from hub.cluster_worlds import (
    BERLIN_DAYS,
    BY_DAY,
    BY_NIGHT,
    DEVICE,
    EDGE,
    JUST_WOKEN,
    NOW,
    STALE,
    TIMEOUT,
    WOKEN,
    ago,
    awake,
    evidence,
    judged,
    of_form,
    of_life,
)
from hub.support import inventory

LATE = evidence(3600)
CLUSTERS: Mapping[str, tuple[Evidence, str, str]] = {
    "never heard": (Evidence(), "Pending", "NotJoined"),
    "heard just now": (evidence(), "Ready", "Proven"),
    "heard just within the time-out": (evidence(29.9), "Ready", "Proven"),
    "heard too long ago": (evidence(30), "Unreachable", "HeartbeatStale"),
    "heard too long ago, and broken then": (evidence(31, api_reachable=False), "Unreachable", "HeartbeatStale"),
    "proven at a time to come, since the hub's clock was set back": (evidence(-3600), "Unreachable", "HeartbeatStale"),
    "its API server is away": (evidence(api_reachable=False), "Degraded", "ApiUnreachable"),
    "no node is ready": (evidence(nodes=Inventory(nodes=3)), "Degraded", "NoNodeReady"),
    "it has no nodes": (evidence(nodes=Inventory()), "Degraded", "NoNodeReady"),
    "its nodes are not known yet": (replace(evidence(), inventory=None), "Pending", "NoInventory"),
    "all reports were lost, a moment ago": (Evidence(proven_at=ago(1)), "Pending", "NoHeartbeat"),
    "all reports were lost, and none came": (Evidence(proven_at=ago(40)), "Unreachable", "HeartbeatStale"),
    "heard live with a clock that is behind": (replace(LATE, received_at=ago(2)), "Degraded", "HeartbeatLate"),
    "silent with a clock that was behind": (replace(LATE, received_at=ago(31)), "Unreachable", "HeartbeatStale"),
    "silent since a heartbeat that was under way for a while": (
        replace(evidence(31), received_at=ago(29)), "Unreachable", "HeartbeatStale",
    ),
    "nodes and pods cannot be followed": (evidence(nodes=STALE), "Degraded", "StaleInventory"),
    "only events cannot be followed": (
        evidence(nodes=inventory().model_copy(update={"stale_kinds": ("Event",)})), "Ready", "Proven",
    ),
    "an agent that started and cannot read the nodes": (evidence(told=500), "Degraded", "StaleInventory"),
    "an inventory of this agent, told while its clock was behind": (of_life(100, told=500), "Ready", "Proven"),
    "an inventory of the agent before, told while its clock was ahead": (of_life(900), "Degraded", "StaleInventory"),
    "an agent that has just started": (evidence(told=500, started_at=ago(20)), "Ready", "Proven"),
    "a device that sleeps": (evidence(3600, nodes=DEVICE), "Asleep", "DeviceSilent"),
    "an edge cluster that is not heard, whose control plane should be": (
        evidence(3600, nodes=EDGE), "Unreachable", "HeartbeatStale",
    ),
    "a device of which only the form is known": (Evidence(proven_at=ago(40), form="Device"), "Asleep", "DeviceSilent"),
    "a device whose node sleeps": (evidence(nodes=DEVICE), "Asleep", "NodesOffline"),
    "an edge cluster whose nodes all sleep": (evidence(nodes=EDGE), "Asleep", "NodesOffline"),
    "an edge cluster of which some nodes sleep": (evidence(nodes=of_form("Edge", 2, Offline=3)), "Ready", "Proven"),
    "an edge cluster with a broken node": (
        evidence(nodes=of_form("Edge", 0, Offline=3, NotReady=1)), "Degraded", "NoNodeReady",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_phase_of_a_cluster_that_is(name: str) -> None:
    found, phase, reason = CLUSTERS[name]
    judgement = judged(found)
    assert (judgement.phase, judgement.reason) == (phase, reason)
    assert judgement.message
    assert (judgement.lost_since is not None) == (phase == "Unreachable")
    if phase in ("Ready", "Degraded"):
        assert judgement.again_in_seconds is not None, "it is judged again when its evidence is stale"


SCHEDULED: Mapping[str, tuple[Evidence, Schedule, str, str]] = {
    "silent by night": (evidence(3600), BY_NIGHT, "Asleep", "Scheduled"),
    "silent by day": (evidence(3600), BY_DAY, "Unreachable", "HeartbeatStale"),
    "a device that is silent by day": (evidence(3600, nodes=DEVICE), BY_DAY, "Unreachable", "HeartbeatStale"),
    "heard by night": (evidence(), BY_NIGHT, "Ready", "Proven"),
    "silent, and awake only now": (evidence(3600), awake("12:00", "18:00"), "Asleep", "Waking"),
    "silent, and awake for as long as it may be": (evidence(3600), JUST_WOKEN, "Unreachable", "HeartbeatStale"),
    "its API server is away by night": (evidence(api_reachable=False), BY_NIGHT, "Asleep", "ApiOffline"),
    "its API server is away by day": (evidence(api_reachable=False), BY_DAY, "Degraded", "ApiUnreachable"),
    "no node is ready by night": (evidence(nodes=Inventory(nodes=3)), BY_NIGHT, "Asleep", "NodesOffline"),
    "a device whose node is offline by day": (evidence(nodes=DEVICE), BY_DAY, "Degraded", "NoNodeReady"),
    "never heard by night": (Evidence(), BY_NIGHT, "Pending", "NotJoined"),
    "its nodes cannot be followed by night": (evidence(nodes=STALE), BY_NIGHT, "Degraded", "StaleInventory"),
}


@pytest.mark.parametrize("name", SCHEDULED)
def test_by_its_schedule_the_phase_of_a_cluster_that_is(name: str) -> None:
    found, schedule, phase, reason = SCHEDULED[name]
    judgement = judged(found, schedule=schedule)
    assert (judgement.phase, judgement.reason) == (phase, reason)


def test_sleep_is_told_with_its_end_in_the_zone_of_the_schedule_and_is_looked_at_exactly_then() -> None:
    judgement = judged(evidence(3600), schedule=BERLIN_DAYS)
    assert judgement.message == "asleep by its schedule until Mon 2026-11-23 07:00 Europe/Berlin"
    assert judgement.wakes_at == datetime(2026, 11, 23, 6, tzinfo=UTC)
    assert judgement.again_in_seconds == 18 * 3600


def test_a_silent_cluster_sleeps_wakes_is_lost_and_sleeps_again_and_each_change_is_foreseen() -> None:
    """Whoever waits as long as each judgement says sees every phase at its first moment."""
    at, seen = datetime(2026, 11, 20, 17, tzinfo=UTC), []
    found = evidence((NOW - at).total_seconds())
    while at < datetime(2026, 11, 24, tzinfo=UTC):
        judgement = judged(found, at, BERLIN_DAYS)
        seen.append((f"{at:%a %H:%M:%S}", judgement.reason, judgement.lost_since))
        assert judgement.again_in_seconds is not None
        at += timedelta(seconds=judgement.again_in_seconds)
    lost_since = datetime(2026, 11, 23, 6, 0, 30, tzinfo=UTC)
    assert seen == [
        ("Fri 17:00:00", "Proven", None),
        ("Fri 17:00:30", "HeartbeatStale", datetime(2026, 11, 20, 17, tzinfo=UTC)),
        ("Fri 18:00:00", "Scheduled", None),
        ("Mon 06:00:00", "Waking", None),
        ("Mon 06:00:30", "HeartbeatStale", lost_since),
        ("Mon 18:00:00", "Scheduled", None),
    ]


LOST: Mapping[str, tuple[float, Schedule | None, datetime]] = {
    "silent without a schedule": (3600, None, ago(3600)),
    "silent since before its window began": (7200, WOKEN, ago(3600 - TIMEOUT)),
    "silent since some time in its window": (600, WOKEN, ago(600)),
    "silent in a schedule without a pause": (30 * 86400, awake("00:00", "24:00"), ago(30 * 86400)),
}


@pytest.mark.parametrize("name", LOST)
def test_loss_is_dated_by_when_the_cluster_should_have_been_heard_for_one(name: str) -> None:
    seconds, schedule, since = LOST[name]
    assert judged(evidence(seconds), schedule=schedule).lost_since == since


def test_ready_counts_the_edge_nodes_that_sleep() -> None:
    assert judged(evidence(nodes=of_form("Edge", 2, Offline=3))).message == "2 of 5 nodes are ready, 3 are offline"


def test_stale_kinds_are_named_with_the_agents_own_words() -> None:
    message = judged(evidence(nodes=STALE, message="Nodes cannot be followed: 403")).message
    assert message == "the agent cannot follow Node and Pod objects: Nodes cannot be followed: 403"


# --- what must hold whatever happens


PROOFS = {
    "heard live by equal clocks": (Held(b"", 1, NOW), ago(1), ago(1)),
    "heard live from a clock that is ahead": (Held(b"", 1, ago(5)), NOW + timedelta(hours=1), ago(5)),
    "found at start": (Held(b"", 1), ago(7), ago(7)),
    "found at start, dated in the future": (Held(b"", 1), NOW + timedelta(hours=1), None),
    "found at start, from a clock that is ahead": (Held(b"", 1, None, ago(60)), ago(40), ago(60)),
    "found at start, from a clock that is far ahead": (Held(b"", 1, None, ago(60)), NOW + timedelta(hours=1), ago(60)),
    "found at start, stored in the future": (Held(b"", 1, None, NOW + timedelta(hours=1)), ago(7), ago(7)),
    "nothing": (None, None, None),
}


@pytest.mark.parametrize("name", PROOFS)
def test_a_report_proves_no_later_instant_than_the_truth_when(name: str) -> None:
    held, at, expected = PROOFS[name]
    assert proven_at(held, at, NOW) == expected


INVENTORIES = (inventory(), DEVICE, EDGE, STALE, Inventory(), of_form("Edge", 1, Offline=1))
steps = st.lists(
    st.tuples(
        st.floats(0, 90),  # seconds that pass
        st.sampled_from(["beat", "beat", "silence", "hub restarts"]),
        st.floats(-60, 60) | st.floats(-7200, 7200),  # by how much the agent's clock is wrong
        st.sampled_from(INVENTORIES),
        st.booleans(),
    ),
    max_size=25,
)


@given(steps, st.sampled_from([None, BY_DAY, BY_NIGHT, JUST_WOKEN, BERLIN_DAYS]))
def test_nothing_is_ready_on_stale_evidence_whatever_is_heard_and_whatever_clocks_say(
    history: list[tuple[float, str, float, Inventory, bool]], schedule: Schedule | None
) -> None:
    """The clocks of hub and NATS are right, agents' are not. Truth is kept beside it: when a beat was really sent."""
    now, status, held, beat, report, really_at = NOW, ClusterStatus(), None, None, None, None
    for seconds, event, error, nodes, reachable in history:
        now += timedelta(seconds=seconds)
        if event == "beat":
            said = now + timedelta(seconds=error)
            beat = Heartbeat(started_at=said, at=said, api_reachable=reachable)
            report, held, really_at = InventoryReport(inventory=nodes, at=said), Held(b"", 1, now, now), now
        elif event == "hub restarts" and held is not None:
            held = Held(held.value, held.revision, None, held.stored_at)
        proven = proven_at(held, beat.at if beat is not None else None, now) or status.last_proven_at
        found = Evidence(beat, report, None, proven, held.received_at if held is not None else None)
        judgement = judged(found, now, schedule)
        status = plan_status(status, found, judgement=judgement, now=now, generation=1)
        assert status.reason and status.message
        assert (status.lost_since is not None) == (status.phase == "Unreachable")
        assert status.lost_since is None or status.lost_since <= now
        if status.phase == "Ready":
            assert really_at is not None and status.last_proven_at is not None
            assert (now - really_at).total_seconds() < TIMEOUT
            assert (now - status.last_proven_at).total_seconds() < TIMEOUT
            assert judgement.again_in_seconds is not None and 0 < judgement.again_in_seconds <= TIMEOUT
            assert not {"Node", "Pod"} & set(nodes_of(status).stale_kinds)
        if judgement.again_in_seconds is None:
            assert status.phase in ("Pending", "Unreachable", "Asleep")


def nodes_of(status: ClusterStatus) -> Inventory:
    assert status.inventory is not None
    return status.inventory
