"""The pages of this room: what each reads, and where it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.jobs.book import JOBS, JobBook
from atoll.hub.dashboard.page import NoSuchThing, Page
from atoll.hub.dashboard.queues import tree
from atoll.hub.dashboard.queues.rows import QUEUES, QueueRow
from atoll.hub.dashboard.queues.trend import Sample, TrendModel, view_trend
from atoll.hub.dashboard.sources import Sources


@dataclass(frozen=True)
class QueuesScope:
    """What the pages are made of."""

    rows: Mapping[str, QueueRow]
    book: JobBook
    samples: Sequence[Sample] = ()


async def fetch_queues(sources: Sources, ask: Ask) -> QueuesScope:
    """Read all queues, and what is counted of jobs; who may not list queues sees none."""
    await sources.rows(JOBS)
    rows = await sources.rows(QUEUES)
    if not ask.rights.sees("queues"):
        return QueuesScope({}, JobBook())
    return QueuesScope(rows, sources.shelf(JOBS).book, sources.trend.samples)


async def fetch_queue(sources: Sources, ask: Ask) -> QueuesScope:
    """Read the same, if the queue is there."""
    scope = await fetch_queues(sources, ask)
    if ask.params["name"] not in scope.rows:
        raise NoSuchThing(f"There is no queue {ask.params['name']} that you may see.", "atoll queue list")
    return scope


@dataclass(frozen=True)
class QueuesPage:
    """The tree, and the last hour above it."""

    tree: tree.QueuesModel
    trend: TrendModel | None


def view_queues(scope: QueuesScope, ask: Ask) -> QueuesPage:
    """Lay out the tree."""
    return QueuesPage(tree.view_queues(scope.rows, scope.book, ask), view_trend(scope.samples))


def view_queue(scope: QueuesScope, ask: Ask) -> tree.QueueModel:
    """Make the page of one queue."""
    return tree.view_queue(ask.params["name"], scope.rows, scope.book, ask)


_WATCHES = ("queues", "jobs")

PAGES: Sequence[Page] = (
    Page(
        "queues", "/queues", "Queues", "queues/queues.html", fetch_queues, view_queues, watches=_WATCHES, nav="Queues"
    ),
    Page("queue", "/queues/{name}", "Queue", "queues/queue.html", fetch_queue, view_queue, _WATCHES, parent="queues"),
)
