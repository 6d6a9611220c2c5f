"""The pages of this room: what each reads, and where it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from atoll.federation.resources import Job, Run, run_prefix
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.jobs.book import JOBS, JobBook, JobRow
from atoll.hub.dashboard.jobs.job import JobScope, view_job
from atoll.hub.dashboard.jobs.listing import JobsModel, list_jobs
from atoll.hub.dashboard.jobs.timeline import Timeline, timeline
from atoll.hub.dashboard.page import NoSuchThing, Page
from atoll.hub.dashboard.sources import Sources


@dataclass(frozen=True)
class JobsScope:
    """What the list is made of."""

    rows: Mapping[str, JobRow]
    book: JobBook


@dataclass(frozen=True)
class JobsPage:
    """The list, and the lanes above it: those are laid out only for the part of the page that shows them."""

    list: JobsModel
    ask: Ask

    @cached_property
    def timeline(self) -> Timeline:
        """What ran where, of all that the filter lets through."""
        return timeline(self.list.matching, self.ask)


async def fetch_jobs(sources: Sources, _ask: Ask) -> JobsScope:
    """Read all jobs."""
    return JobsScope(await sources.rows(JOBS), sources.shelf(JOBS).book)


def view_jobs(scope: JobsScope, ask: Ask) -> JobsPage:
    """Choose what the user may see, and what the filter lets through."""
    return JobsPage(list_jobs(scope.rows, scope.book, ask), ask)


async def fetch_job(sources: Sources, ask: Ask) -> JobScope:
    """Read one job and its runs."""
    namespace, name = ask.params["namespace"], ask.params["name"]
    job = await sources.get(Job, namespace, name) if ask.rights.may("get", "jobs", namespace) else None
    if job is None:
        raise NoSuchThing(f"There is no job {namespace}/{name} that you may see.", f"atoll job list -n {namespace}")
    named = await sources.several(Run, namespace, name_prefix=run_prefix(name))
    return JobScope(job, tuple(run for run in named if run.spec.job == name))


PAGES: Sequence[Page] = (
    Page("jobs", "/jobs", "Jobs", "jobs/jobs.html", fetch_jobs, view_jobs, watches=("jobs",), nav="Jobs"),
    Page(
        "job",
        "/jobs/{namespace}/{name}",
        "Job",
        "jobs/job.html",
        fetch_job,
        view_job,
        watches=("jobs", "runs"),
        parent="jobs",
    ),
)
