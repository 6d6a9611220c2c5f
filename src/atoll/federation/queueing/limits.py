"""May a job start, as far as its queues are concerned? The first limit that it would break, with the numbers. Pure."""

from dataclasses import dataclass
from typing import Any, ClassVar

from atoll.federation.queueing.amounts import Vector, written
from atoll.federation.queueing.tree import QueueTree, amount

_JOBS = "jobs"


@dataclass(frozen=True)
class Obstacle:
    """A limit in the way: whose, of what, how much of it is held and by whom, and what was asked for.

    `field` is the path within the Queue's spec. `holders` are (job, queue, amount), the largest first.
    """

    reason: ClassVar[str] = "QueueLimit"

    queue: str
    resource: str
    field: str
    limit: int
    held: int
    asked: int
    holders: tuple[tuple[str, str, int], ...] = ()

    @property
    def is_lasting(self) -> bool:
        """Whether waiting does not help: the job asks for more than the queue may ever hold."""
        return self.asked > self.limit

    @property
    def missing(self) -> int:
        """How much would have to be given back, or added to the limit, for the job to start."""
        return self.held + self.asked - self.limit

    @property
    def message(self) -> str:
        """Say it in a sentence."""
        asked, limit = written(self.resource, self.asked), written(self.resource, self.limit)
        if self.is_lasting and self.resource == _JOBS:
            return f"queue {self.queue} lets no job start ({self.field}: 0): raise {self.field}"
        if self.is_lasting:
            return (
                f"the job asks for {asked}, more than queue {self.queue} allows at all ({self.field}: {limit}): "
                f"ask for less or raise {self.field}"
            )
        held = written(self.resource, self.held)
        ask = "" if self.resource == _JOBS else f", the job asks for {asked}"
        return f"queue {self.queue} holds {held} of at most {limit} ({self.field}){ask}"

    @property
    def advice(self) -> str:
        """Say what would have to change."""
        if self.is_lasting and self.resource == _JOBS:
            return f"raise {self.field} of queue {self.queue}"
        if self.is_lasting:
            return f"ask for at most {written(self.resource, self.limit)}, or raise {self.field} of queue {self.queue}"
        raised = written(self.resource, self.held + self.asked)
        return (
            f"{written(self.resource, self.missing)} given back in queue {self.queue}, or its {self.field} at {raised}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form that a decision record carries under `queue`."""
        return {
            "queue": self.queue,
            "resource": self.resource,
            "field": self.field,
            "limit": self.limit,
            "held": self.held,
            "asked": self.asked,
            "message": self.message,
            "advice": self.advice,
            "holders": [
                {"job": job, "queue": queue, "amount": held, "holds": written(self.resource, held)}
                for job, queue, held in self.holders
            ],
        }


def is_within(tree: QueueTree, queue: str, vector: Vector) -> bool:
    """Tell whether a job would break no limit: what `obstacle` finds, without the words."""
    for name in tree.lines[queue]:
        grant = tree.grants[name]
        if grant.max_running is not None and tree.running[name] >= grant.max_running:
            return False
        for limit, held, asked in zip(grant.limit, tree.used[name], vector, strict=True):
            if limit is not None and asked and held + asked > limit:
                return False
    return True


def obstacle(tree: QueueTree, queue: str, vector: Vector) -> Obstacle | None:
    """Find the first limit, going up the queue's line, that a job would break; one it can never keep goes first."""
    found = [each for name in tree.lines[queue] if (each := _in_queue(tree, name, vector)) is not None]
    lasting = next((each for each in found if each.is_lasting), None)
    return lasting or (found[0] if found else None)


def _in_queue(tree: QueueTree, name: str, vector: Vector) -> Obstacle | None:
    grant, used = tree.grants[name], tree.used[name]
    broken = [
        at
        for at, (limit, held, asked) in enumerate(zip(grant.limit, used, vector, strict=True))
        if limit is not None and asked and held + asked > limit
    ]
    if broken:
        at = next((at for at in broken if vector[at] > (grant.limit[at] or 0)), broken[0])
        path = tree.axes.paths[at]
        return _told(tree, Obstacle(name, path, f"quota.limit.{path}", grant.limit[at] or 0, used[at], vector[at]))
    if grant.max_running is not None and tree.running[name] + 1 > grant.max_running:
        return _told(tree, Obstacle(name, _JOBS, "maxRunningJobs", grant.max_running, tree.running[name], 1))
    return None


def _told(tree: QueueTree, found: Obstacle) -> Obstacle:
    """Add who holds what is asked for."""
    at = None if found.resource == _JOBS else tree.axes.paths.index(found.resource)
    holders = tuple(
        (each.job, each.queue, amount(each, at)) for each in tree.largest_holders(found.queue, found.resource)
    )
    return Obstacle(found.queue, found.resource, found.field, found.limit, found.held, found.asked, holders)


def refused_priority(tree: QueueTree, queue: str, priority: int) -> str | None:
    """Say which queue of the line does not allow a priority; None if all do."""
    for name in tree.lines[queue]:
        grant = tree.grants[name]
        if grant.lowest is not None and priority < grant.lowest:
            return f"spec.priority {priority} is below what queue {name} allows: give at least {grant.lowest}"
        if grant.highest is not None and priority > grant.highest:
            return f"spec.priority {priority} is above what queue {name} allows: give at most {grant.highest}"
    return None
