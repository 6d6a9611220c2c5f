"""Clusters for tests of their phases: evidence of them at noon UTC of Sunday, 2026-11-22, and a few schedules."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from atoll.federation.bus.messages import Heartbeat, InventoryReport
from atoll.federation.resources import ClusterStatus, Inventory
from atoll.federation.resources.inventory import ClusterForm
from atoll.federation.resources.schedule import Schedule
from atoll.hub.controllers.cluster_phase import Evidence, Judgement, judge
from atoll.hub.controllers.cluster_status import plan_status
from hub.support import inventory

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TIMEOUT = 30.0


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def evidence(seconds: float = 1, *, nodes: Inventory | None = None, told: float = 50, **beat: Any) -> Evidence:
    """Give a cluster whose heartbeat proves an instant so many seconds ago, from an agent that runs for 100 s."""
    heartbeat = Heartbeat.model_validate({"started_at": ago(100), "at": ago(seconds), **beat})
    found = nodes or inventory()
    return Evidence(heartbeat, InventoryReport(inventory=found, at=ago(told)), None, ago(seconds), None, found.form)


def of_life(began: float, *, told: float = 50) -> Evidence:
    """Give a cluster whose inventory was told by an agent that began so many seconds ago."""
    report = InventoryReport(inventory=inventory(), agent_started_at=ago(began), at=ago(told))
    return replace(evidence(), inventory=report)


def of_form(form: ClusterForm, ready: int, **states: int) -> Inventory:
    return Inventory(form=form, nodes=ready + sum(states.values()), nodes_ready=ready, node_states=states)


def awake(start: str, end: str, *days: str) -> Schedule:
    window: dict[str, Any] = {"from": start, "until": end}
    return Schedule.model_validate({"awake": [{**window, "days": days} if days else window]})


def judged(found: Evidence, at: datetime = NOW, schedule: Schedule | None = None) -> Judgement:
    return judge(found, at, timeout_seconds=TIMEOUT, schedule=schedule)


DEVICE, EDGE = of_form("Device", 0, Offline=1), of_form("Edge", 0, Offline=3)
STALE = inventory().model_copy(update={"stale_kinds": ("Event", "Node", "Pod")})
WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri"]
BERLIN_DAYS = Schedule.model_validate(
    {"timeZone": "Europe/Berlin", "awake": [{"days": WEEK, "from": "07:00", "until": "19:00"}]}
)
BY_DAY, BY_NIGHT = awake("08:00", "18:00"), awake("18:00", "08:00")
JUST_WOKEN, WOKEN = awake("11:59", "18:00"), awake("11:00", "18:00")


def planned(old: ClusterStatus, found: Evidence, at: datetime = NOW, schedule: Schedule | None = None) -> ClusterStatus:
    return plan_status(old, found, judgement=judged(found, at, schedule), now=at, generation=1)
