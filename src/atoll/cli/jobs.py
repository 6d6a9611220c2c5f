"""What the `job` commands do with a job that exists: its log, and waiting for its end."""

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
    """Copy a job's log to stdout as it comes.

    Raises:
        Unavailable: it has no run yet.
    """
    job = read(api, namespace, name)
    if job.status.run is None:
        raise Unavailable(
            f"job/{name} has no run yet: {job.status.phase} {job.status.reason} {job.status.message}".strip()
        )
    query = {"follow": "true"} if follow else {}
    if tail is not None:
        query["tailLines"] = str(tail)
    for chunk in api.chunks(f"{kinds.atoll('Job').path(namespace, name)}/log", query):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _tell(job: Job, told: str) -> str:
    status = job.status
    where = f" on {status.cluster}" if status.cluster else ""
    why = f": {status.reason} {status.message}".rstrip() if status.reason and status.phase != "Succeeded" else ""
    line = f"job/{job.metadata.name} {status.phase}{where}{why}"
    if line != told:
        hint(line)
    return line
