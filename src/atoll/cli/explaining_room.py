"""What `job explain` says of room that is kept for a job, of runs that make room for it, and of its own that did."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.federation.placement import recorded_claim
from atoll.federation.resources import Job, Run

# Of a job that was stopped again and again, the last times are enough.
_MOST_ATTEMPTS = 5


def promised(record: Mapping[str, Any]) -> list[str]:
    """Say what room is kept for a waiting job, and who leaves for it."""
    claim = recorded_claim(record)
    if not claim:
        return []
    where, victims = claim.get("cluster"), claim.get("victims") or ()
    if claim.get("kind") == "Preempting":
        runs = ", ".join(map(str, victims)) or "runs that have left"
        return [f"stopped for it on {where}, where its room is kept: {runs}"]
    starts, latest = (instant(claim.get(name)) for name in ("startsAt", "latestAt"))
    return [f"room on {where} is kept for it, expected at {starts}; from {latest} on nothing else starts in it"]


def instant(recorded: object) -> str:
    """Write an instant of a record, which is in UTC, for people: to the second."""
    return f"{str(recorded)[:19].replace('T', ' ')} UTC"


def stopped(api: Api, job: Job) -> list[str]:
    """Say which attempts of a job were stopped for another one, and why."""
    return [
        f"attempt {run.spec.epoch} on {run.spec.cluster} was stopped at {_at(why.at)}: {why.message}"
        for run in _attempts(api, job)
        if (why := run.spec.preempted) is not None
    ]


def _at(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _attempts(api: Api, job: Job) -> Iterator[Run]:
    newest = job.status.attempts
    for epoch in range(max(1, newest - _MOST_ATTEMPTS + 1), newest + 1):
        path = kinds.atoll("Run").path(job.metadata.namespace or "default", f"{job.metadata.name}-{epoch}")
        if (found := api.find(path)) is not None:
            yield Run.model_validate(found)
