"""The phase of a cluster: what the newest reports prove, how old they are, and what its schedule lets expect. Pure.

Nothing is called Ready on evidence older than the heartbeat time-out. Each judgement says when it must be made again
if nothing is heard. Nothing here looks at what was judged before: a hub that starts judges as one that never stopped.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from atoll.federation.bus.messages import Heartbeat, InventoryReport
from atoll.federation.resources import Inventory
from atoll.federation.resources.cluster import ClusterPhase
from atoll.federation.resources.inventory import ClusterForm, OwnedEvent
from atoll.federation.resources.schedule import Schedule
from atoll.federation.schedule import hours_at, local_time
from atoll.hub.controllers.meshes import MeshEvidence

# What Ready speaks of: a copy of these that is of the past says nothing of the nodes and of what is free on them.
_VITAL_KINDS = ("Node", "Pod")
# A heartbeat that arrives this part of the time-out after its date tells of a clock; one that arrives sooner was under
# way, and says nothing once it is old.
_CLOCK_PART = 1 / 3
# Forms whose nodes are offline by their way of life (docs/adr/0016), as people call them.
_SLEEPERS: dict[ClusterForm, str] = {"Device": "a single-node device", "Edge": "an edge cluster"}


@dataclass(frozen=True)
class Evidence:
    """The newest reports of one cluster, the instant that its heartbeat proves, and when that was heard live.

    `form` is known from earlier reports where the newest ones are gone; `warnings` is None if none can be read.
    """

    heartbeat: Heartbeat | None = None
    inventory: InventoryReport | None = None
    mesh: MeshEvidence | None = None
    proven_at: datetime | None = None
    received_at: datetime | None = None
    form: ClusterForm = "Cluster"
    warnings: tuple[OwnedEvent, ...] | None = None


@dataclass(frozen=True)
class Judgement:
    """A cluster's phase with its reason; when it must be judged again if nothing is heard (None: it will not change).

    `lost_since` is set if it is Unreachable, `wakes_at` if it sleeps by its schedule.
    """

    phase: ClusterPhase
    reason: str
    message: str
    again_in_seconds: float | None = None
    lost_since: datetime | None = None
    wakes_at: datetime | None = None


@dataclass(frozen=True)
class _Expectation:
    """What a schedule lets expect just now: sleep, for some reason, or else to be heard since `due_at` at the latest.

    `changes_at` is when it lets expect something else.
    """

    is_set: bool = False
    sleeps_because: str = ""
    message: str = ""
    changes_at: datetime | None = None
    wakes_at: datetime | None = None
    due_at: datetime | None = None


def judge(evidence: Evidence, now: datetime, *, timeout_seconds: float, schedule: Schedule | None = None) -> Judgement:
    """Decide a cluster's phase from what is known and how old it is."""
    if evidence.proven_at is None:
        return Judgement("Pending", "NotJoined", "no agent of this cluster has been heard yet")
    timeout = timedelta(seconds=timeout_seconds)
    expected = _expect(schedule, now, timeout)
    left = _left(evidence.proven_at, now, timeout)
    judgement = _heard(evidence, timeout, expected) if left > 0 else _stale(evidence, now, timeout, expected=expected)
    ends = (left, judgement.again_in_seconds, _seconds_until(expected.changes_at, now))
    return replace(judgement, again_in_seconds=min((end for end in ends if end is not None and end > 0), default=None))


def _left(at: datetime, now: datetime, timeout: timedelta) -> float:
    """Give the seconds for which an instant is proof. One that lies as far ahead is none: a clock was set back."""
    return (timeout - abs(now - at)).total_seconds()


def _seconds_until(at: datetime | None, now: datetime) -> float | None:
    return (at - now).total_seconds() if at is not None else None


def _expect(schedule: Schedule | None, now: datetime, timeout: timedelta) -> _Expectation:
    if schedule is None:
        return _Expectation()
    hours = hours_at(schedule, now)
    if not hours.is_awake:
        when = f" until {local_time(schedule, hours.until)}" if hours.until is not None else ""
        message = f"asleep by its schedule{when}"
        return _Expectation(True, "Scheduled", message, changes_at=hours.until, wakes_at=hours.until)
    due_at = hours.since + timeout if hours.since is not None else None
    if due_at is not None and now < due_at:
        message = f"waking: awake by its schedule just now, and not heard for up to {timeout.total_seconds():g} s yet"
        return _Expectation(True, "Waking", message, changes_at=due_at)
    return _Expectation(True, changes_at=hours.until, due_at=due_at)


def _stale(evidence: Evidence, now: datetime, timeout: timedelta, *, expected: _Expectation) -> Judgement:
    """Tell a silent agent from one whose clock is behind: that one is heard, and dates nothing that can be believed."""
    heard, proven = evidence.received_at, evidence.proven_at
    assert proven is not None, "a cluster that was never heard is not judged by its age"
    left = _left(heard, now, timeout) if heard is not None else 0.0
    behind = heard - proven if heard is not None else timedelta()
    if left > 0 and behind >= timeout * _CLOCK_PART:
        message = (
            f"the newest heartbeat arrived {behind.total_seconds():.0f} s after its date: either a link was cut just "
            "now, or the clock of the agent's machine is behind"
        )
        return Judgement("Degraded", "HeartbeatLate", message, left)
    return _silent(evidence, proven, expected, now=now, timeout=timeout)


def _silent(
    evidence: Evidence, proven: datetime, expected: _Expectation, *, now: datetime, timeout: timedelta
) -> Judgement:
    """Tell sleep from loss. Who was silent when its window began is lost only since it should have been heard."""
    if expected.sleeps_because:
        return Judgement("Asleep", expected.sleeps_because, expected.message, wakes_at=expected.wakes_at)
    # The nodes of an edge cluster may sleep, its control plane and its agent do not; a device is all of these.
    if evidence.form == "Device" and not expected.is_set:
        message = f"not heard since {proven:%Y-%m-%d %H:%M:%S} UTC, as {_SLEEPERS['Device']} may be"
        return Judgement("Asleep", "DeviceSilent", f"{message}; spec.schedule would tell when it should be up")
    message = f"nothing was heard for more than {timeout.total_seconds():g} s"
    if expected.is_set:
        message += ", and by its schedule it is awake"
    lost_since = max(proven, expected.due_at) if expected.due_at is not None else proven
    return Judgement("Unreachable", "HeartbeatStale", message, lost_since=min(lost_since, now))


def _heard(evidence: Evidence, timeout: timedelta, expected: _Expectation) -> Judgement:
    """Judge by what a fresh heartbeat and the inventory say."""
    beat, report = evidence.heartbeat, evidence.inventory
    if beat is None:
        return Judgement("Pending", "NoHeartbeat", "its agent's reports were lost; the next one is awaited")
    if not beat.api_reachable:
        return _unless_asleep("ApiOffline", expected) or Judgement(
            "Degraded", "ApiUnreachable", beat.message or "the agent cannot read the cluster's API server"
        )
    if report is None:
        why = f": {beat.message}" if beat.message else ""
        return Judgement("Pending", "NoInventory", f"the agent has not reported the cluster's nodes yet{why}")
    stale = [kind for kind in _VITAL_KINDS if kind in report.inventory.stale_kinds]
    if stale:
        why = f": {beat.message}" if beat.message else ""
        return Judgement("Degraded", "StaleInventory", f"the agent cannot follow {' and '.join(stale)} objects{why}")
    if _is_of_before(report, beat) and beat.started_at <= beat.at - timeout:
        why = beat.message or "see the agent's log"
        message = (
            f"the agent started at {beat.started_at:%H:%M:%S} UTC and has not read the cluster's nodes since: {why}"
        )
        return Judgement("Degraded", "StaleInventory", message)
    return _of_nodes(report.inventory, expected)


def _is_of_before(report: InventoryReport, beat: Heartbeat) -> bool:
    """Tell whether the agent has not read the nodes since it started. Older agents say only when they read them."""
    if report.agent_started_at is None:
        return report.at < beat.started_at
    return report.agent_started_at < beat.started_at


def _of_nodes(inventory: Inventory, expected: _Expectation) -> Judgement:
    """Judge by the nodes' states. Nodes that may sleep are Offline while they do (docs/adr/0016)."""
    offline, total = inventory.node_states.get("Offline", 0), inventory.nodes
    if inventory.nodes_ready:
        told = f"{inventory.nodes_ready} of {_nodes(total)} {_are(total)} ready"
        return Judgement("Ready", "Proven", told + (f", {offline} {_are(offline)} offline" if offline else ""))
    asleep = _unless_asleep("NodesOffline", expected)
    if asleep is not None:
        return asleep
    if total and offline == total and inventory.form in _SLEEPERS and not expected.is_set:
        message = f"{_nodes(total)} of {total} {_are(total)} offline, as {_SLEEPERS[inventory.form]} may be"
        return Judgement("Asleep", "NodesOffline", f"{message}; spec.schedule would tell when it should be up")
    return Judgement("Degraded", "NoNodeReady", f"none of {_nodes(total)} is ready" if total else "it has no nodes")


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _unless_asleep(reason: str, expected: _Expectation) -> Judgement | None:
    """Take for sleep what would be trouble of a cluster that is awake: its agent may run on another machine."""
    if not expected.sleeps_because:
        return None
    return Judgement("Asleep", reason, f"{expected.message}; its agent is heard", wakes_at=expected.wakes_at)
