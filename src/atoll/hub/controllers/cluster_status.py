"""What a judgement makes of Cluster.status, and when that is worth a write. Pure.

Each write is an fsync, wakes every watcher and is packed into every cache, and a busy cluster changes with each pod. So
three sorts of changes are told apart: what people wait for is written at once, how much room there is every few
seconds, and dates and counts alone still more rarely. Scheduling does not wait for any of it: it reads the reports
themselves.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from atoll.federation.resources import ClusterStatus, Inventory, MeshLink
from atoll.hub.conditions import with_condition
from atoll.hub.controllers import meshes
from atoll.hub.controllers.cluster_phase import Evidence, Judgement
from atoll.hub.controllers.meshes import MeshEvidence

# Shorter, and a thousand clusters that start pods write more than a store on one disk takes (some 800 a second);
# longer, and people who watch a cluster fill see steps.
ROOM_SECONDS = 5.0
# A Ready cluster's date is written this part of the heartbeat time-out apart: what is shown never looks stale.
_PROOF_PART = 0.5


@dataclass(frozen=True)
class Write:
    """A status to be stored, and in how many seconds the rest of what is new may be (None: nothing is held back)."""

    status: ClusterStatus
    rest_in_seconds: float | None = None
    tells_room: bool = False


def plan_status(
    old: ClusterStatus, evidence: Evidence, *, judgement: Judgement, now: datetime, generation: int | None
) -> ClusterStatus:
    """Give the status that a judgement and its evidence make."""
    claim = {"Ready": True, "Pending": None}.get(judgement.phase, False)
    conditions = with_condition(
        old.conditions, "Ready", claim, reason=judgement.reason, message=judgement.message, now=now
    )
    mesh = evidence.mesh or MeshEvidence()
    status = old.model_copy(
        update={
            "phase": judgement.phase,
            "reason": judgement.reason,
            "message": judgement.message,
            "wakes_at": judgement.wakes_at,
            "inventory": evidence.inventory.inventory if evidence.inventory is not None else old.inventory,
            "links": meshes.links_of(mesh),
            "mesh": meshes.facts_of(mesh),
            "warnings": evidence.warnings if evidence.warnings is not None else old.warnings,
            "last_proven_at": evidence.proven_at or old.last_proven_at,
            "lost_since": judgement.lost_since,
            "agent_version": evidence.heartbeat.agent_version if evidence.heartbeat is not None else old.agent_version,
            "observed_generation": generation,
        }
    )
    conditions = meshes.with_mesh_condition(conditions, mesh, now, is_lost=status.is_silent)
    return status.model_copy(update={"conditions": conditions})


def pace(old: ClusterStatus, new: ClusterStatus, *, room_in_seconds: float, timeout_seconds: float) -> Write:
    """Decide what of a new status is written now.

    Args:
        old: what is stored.
        new: what is known.
        room_in_seconds: when changes of room may be written again; 0 for now.
        timeout_seconds: the heartbeat time-out.
    """
    if _lasting(old) != _lasting(new):
        return Write(new, tells_room=True)
    if _room(old) != _room(new):
        return Write(new, tells_room=True) if room_in_seconds <= 0 else Write(old, room_in_seconds)
    return Write(new if _is_worth_a_date(old, new, timedelta(seconds=timeout_seconds * _PROOF_PART)) else old)


def seconds_until_room(told_at: datetime | None, now: datetime) -> float:
    """Tell when changes of room may be written again, by when they were last; 0 for now, also after a clock was set."""
    left = ROOM_SECONDS - (now - told_at).total_seconds() if told_at is not None else 0.0
    return left if 0 < left <= ROOM_SECONDS else 0.0


def _is_worth_a_date(old: ClusterStatus, new: ClusterStatus, step: timedelta) -> bool:
    if old.last_proven_at is None or new.last_proven_at is None:
        return True
    return abs(new.last_proven_at - old.last_proven_at) >= step


def _lasting(status: ClusterStatus) -> tuple[ClusterStatus, list[tuple[object, ...]]]:
    """Leave out of a status what changes with every pod and every heartbeat; links are many, and looked at by field."""
    rest = status.model_copy(
        update={
            "message": "",
            "inventory": _described(status.inventory) if status.inventory is not None else None,
            "links": (),
            "warnings": (),
            "mesh": status.mesh.model_copy(update={"seen_at": None}) if status.mesh is not None else None,
            "conditions": tuple(each.model_copy(update={"message": ""}) for each in status.conditions),
            "last_proven_at": None,
        }
    )
    return rest, [_dateless(link) for link in status.links]


def _described(inventory: Inventory) -> Inventory:
    """Keep of an inventory what the cluster is, without how much there is of it."""
    classes = tuple(info.model_copy(update={"free_bytes": None}) for info in inventory.storage_classes)
    return Inventory(
        version=inventory.version,
        distribution=inventory.distribution,
        cni=inventory.cni,
        cni_version=inventory.cni_version,
        form=inventory.form,
        storage_classes=classes,
        workload_kinds=inventory.workload_kinds,
        batch_engines=inventory.batch_engines,
        stale_kinds=inventory.stale_kinds,
    )


def _dateless(link: MeshLink) -> tuple[object, ...]:
    views = (link.is_connected, link.is_ready, link.reaches_no_node)
    return (link.peer, *views, link.is_expected, link.is_cached, link.cache_problem)


def _room(status: ClusterStatus) -> tuple[object, ...]:
    warnings = tuple((each.owner, each.kind, each.name, each.reason, each.message) for each in status.warnings)
    return (status.message, status.inventory, tuple(condition.message for condition in status.conditions), warnings)
