"""A change of the jobs that were chosen: each by itself, with a line of what came of it."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from atoll.cli.api import Api
from atoll.cli.choosing import HubChoice
from atoll.cli.failure import report
from atoll.cli.hub import connect
from atoll.cli.job_choosing import Choice
from atoll.cli.job_matching import confirm, matching
from atoll.cli.output import hint, say
from atoll.federation.errors import AtollError
from atoll.federation.resources import FINISHED_JOB_PHASES, Job

# Changes that are asked for side by side: a thousand jobs then take some seconds.
_AT_ONCE = 8

# Of the jobs that match, those of which a change means something; a phase that was named counts more.
_CONCERNED: Mapping[str, Callable[[Job], bool]] = {
    "cancel": lambda job: job.status.phase not in FINISHED_JOB_PHASES and not job.spec.cancelled,
    "requeue": lambda job: job.status.phase != "Succeeded",
    "hold": lambda job: job.status.phase not in FINISHED_JOB_PHASES and not job.spec.held,
    "release": lambda job: job.spec.held,
}


def change(verb: str, how: Callable[..., str], choice: Choice, *, dry_run: bool, hub: HubChoice) -> int:
    """Have jobs changed, and say of each what came of it; give the exit code.

    Raises:
        InvalidInput: no job was chosen, or many that nobody has confirmed.
    """
    choice.check()
    with connect(hub) as api:
        chosen = [(choice.namespace, name) for name in choice.names] or _matching(api, verb, choice, dry_run=dry_run)
        if not chosen:
            return 0
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            done = list(pool.map(partial(_changed, api, how, dry_run=dry_run), chosen))
        return max([_tell(each, with_namespace=choice.all_namespaces, dry_run=dry_run) for each in done])


@dataclass(frozen=True)
class _Done:
    namespace: str
    name: str
    outcome: str = ""
    error: AtollError | None = None


def _matching(api: Api, verb: str, choice: Choice, *, dry_run: bool) -> list[tuple[str, str]]:
    """Find the jobs that match, and ask about them; none if the answer is no. That there is none to change is said."""
    concerned = _CONCERNED[verb]
    is_named = verb == "requeue" and bool(choice.phase)
    jobs = [job for job in matching(api, choice.where, choice) if is_named or concerned(job)]
    if not jobs:
        hint(f"no job to {verb}")
    if not confirm(verb, jobs, is_sure=choice.yes or dry_run):
        hint("nothing was changed")
        return []
    return [(job.metadata.namespace or "default", job.metadata.name) for job in jobs]


def _changed(api: Api, how: Callable[..., str], which: tuple[str, str], *, dry_run: bool) -> _Done:
    try:
        return _Done(*which, outcome=how(api, *which, dry_run=dry_run))
    except AtollError as error:  # of one among many: the others are done
        return _Done(*which, error=error)


def _tell(done: _Done, *, with_namespace: bool, dry_run: bool) -> int:
    if done.error is not None:
        return report(done.error)
    where = f" -n {done.namespace}" if with_namespace else ""
    say(f"job.atoll.dev/{done.name}{where} {done.outcome}{' (dry run)' if dry_run else ''}")
    return 0
