"""Cluster.status: what is stored of a judgement and its evidence, how short, and when."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from atoll.federation.bus.inventory_messages import EventsReport
from atoll.federation.bus.messages import MeshReport
from atoll.federation.resources import ClusterStatus, Inventory, MeshLink
from atoll.federation.resources.cluster import NodeShape
from atoll.federation.resources.inventory import NodeTrouble, OwnedEvent
from atoll.federation.resources.schedule import Schedule
from atoll.hub.controllers.cluster_phase import Evidence
from atoll.hub.controllers.cluster_status import ROOM_SECONDS, Write, pace, seconds_until_room
from atoll.hub.controllers.meshes import MeshEvidence
from atoll.hub.reports import MAX_SHAPES, MAX_WARNINGS, digest, newest_warnings
from hub.cluster_worlds import (
    BERLIN_DAYS,
    BY_NIGHT,
    NOW,
    TIMEOUT,
    ago,
    evidence,
    planned,
)
from hub.support import GIB, inventory


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


# --- warnings


def warning(number: int = 1, **changes: Any) -> OwnedEvent:
    fields = {
        "owner": "run/lab/a-1",
        "kind": "Pod",
        "name": f"a-1-{number}",
        "reason": "BackOff",
        "last_at": ago(number),
    }
    return OwnedEvent.model_validate({**fields, "message": "restarting", **changes})


def warned(*events: OwnedEvent) -> Evidence:
    return replace(evidence(), warnings=newest_warnings(EventsReport(events=events, at=NOW)))


def test_the_newest_few_warnings_are_shown_with_short_messages() -> None:
    events = [warning(number, message="x" * 300) for number in range(1, 100)]
    shown = planned(ClusterStatus(), warned(*events)).warnings
    assert [each.name for each in shown] == [each.name for each in events[:MAX_WARNINGS]]
    assert all(each.message.startswith("xxx") and len(each.message) <= 160 for each in shown)
    assert planned(ClusterStatus(), warned(warning())).warnings == (warning(),)


def test_warnings_go_when_the_cluster_has_none_and_stay_when_it_is_not_known() -> None:
    stored = planned(ClusterStatus(), warned(warning()))
    assert planned(stored, evidence()).warnings == (warning(),)
    assert planned(stored, warned()).warnings == ()


def test_a_new_warning_is_written_as_soon_as_room_is_and_its_repetition_with_a_date() -> None:
    stored = planned(STORED, warned(warning()))
    new = planned(stored, warned(warning(2), warning()))
    assert paced(stored, new) == Write(new, tells_room=True)
    assert paced(stored, new, 3.0) == Write(stored, 3.0)
    repeated = planned(stored, warned(warning(count=7, last_at=NOW)))
    assert paced(stored, repeated) == Write(stored)
    later = replace(evidence(-14), warnings=repeated.warnings)
    assert paced(stored, planned(stored, later, NOW + timedelta(seconds=14))).status.warnings == repeated.warnings
