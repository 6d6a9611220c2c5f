"""What the `job` commands read of a job that exists: its log, and its end. Changes are in job_changes.py."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from atoll.cli import kinds, listing
from atoll.cli.api import Api
from atoll.cli.choosing import HubChoice
from atoll.cli.hub import connect
from atoll.cli.identities import identify
from atoll.cli.options import Output
from atoll.cli.output import hint
from atoll.federation.errors import InvalidInput, NotFound, Unavailable
from atoll.federation.resources import FINISHED_JOB_PHASES, Job

UNMET = 3
_POLL_SECONDS = 0.3


def read(api: Api, namespace: str, name: str) -> Job:
    """Read a job."""
    return Job.model_validate(api.get(kinds.atoll("Job").path(namespace, name)))


def show_list(namespace: str, user: str, *, output: Output, watch: bool, hub: HubChoice) -> None:
    """Print jobs, of all users or of one; `me` is who asks."""
    with connect(hub) as api:
        submitter = identify(api).user if user == "me" else user
        query = replace(listing.Query.of("jobs", None, namespace=namespace), submitter=submitter)
        listing.show(api, query, output, watch=watch)


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
        has_ended = job.status.phase in FINISHED_JOB_PHASES
        if not has_ended:  # the end is told after the output
            told = _tell(job, told)
        if job.status.run and job.status.phase not in ("Pending", "Placed"):
            _print_what_there_is(api, job)
            return told
        if has_ended:
            return told
        time.sleep(_POLL_SECONDS)


def _print_what_there_is(api: Api, job: Job) -> None:
    """Print a job's log; that there is none is said, and leaves the job's end to be told."""
    try:
        print_log(api, job.metadata.namespace or "default", job.metadata.name, follow=True, tail=None)
    except (InvalidInput, NotFound, Unavailable) as error:
        hint(f"no log: {error}")


def print_log(api: Api, namespace: str, name: str, *, follow: bool, tail: int | None, task: int | None = None) -> None:
    """Copy a job's log to stdout as it comes; one that is followed is waited for, and from attempt to attempt.

    Args:
        task: of an array, the task; of one that Slurm's words made, by the index that it has there.

    Raises:
        InvalidInput: there is no task of that index.
        Unavailable: it has no run, and it has ended without one or shall not be waited for.
    """
    printed: str | None = None
    while True:
        job = _await_run(api, namespace, name, after=printed) if follow else read(api, namespace, name)
        if printed is not None and job.status.run in (None, printed):
            return
        if job.status.run is None:
            yet = "" if job.status.phase in FINISHED_JOB_PHASES else " yet"
            raise Unavailable(f"job/{name} has no run{yet}: {why(job)}")
        if printed is not None:
            hint(f"run {job.status.run} on {job.status.cluster} follows:")
        _copy_log(api, job, _log_query(job, follow=follow, tail=tail, task=task))
        if not follow or task is not None:
            return
        printed = job.status.run


def _log_query(job: Job, *, follow: bool, tail: int | None, task: int | None) -> dict[str, str]:
    """Give the request's parameters; of an array that was tried again, say what is left out without a task."""
    query = {"follow": "true"} if follow else {}
    if tail is not None:
        query["tailLines"] = str(tail)
    if task is not None:
        from atoll.cli.array_tasks import number_of

        query["task"] = str(number_of(job, task))
    elif job.spec.array is not None and job.status.attempts > 1:
        hint(f"these are the tasks of attempt {job.status.attempts}; --task NUMBER prints any other")
    return query


def _copy_log(api: Api, job: Job, query: Mapping[str, str]) -> None:
    path = kinds.atoll("Job").path(job.metadata.namespace, job.metadata.name)
    for chunk in api.chunks(f"{path}/log", query):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@dataclass(frozen=True)
class RemoteCommand:
    """A command for a container of a job; `pod` and `container` None: the first ones."""

    words: tuple[str, ...]
    pod: str | None = None
    container: str | None = None
    has_stdin: bool = False
    wants_terminal: bool = False


def execute(api: Api, namespace: str, name: str, wanted: RemoteCommand) -> int:
    """Run a command in a job's pod with this process's streams; give its exit code."""
    from atoll.cli.remote import Remote
    from atoll.cli.remote import execute as execute_remote

    has_terminal = wanted.wants_terminal and sys.stdin.isatty()
    if wanted.wants_terminal and not has_terminal:
        hint("stdin is no terminal: the command gets none")
    chosen = {"pod": wanted.pod, "container": wanted.container}
    flags = {"stdin": wanted.has_stdin, "stdout": True, "stderr": not has_terminal, "tty": has_terminal}
    query = (
        *(("command", word) for word in wanted.words),
        *((key, value) for key, value in chosen.items() if value),
        *((key, "true") for key, is_wanted in flags.items() if is_wanted),
    )
    path = f"{kinds.atoll('Job').path(namespace, name)}/exec"
    return execute_remote(Remote(api.server, api.credentials, path, query, wanted.has_stdin, has_terminal))


def why(job: Job) -> str:
    """Say in one line how far a job is, and why."""
    return " ".join(part for part in (job.status.phase, job.status.reason, job.status.message) if part)


def _await_run(api: Api, namespace: str, name: str, *, after: str | None) -> Job:
    """Wait until a job has a run to print, other than the one before, or has ended; tell each reason to wait once."""
    told: set[str] = set()
    while True:
        job = read(api, namespace, name)
        has_none = job.status.phase in ("Pending", "Placed")
        is_waiting = has_none or job.status.run in (None, after)
        if not is_waiting or job.status.phase in FINISHED_JOB_PHASES:
            return job
        line = f"waiting: {why(job)}"
        if line not in told and (has_none or job.status.reason):
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
