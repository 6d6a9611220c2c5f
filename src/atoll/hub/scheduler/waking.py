"""What wakes the scheduler: a change of anything that a cycle reads and that may let a job be placed.

Owns which changes those are. It must not look at jobs: whether one waits, the cycle finds out.
"""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from atoll.federation.resources import Cluster, Dataset, Job, Queue, Reservation, Resource, Run
from atoll.hub.client import Client
from atoll.hub.members import Observed
from atoll.hub.reports import INVENTORY
from atoll.hub.scheduler.loop import SchedulerLoop

R = TypeVar("R", bound=Resource)
_WATCHED: tuple[type[Resource], ...] = (Job, Run, Dataset)


def wakers(scheduler: SchedulerLoop, client: Client, observed: Observed) -> Iterator[Coroutine[Any, Any, None]]:
    """Give what has to run for ever beside the scheduler so that it sees changes soon."""
    for model in _WATCHED:
        yield _by_objects(scheduler, client, model)
    yield _by_what_is_weighed(scheduler, client, Cluster, _of_cluster)
    yield _by_what_is_weighed(scheduler, client, Queue, _of_spec)
    yield _by_what_is_weighed(scheduler, client, Reservation, _of_spec)
    yield _by_inventories(scheduler, observed)


async def _by_objects(scheduler: SchedulerLoop, client: Client, model: type[Resource]) -> None:
    async for _ in client.watch(model):
        scheduler.wake()


async def _by_what_is_weighed(
    scheduler: SchedulerLoop, client: Client, model: type[R], weigh: Callable[[R], Mapping[str, object]]
) -> None:
    """Wake by what an object is, not by dates and counts: of a thousand clusters, some are proven at any moment."""
    known: dict[tuple[str, str], Mapping[str, object]] = {}
    async for seen in client.watch(model):
        if seen.key is None:
            continue
        found = None if seen.is_gone else seen.readable
        weighed = {} if found is None else weigh(found)
        if known.get(seen.key) != weighed:
            scheduler.wake()
        known[seen.key] = weighed


def _of_cluster(cluster: Cluster) -> Mapping[str, object]:
    """Give what placement weighs of a Cluster, without what the inventories tell sooner."""
    status = cluster.status
    return {
        "spec": cluster.spec,
        "labels": cluster.metadata.labels,
        "phase": (status.phase, status.wakes_at),
        "links": {link.peer: link.is_ready for link in status.links},
    }


def _of_spec(granted: Queue | Reservation) -> Mapping[str, object]:
    """Give what a queue was granted, or what is kept: what is held of it, the cycle counts itself."""
    return {"spec": granted.spec}


async def _by_inventories(scheduler: SchedulerLoop, observed: Observed) -> None:
    """Wake by what agents report of their clusters: statuses say so only seconds later."""
    async for paths in observed.changes():
        if any(path.kind == "cluster" and path.rest == INVENTORY for path in paths):
            scheduler.wake()
