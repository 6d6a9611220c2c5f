"""Phases of clusters: what reports, their age and a schedule add up to, what is written of it, and when.

Table: one row is one cluster at noon UTC of Sunday, 2026-11-22. Property: whatever is heard, Ready is never stale.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.bus.messages import Heartbeat, InventoryReport, MeshReport
from atoll.federation.resources import ClusterStatus, Inventory, MeshLink
from atoll.federation.resources.cluster import NodeShape
from atoll.federation.resources.inventory import ClusterForm, NodeTrouble
from atoll.federation.resources.schedule import Schedule
from atoll.hub.controllers.cluster_phase import Evidence, Judgement, judge
from atoll.hub.controllers.cluster_status import ROOM_SECONDS, Write, pace, plan_status, seconds_until_room
from atoll.hub.controllers.meshes import MeshEvidence
from atoll.hub.members import Held, proven_at
from atoll.hub.reports import MAX_SHAPES, digest
from hub.support import GIB, inventory

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TIMEOUT = 30.0


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def evidence(seconds: float = 1, *, nodes: Inventory | None = None, told: float = 50, **beat: Any) -> Evidence:
    """Give a cluster whose heartbeat proves an instant so many seconds ago, from an agent that runs for 100 s."""
    heartbeat = Heartbeat.model_validate({"started_at": ago(100), "at": ago(seconds), **beat})
    found = nodes or inventory()
    return Evidence(heartbeat, InventoryReport(inventory=found, at=ago(told)), None, ago(seconds), None, found.form)


def of_form(form: ClusterForm, ready: int, **states: int) -> Inventory:
    return Inventory(form=form, nodes=ready + sum(states.values()), nodes_ready=ready, node_states=states)


def awake(start: str, end: str, *days: str) -> Schedule:
    window: dict[str, Any] = {"from": start, "until": end}
    return Schedule.model_validate({"awake": [{**window, "days": days} if days else window]})


def judged(found: Evidence, at: datetime = NOW, schedule: Schedule | None = None) -> Judgement:
    return judge(found, at, timeout_seconds=TIMEOUT, schedule=schedule)


DEVICE, EDGE = of_form("Device", 0, Offline=1), of_form("Edge", 0, Offline=3)
STALE = inventory().model_copy(update={"stale_kinds": ("Event", "Node", "Pod")})
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


WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri"]
BERLIN_DAYS = Schedule.model_validate(
    {"timeZone": "Europe/Berlin", "awake": [{"days": WEEK, "from": "07:00", "until": "19:00"}]}
)
BY_DAY, BY_NIGHT = awake("08:00", "18:00"), awake("18:00", "08:00")
JUST_WOKEN, WOKEN = awake("11:59", "18:00"), awake("11:00", "18:00")
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


# --- what is stored


def planned(old: ClusterStatus, found: Evidence, at: datetime = NOW, schedule: Schedule | None = None) -> ClusterStatus:
    return plan_status(old, found, judgement=judged(found, at, schedule), now=at, generation=1)


def test_a_lost_cluster_keeps_what_was_known_with_the_time_it_was_lost() -> None:
    ready = planned(ClusterStatus(), evidence())
    lost = planned(ready, evidence(), NOW + timedelta(minutes=5))
    assert (lost.phase, lost.lost_since, lost.last_proven_at) == ("Unreachable", ago(1), ago(1))
    assert lost.inventory == inventory()
    assert planned(lost, evidence(), NOW + timedelta(hours=1)) == lost, "nothing new is known, so nothing is written"


def test_loss_is_dated_anew_for_a_cluster_that_was_back_while_no_hub_looked() -> None:
    lost = planned(ClusterStatus(), evidence(7200))
    assert lost.lost_since == ago(7200)
    assert planned(lost, evidence(600)).lost_since == ago(600)


def test_every_phase_says_why_and_sleep_until_when() -> None:
    asleep = planned(planned(ClusterStatus(), evidence()), evidence(), NOW + timedelta(hours=1), BERLIN_DAYS)
    assert (asleep.phase, asleep.reason, asleep.lost_since) == ("Asleep", "Scheduled", None)
    assert (asleep.last_proven_at, asleep.silent_since) == (ago(1), ago(1))
    ready = next(condition for condition in asleep.conditions if condition.type == "Ready")
    assert (ready.status, ready.reason, ready.message) == ("False", asleep.reason, asleep.message)
    back = planned(asleep, evidence(-3600), NOW + timedelta(hours=1), BERLIN_DAYS)
    assert (back.phase, back.wakes_at, back.silent_since) == ("Ready", None, None)


@pytest.mark.parametrize("schedule", [None, BY_NIGHT], ids=["lost", "asleep"])
def test_broken_mesh_links_are_named_and_unknown_when_nothing_is_heard_of_a_cluster(schedule: Schedule | None) -> None:
    links = (MeshLink(peer="b", is_ready=True), MeshLink(peer="c"))
    seen = replace(evidence(), mesh=MeshEvidence(MeshReport(links=links, at=NOW), NOW))
    status = planned(ClusterStatus(), seen)
    mesh = next(condition for condition in status.conditions if condition.type == "MeshReady")
    assert (mesh.status, mesh.message) == ("False", "no link to c")
    silent = planned(status, seen, NOW + timedelta(minutes=1), schedule)
    assert next(condition for condition in silent.conditions if condition.type == "MeshReady").status == "Unknown"


def paced(old: ClusterStatus, new: ClusterStatus, room_in_seconds: float = 0.0) -> Write:
    return pace(old, new, room_in_seconds=room_in_seconds, timeout_seconds=TIMEOUT)


def with_nodes(**changes: Any) -> Evidence:
    return evidence(nodes=inventory().model_copy(update=changes))


STORED = planned(ClusterStatus(), evidence())
URGENT = {
    "another phase": evidence(api_reachable=False),
    "another agent": evidence(agent_version="9.9"),
    "a link that broke": replace(
        evidence(), mesh=MeshEvidence(MeshReport(links=(MeshLink(peer="b"),), at=NOW), NOW)
    ),
    "another Kubernetes": with_nodes(version="v9"),
    "a kind that cannot be followed": with_nodes(stale_kinds=("Event",)),
}  # fmt: skip
ROOM = {
    "fewer free GPUs": with_nodes(free_gpus=()),
    "other shapes": with_nodes(shapes=()),
    "another node": with_nodes(nodes=2),
    "a node in trouble": with_nodes(troubled_nodes=(NodeTrouble(name="n", state="Impaired"),)),
}


@pytest.mark.parametrize("name", URGENT)
def test_a_status_is_written_at_once_for(name: str) -> None:
    new = planned(STORED, URGENT[name])
    assert paced(STORED, new, ROOM_SECONDS) == Write(new, tells_room=True)


@pytest.mark.parametrize("name", ROOM)
def test_a_status_is_written_at_once_or_some_seconds_after_the_last_time_for(name: str) -> None:
    new = planned(STORED, ROOM[name])
    assert paced(STORED, new) == Write(new, tells_room=True)
    assert paced(STORED, new, 3.0) == Write(STORED, 3.0)


def test_a_date_alone_is_written_long_before_what_is_shown_looks_stale() -> None:
    assert paced(STORED, planned(STORED, evidence(-13))).status == STORED
    later = planned(STORED, evidence(-14), NOW + timedelta(seconds=14))
    assert paced(STORED, later).status == later


def test_room_is_told_again_after_a_pause_and_at_once_when_a_clock_was_set_back() -> None:
    assert seconds_until_room(None, NOW) == 0
    assert seconds_until_room(ago(1), NOW) == ROOM_SECONDS - 1
    assert seconds_until_room(ago(ROOM_SECONDS), NOW) == 0
    assert seconds_until_room(ago(-3600), NOW) == 0


def shape(number: int, nodes: int = 1) -> NodeShape:
    labels = {"topology.kubernetes.io/zone": f"zone-{number % 40}"}
    room = {"free_millicores": 1000 + number, "free_memory_bytes": GIB + number, "free_gpus": 1}
    return NodeShape.model_validate({"nodes": nodes, "gpu_model": "A", "labels": labels, **room})


def test_a_digest_of_few_shapes_says_them_as_they_are() -> None:
    found = inventory().model_copy(update={"counted_runs": ("lab/a",)})
    assert digest(found) == inventory()


def test_a_digest_of_many_shapes_is_bounded_and_promises_nothing_that_is_not_there() -> None:
    shapes = tuple(shape(number, nodes=1 + number % 3) for number in range(400))
    short = digest(Inventory(shapes=shapes))
    assert len(short.shapes) == MAX_SHAPES
    assert sum(each.nodes for each in short.shapes) + short.omitted_nodes == sum(each.nodes for each in shapes)
    for told in short.shapes:
        like = [each for each in shapes if each.labels == told.labels and each.free_millicores >= told.free_millicores]
        assert sum(each.nodes for each in like) >= told.nodes


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
