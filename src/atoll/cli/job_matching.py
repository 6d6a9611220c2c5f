"""Which jobs match a choice, and whether many of them are really meant."""

import sys
from collections.abc import Sequence
from typing import get_args

import typer

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.identities import identify
from atoll.cli.job_choosing import PhaseChoice, Wanted
from atoll.cli.output import hint, plural
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import FINISHED_JOB_PHASES, Job
from atoll.federation.resources.job import JobPhase
from atoll.federation.resources.submitter import SUBMITTER

_PHASES: frozenset[str] = frozenset(get_args(JobPhase))
_HALVES = {PhaseChoice.ACTIVE: _PHASES - FINISHED_JOB_PHASES, PhaseChoice.ENDED: FINISHED_JOB_PHASES}
_TOLD = 10


def phases_of(wanted: Wanted) -> frozenset[str]:
    """Give the phases that are meant; all if none was named."""
    named = [_HALVES.get(phase, frozenset({str(phase)})) for phase in wanted.phase]
    return frozenset().union(*named) if named else _PHASES


def fields_of(wanted: Wanted) -> str:
    """Give the field selector of a choice: of phases it excludes the others, for selectors know no `or`."""
    terms = [f"spec.queue={wanted.queue}"] if wanted.queue else []
    return ",".join([*terms, *(f"status.phase!={phase}" for phase in sorted(_PHASES - phases_of(wanted)))])


def submitter_of(api: Api, wanted: Wanted) -> str:
    """Give whose jobs are meant; empty: everybody's."""
    return identify(api).user if wanted.user == "me" else wanted.user


def matching(api: Api, namespace: str, wanted: Wanted) -> list[Job]:
    """Read the jobs of a namespace, or of all if it is empty, that are chosen; field selectors know no annotations."""
    given = {"labelSelector": wanted.selector, "fieldSelector": fields_of(wanted)}
    query = {name: text for name, text in given.items() if text}
    answer = api.get(kinds.atoll("Job").collection(namespace or None), query)
    jobs = [Job.model_validate(item) for item in answer.get("items") or ()]
    user = submitter_of(api, wanted)
    return [job for job in jobs if not user or job.metadata.annotations.get(SUBMITTER) == user]


def confirm(verb: str, jobs: Sequence[Job], *, is_sure: bool) -> bool:
    """Ask whether many jobs are to be changed; one is changed without a question.

    Raises:
        InvalidInput: nobody is there to be asked.
    """
    if is_sure or len(jobs) < 2:
        return True
    count = plural(len(jobs), "job")
    for job in jobs[:_TOLD]:
        where = f" on {job.status.cluster}" if job.status.cluster else ""
        hint(f"  {job.metadata.namespace}/{job.metadata.name} {job.status.phase}{where}")
    if len(jobs) > _TOLD:
        hint(f"  and {len(jobs) - _TOLD} more")
    if not sys.stdin.isatty():
        raise InvalidInput(f"{count} match: with --yes it is done to all of them, with --dry-run to none")
    return typer.confirm(f"{verb} these {count}?", err=True)
