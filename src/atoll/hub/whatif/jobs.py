"""What if a job were submitted now: where it would start, or why it would wait."""

from dataclasses import replace
from typing import Any

from atoll.federation.resources import Job, JobStatus
from atoll.hub.scheduler.cycle import plan_cycle
from atoll.hub.scheduler.snapshot import Snapshot
from atoll.hub.whatif.fates import stopped


def job(snapshot: Snapshot, wanted: Job) -> dict[str, Any]:
    """Decide about a job that the API would admit beside all that wait already, in its place among them."""
    metadata = wanted.metadata.model_copy(
        update={"creation_timestamp": snapshot.taken_at, "uid": wanted.metadata.uid or "whatif", "generation": 1}
    )
    submitted = wanted.model_copy(update={"metadata": metadata, "status": JobStatus()})
    plan = plan_cycle(replace(snapshot, jobs={**snapshot.jobs, submitted.key: submitted}))
    for placed in plan.placements:
        if placed.job.key == submitted.key:
            return _answer(submitted, starts=True, reason="Placed", record=placed.decision.to_dict())
    found = next(each for each in plan.waiting if each.job.key == submitted.key)
    answer = _answer(submitted, starts=False, reason=found.reason, message=found.message, record=found.record())
    return {**answer, "stops": sorted(stopped(plan, submitted.key))}


def _answer(
    submitted: Job, *, starts: bool, reason: str, message: str = "", record: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "job": submitted.key,
        "starts": starts,
        "reason": reason,
        "message": message,
        "decision": record,
        "stops": [],
    }
