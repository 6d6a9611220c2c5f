"""What the `job` commands read of jobs that exist, and commands in their pods.

Logs are in job_logs.py, changes in job_changes.py.
"""

import sys
import time
from dataclasses import dataclass, replace

from atoll.cli import kinds, listing
from atoll.cli.api import Api
from atoll.cli.choosing import HubChoice
from atoll.cli.hub import connect
from atoll.cli.job_choosing import Wanted
from atoll.cli.job_matching import fields_of, submitter_of
from atoll.cli.options import Output
from atoll.cli.output import hint
from atoll.federation.resources import FINISHED_JOB_PHASES, Job

UNMET = 3
POLL_SECONDS = 0.3


def read(api: Api, namespace: str, name: str) -> Job:
    """Read a job."""
    return Job.model_validate(api.get(kinds.atoll("Job").path(namespace, name)))


def show_list(namespace: str, wanted: Wanted, *, output: Output, watch: bool, hub: HubChoice) -> None:
    """Print the jobs that are wanted."""
    with connect(hub) as api:
        query = listing.Query.of("jobs", None, namespace=namespace, selector=wanted.selector)
        query = replace(query, submitter=submitter_of(api, wanted), fields=fields_of(wanted))
        listing.show(api, query, output, watch=watch)


def wait(api: Api, namespace: str, name: str, *, timeout_seconds: float | None, told: str = "") -> int:
    """Wait for the end; tell each new phase but the one that was told already; give the exit code."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        job = read(api, namespace, name)
        told = tell(job, told)
        if job.status.phase in FINISHED_JOB_PHASES:
            return 0 if job.status.phase == "Succeeded" else UNMET
        if deadline is not None and time.monotonic() > deadline:
            hint(f"job/{name} is still {job.status.phase} after {timeout_seconds:g} s")
            return UNMET
        time.sleep(POLL_SECONDS)


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
    return f"{job.status.phase}{_because(job)}"


def _because(job: Job) -> str:
    status = job.status
    reason = f" ({status.reason})" if status.reason not in ("", status.phase) else ""
    return f"{reason}: {status.message}" if status.message else reason


def tell(job: Job, told: str) -> str:
    """Tell the phase of a job unless it was told already; give what was told last."""
    status = job.status
    where = f" on {status.cluster}" if status.cluster else ""
    line = f"job/{job.metadata.name} {status.phase}{where}{_because(job) if status.phase != 'Succeeded' else ''}"
    if line != told:
        hint(line)
    return line
