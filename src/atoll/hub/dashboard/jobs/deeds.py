"""What can be done to a job. Pure."""

from collections.abc import Mapping
from typing import Any

from atoll.federation.resources import FINISHED_JOB_PHASES
from atoll.hub.dashboard.actions import Deed, first, patching, setting, unless
from atoll.kubeapi.resource import Object


def _requeued(job: Object) -> Mapping[str, Any]:
    """Count up what is there; the revision guards the count, so that two requests at one moment are not one."""
    spec = {"requeues": job["spec"].get("requeues", 0) + 1, "cancelled": False, "stopGrace": None}
    return {"metadata": {"resourceVersion": job["metadata"]["resourceVersion"]}, "spec": spec}


def _has_ended(job: Object) -> str:
    phase = (job.get("status") or {}).get("phase", "Pending")
    return f"it has ended: {phase}" if phase in FINISHED_JOB_PHASES else ""


DEEDS: Mapping[str, Deed] = {
    "hold": Deed(
        "jobs",
        "Hold",
        "atoll job hold {name} -n {namespace}",
        setting("jobs", held=True),
        first(_has_ended, unless("held", False, "it is held already")),
    ),
    "release": Deed(
        "jobs",
        "Release",
        "atoll job release {name} -n {namespace}",
        setting("jobs", held=False),
        unless("held", True, "it is not held"),
    ),
    "requeue": Deed(
        "jobs",
        "Requeue",
        "atoll job requeue {name} -n {namespace}",
        patching("jobs", _requeued),
        confirm="Stop {name} if it runs, and have it placed again?",
    ),
    "cancel": Deed(
        "jobs",
        "Cancel",
        "atoll job cancel {name} -n {namespace}",
        setting("jobs", cancelled=True, stopGrace=None),
        first(_has_ended, unless("cancelled", False, "it is being cancelled")),
        confirm="Cancel {name}? What it has not written is lost.",
        tone="danger",
    ),
}
