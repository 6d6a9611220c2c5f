"""What the `job` commands do with a job that exists: hold, release and cancel it, its log, and waiting for its end."""

import sys
import time

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.output import hint
from atoll.federation.errors import Unavailable
from atoll.federation.resources import FINISHED_JOB_PHASES, Job

UNMET = 3
_POLL_SECONDS = 0.3


def read(api: Api, namespace: str, name: str) -> Job:
    """Read a job."""
    return Job.model_validate(api.get(kinds.atoll("Job").path(namespace, name)))


def cancel(api: Api, namespace: str, name: str, *, dry_run: bool) -> str:
    """Stop a job unless it has ended; give the words for what came of it."""
    ended = read(api, namespace, name).status.phase
    if ended in FINISHED_JOB_PHASES:
        return f"had ended already: {ended}"
    api.merge(kinds.atoll("Job").path(namespace, name), {"spec": {"cancelled": True}}, dry_run=dry_run)
    return "cancelled"


def hold(api: Api, namespace: str, name: str, *, dry_run: bool) -> str:
    """Let a job not be placed until it is released; give the words for what came of it."""
    status = read(api, namespace, name).status
    if status.phase in FINISHED_JOB_PHASES:
        return f"had ended already: {status.phase}"
    api.merge(kinds.atoll("Job").path(namespace, name), {"spec": {"held": True}}, dry_run=dry_run)
    return "held" if status.phase == "Pending" else "held: the run that it has goes on, a further one waits"


def release(api: Api, namespace: str, name: str, *, dry_run: bool) -> str:
    """Let a held job be placed; give the words for what came of it."""
    if not read(api, namespace, name).spec.held:
        return "was not held"
    api.merge(kinds.atoll("Job").path(namespace, name), {"spec": {"held": False}}, dry_run=dry_run)
    return "released"


def wait(api: Api, namespace: str, name: str, *, timeout_seconds: float | None, told: str = "") -> int:
    """Wait for the end; tell each new phase but the one that was told already; give the exit code."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        job = read(api, namespace, name)
        told = _tell(job, told)
        if job.status.phase in FINISHED_JOB_PHASES:
            return 0 if job.status.phase == "Succeeded" else UNMET
        if deadline is not None and time.monotonic() > deadline:
            hint(f"job/{name} is still {job.status.phase} after {timeout_seconds:g} s")
            return UNMET
        time.sleep(_POLL_SECONDS)


def see_through(api: Api, namespace: str, name: str, *, with_log: bool) -> int:
    """Wait for the end of a job, printing its log if asked; interrupted, say that the job goes on."""
    try:
        told = follow_log(api, namespace, name) if with_log else ""
        return wait(api, namespace, name, timeout_seconds=None, told=told)
    except KeyboardInterrupt:
        hint(f"job/{name} goes on; atoll job logs {name} -n {namespace} -f")
        raise


def follow_log(api: Api, namespace: str, name: str) -> str:
    """Print the log from the first run's start to its end, if it comes to one; give the phase that was told last."""
    told = ""
    while True:
        job = read(api, namespace, name)
        told = _tell(job, told)
        if job.status.run and job.status.phase not in ("Pending", "Placed"):
            print_log(api, namespace, name, follow=True, tail=None)
            return told
        if job.status.phase in FINISHED_JOB_PHASES:
            return told
        time.sleep(_POLL_SECONDS)


def print_log(api: Api, namespace: str, name: str, *, follow: bool, tail: int | None) -> None:
    """Copy a job's log to stdout as it comes; one that is followed is waited for.

    Raises:
        Unavailable: it has no run, and it has ended without one or shall not be waited for.
    """
    job = _await_run(api, namespace, name) if follow else read(api, namespace, name)
    if job.status.run is None:
        yet = "" if job.status.phase in FINISHED_JOB_PHASES else " yet"
        raise Unavailable(f"job/{name} has no run{yet}: {why(job)}")
    query = {"follow": "true"} if follow else {}
    if tail is not None:
        query["tailLines"] = str(tail)
    for chunk in api.chunks(f"{kinds.atoll('Job').path(namespace, name)}/log", query):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def why(job: Job) -> str:
    """Say in one line how far a job is, and why."""
    return " ".join(part for part in (job.status.phase, job.status.reason, job.status.message) if part)


def _await_run(api: Api, namespace: str, name: str) -> Job:
    """Wait until a job has something to print or has ended; tell each reason to wait once."""
    told: set[str] = set()
    while True:
        job = read(api, namespace, name)
        is_waiting = job.status.run is None or job.status.phase in ("Pending", "Placed")
        if not is_waiting or job.status.phase in FINISHED_JOB_PHASES:
            return job
        line = f"waiting: {why(job)}"
        if line not in told:
            hint(line)
            told.add(line)
        time.sleep(_POLL_SECONDS)


def _tell(job: Job, told: str) -> str:
    status = job.status
    where = f" on {status.cluster}" if status.cluster else ""
    why = f": {status.reason} {status.message}".rstrip() if status.reason and status.phase != "Succeeded" else ""
    line = f"job/{job.metadata.name} {status.phase}{where}{why}"
    if line != told:
        hint(line)
    return line
