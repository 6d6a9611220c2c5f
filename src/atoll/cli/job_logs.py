"""The logs of jobs: of the newest run or of an earlier one, of one task or of all, once or as long as it goes on."""

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.jobs import POLL_SECONDS, read, tell, wait, why
from atoll.cli.output import hint
from atoll.cli.visible import VisibleOutput
from atoll.federation.capacity import parse_duration
from atoll.federation.errors import InvalidInput, NotFound, Unavailable
from atoll.federation.resources import FINISHED_JOB_PHASES, Job

# A log that breaks off sooner than this after it was asked for is not asked for again: it would go on for ever.
_LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class Wish:
    """What is to be printed.

    Attributes:
        tail: only so many lines of each pod; None: all.
        since_seconds: only what is younger; None: all.
        task: of an array, the task; of one that Slurm's words made, by the index that it has there.
        attempt: the number of a run; None: the newest, and with `follow` those after it, too.
        prefix: have each line say of which task or pod it is.
    """

    follow: bool = False
    tail: int | None = None
    since_seconds: int | None = None
    task: int | None = None
    attempt: int | None = None
    prefix: bool = False


def since_of(text: str | None) -> int | None:
    """Read a duration as whole seconds, no less than one. Raises InvalidInput."""
    if text is None:
        return None
    try:
        return max(1, math.ceil(parse_duration(text)))
    except InvalidInput as error:
        raise InvalidInput(f"--since: {error}") from error


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
            told = tell(job, told)
        if job.status.run and job.status.phase not in ("Pending", "Placed"):
            _print_what_there_is(api, job)
            return told
        if has_ended:
            return told
        time.sleep(POLL_SECONDS)


def _print_what_there_is(api: Api, job: Job) -> None:
    """Print a job's log; that there is none is said, and leaves the job's end to be told."""
    try:
        print_log(api, job.metadata.namespace or "default", job.metadata.name, Wish(follow=True))
    except (InvalidInput, NotFound, Unavailable) as error:
        hint(f"no log: {error}")


def print_log(api: Api, namespace: str, name: str, wish: Wish) -> None:
    """Copy a job's log to stdout as it comes; one that is followed is waited for, and from attempt to attempt.

    Raises:
        InvalidInput: there is no task of that index, or no such attempt.
        Unavailable: it has no run, and it has ended without one or shall not be waited for.
    """
    printed: str | None = None
    while True:
        is_waited_for = wish.follow and wish.attempt is None
        job = _await_run(api, namespace, name, after=printed) if is_waited_for else read(api, namespace, name)
        if printed is not None and job.status.run in (None, printed):
            return
        if job.status.run is None and wish.attempt is None:
            yet = "" if job.status.phase in FINISHED_JOB_PHASES else " yet"
            raise Unavailable(f"job/{name} has no run{yet}: {why(job)}{_earlier(job)}")
        if printed is not None:
            hint(f"run {job.status.run} on {job.status.cluster} follows:")
        _copy_log(api, job, wish)
        if not is_waited_for or wish.task is not None:
            return
        printed = job.status.run


def _earlier(job: Job) -> str:
    """Say how what a job printed before can be read, while it waits for another run."""
    return f"; --attempt {job.status.attempts} prints what it said before" if job.status.attempts else ""


def _query(job: Job, wish: Wish) -> dict[str, str]:
    """Give the request's parameters; of an array that was tried again, say what is left out without a task."""
    given = {"tailLines": wish.tail, "attempt": wish.attempt, "sinceSeconds": wish.since_seconds}
    query = {name: str(value) for name, value in given.items() if value is not None}
    query |= {name: "true" for name, is_set in (("follow", wish.follow), ("prefix", wish.prefix)) if is_set}
    if wish.task is not None:
        from atoll.cli.array_tasks import number_of

        query["task"] = str(number_of(job, wish.task))
    elif job.spec.array is not None and job.status.attempts > 1 and wish.attempt is None:
        hint(f"these are the tasks of attempt {job.status.attempts}; --task NUMBER prints any other")
    return query


def _copy_log(api: Api, job: Job, wish: Wish) -> None:
    """Print one run's log; one that is followed goes on where a connection broke off, once something came of it."""
    query, asked_at = _query(job, wish), time.monotonic()
    while True:
        printed_at = None
        try:
            for chunk in _chunks(api, job, query, has_prefix=wish.prefix):
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
                printed_at = time.monotonic()
            return
        except Unavailable:
            if not wish.follow or printed_at is None or time.monotonic() - asked_at < _LEAST_SECONDS:
                raise
            hint("the connection was lost: the log goes on, and its last lines may come twice")
        read(api, job.metadata.namespace or "default", job.metadata.name)  # which waits for a hub that is away
        asked_at = time.monotonic()
        age = math.ceil(asked_at - printed_at) + 1
        query = {name: value for name, value in query.items() if name != "tailLines"} | {"sinceSeconds": str(age)}


def _chunks(api: Api, job: Job, query: Mapping[str, str], *, has_prefix: bool) -> Iterable[bytes]:
    from atoll.cli.array_tasks import known_lines

    path = kinds.atoll("Job").path(job.metadata.namespace, job.metadata.name)
    chunks = api.chunks(f"{path}/log", query)
    return for_reader(known_lines(job, chunks) if has_prefix else chunks)


def for_reader(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Keep what a job prints from steering the terminal of who reads it; a pipe gets every byte."""
    if not sys.stdout.isatty():
        yield from chunks
        return
    output = VisibleOutput()
    for chunk in chunks:
        yield output.add(chunk)
    yield output.rest()


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
        time.sleep(POLL_SECONDS)
