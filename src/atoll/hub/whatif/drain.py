"""What if a cluster were drained: which runs would stay, move or wait, and what that costs those that wait already.

The steps between are the run controller's (fence.py: who has to go) and the job controller's (plan_job: what a run that
had to go means for its job). The answer is what holds once the runs that are stopped have ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from atoll.federation.errors import NotFound
from atoll.federation.placement import recorded_terms
from atoll.federation.resources import Cluster, Job, Run
from atoll.federation.resources.run import DISPLACED, DRAINED
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.job_plan import plan_job
from atoll.hub.scheduler.snapshot import Snapshot
from atoll.hub.whatif.fates import Fate, differences, fates

Evict = Literal["ByPolicy", "All"]
Effect = Literal["Stays", "Stops", "Doubles"]
_NOT_ORDERED_YET = frozenset({"Pending", "Staging"})


@dataclass(frozen=True)
class _Affected:
    """A run on the cluster, its job, and what the drain does to it."""

    run: Run
    job: Job
    effect: Effect


def drain(snapshot: Snapshot, name: str, evict: Evict) -> dict[str, Any]:
    """Compare the next cycle with the one that would follow a drain.

    Raises:
        NotFound: there is no such cluster.
    """
    cluster = next((each for each in snapshot.clusters if each.metadata.name == name), None)
    if cluster is None:
        raise NotFound(f"cluster {name!r} does not exist; atoll cluster list shows those that do")
    affected = [_affected(run, job, evict) for run in snapshot.active_runs() if run.spec.cluster == name
                and (job := snapshot.job_of(run)) is not None]  # fmt: skip
    before, after = fates(snapshot), fates(drained(snapshot, cluster, affected, evict))
    return {
        "cluster": name,
        "evict": evict,
        "runs": [_told(each, after, snapshot) for each in affected],
        "pending": differences(before, after),
    }


def drained(snapshot: Snapshot, cluster: Cluster, affected: list[_Affected], evict: Evict) -> Snapshot:
    """See everything as it is when the cluster is drained and the runs that have to go have ended."""
    spec = cluster.spec.model_copy(update={"unschedulable": True, "draining": True, "evict": evict})
    clusters = tuple(each.model_copy(update={"spec": spec}) if each is cluster else each for each in snapshot.clusters)
    ended = {each.run.key: _after(each, snapshot) for each in affected if each.effect != "Stays"}
    runs = tuple(ended.get(run.key, run) for run in snapshot.runs)
    jobs = dict(snapshot.jobs)
    for each in affected:
        if each.effect != "Stays":
            own = [run for run in runs if snapshot.job_of(run) is each.job]
            status = plan_job(each.job, own, snapshot.taken_at).status
            jobs[each.job.key] = each.job.model_copy(update={"status": status})
    return replace(snapshot, clusters=clusters, runs=runs, jobs=jobs)


def _affected(run: Run, job: Job, evict: Evict) -> _Affected:
    """Tell what a drain does to a run; what succeeded already, or is being stopped, ends as it would have."""
    if run.spec.cancelled or run.status.phase == "Committing":
        return _Affected(run, job, "Stays")
    if run.status.phase in _NOT_ORDERED_YET:
        return _Affected(run, job, "Stops")
    match job.spec.loss_policy:
        case "Wait":
            return _Affected(run, job, "Stops" if evict == "All" else "Stays")
        case "Duplicate":
            return _Affected(run, job, "Doubles")
    return _Affected(run, job, "Stops")


def _after(affected: _Affected, snapshot: Snapshot) -> Run:
    """Give a run as it will be: ended, or marked as one that may be left behind."""
    run, now = affected.run, snapshot.taken_at
    message = f"cluster {run.spec.cluster} is drained"
    marks = with_condition(run.status.conditions, DISPLACED, True, reason=DRAINED, message=message, now=now)
    update: dict[str, Any] = {"conditions": marks, "reason": DRAINED, "message": message}
    if affected.effect == "Stops":
        update |= {"phase": "Failed", "finished_at": now}
    return run.model_copy(update={"status": run.status.model_copy(update=update)})


def _told(affected: _Affected, after: Mapping[str, Fate], snapshot: Snapshot) -> dict[str, Any]:
    """Say of a run what becomes of it, and what that costs beside staying."""
    run, job = affected.run, affected.job
    fate = after.get(job.key) if affected.effect != "Stays" else None
    remaining, lost = _remaining_seconds(run, snapshot), _done_seconds(run, snapshot)
    later = (
        fate.total_seconds - remaining if fate and fate.total_seconds is not None and remaining is not None else None
    )
    return {
        "run": run.key,
        "job": job.key,
        "lossPolicy": job.spec.loss_policy,
        "effect": affected.effect,
        "remainingSeconds": remaining,
        "lostSeconds": lost if affected.effect == "Stops" else 0.0,
        "laterSeconds": later,
        "next": fate.record() if fate is not None else None,
    }


def _done_seconds(run: Run, snapshot: Snapshot) -> float:
    started_at = run.status.started_at
    return max(0.0, (snapshot.taken_at - started_at).total_seconds()) if started_at is not None else 0.0


def _remaining_seconds(run: Run, snapshot: Snapshot) -> float | None:
    """Give how long a run would have gone on, from what was expected when it was placed; None if that is not known."""
    expected = recorded_terms(run.spec.decision, run.spec.cluster).get("runSeconds")
    return max(0.0, expected - _done_seconds(run, snapshot)) if expected is not None else None
