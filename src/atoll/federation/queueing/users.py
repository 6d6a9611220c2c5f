"""What each user holds of a queue, and the limits of a queue per user. Pure.

Owns the sums by queue and user, only where a queue of the line limits its users. A job whose submitter is not known
counts as one of the user without a name.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from atoll.federation.queueing.amounts import Vector, written
from atoll.federation.queueing.limits import Obstacle
from atoll.federation.queueing.tree import QueueTree
from atoll.federation.resources import Queue

_JOBS = "jobs"


@dataclass(frozen=True)
class UserObstacle(Obstacle):
    """A limit per user in the way; what is held is that user's, not the queue's."""

    reason: ClassVar[str] = "UserLimit"

    user: str = ""

    @property
    def message(self) -> str:
        """Say it in a sentence."""
        asked, limit, whose = written(self.resource, self.asked), written(self.resource, self.limit), _named(self.user)
        if self.is_lasting and self.resource == _JOBS:
            return f"queue {self.queue} lets no job of {whose} start ({self.field}: 0): raise {self.field}"
        if self.is_lasting:
            return (
                f"the job asks for {asked}, more than queue {self.queue} allows any user ({self.field}: {limit}): "
                f"ask for less or raise {self.field}"
            )
        ask = "" if self.resource == _JOBS else f", the job asks for {asked}"
        held = written(self.resource, self.held)
        return f"{whose} holds {held} of at most {limit} in queue {self.queue} ({self.field}){ask}"

    @property
    def advice(self) -> str:
        """Say what would have to change."""
        if self.is_lasting:
            return super().advice
        raised = written(self.resource, self.held + self.asked)
        return (
            f"{written(self.resource, self.missing)} given back by {_named(self.user)} in queue {self.queue}, "
            f"or its {self.field} at {raised}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form that a decision record carries under `queue`."""
        return {**super().to_dict(), "user": self.user}


@dataclass(frozen=True)
class UserGrant:
    """What one queue lets each user hold, laid out by axes."""

    limit: tuple[int | None, ...]
    max_running: int | None


@dataclass
class UserTallies:
    """What users hold, by queue and user; whoever starts work tells it so."""

    tree: QueueTree
    grants: Mapping[str, UserGrant]
    used: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    running: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, tree: QueueTree, queues: Mapping[str, Queue]) -> "UserTallies":
        """Read the limits of these queues; nobody holds anything yet."""
        grants = {
            name: UserGrant(tree.axes.pick(given.limit.amounts()), given.max_running_jobs)
            for name, queue in queues.items()
            if not (given := queue.spec.per_user).is_unlimited
        }
        return cls(tree, grants)

    def start(self, user: str, queue: str, vector: Vector) -> None:
        """Count a job of a user that has started."""
        self.hold(user, queue, vector)
        for name in self._limiting(queue):
            self.running[name, user] += 1

    def hold(self, user: str, queue: str, vector: Vector, times: int = 1) -> None:
        """Count what a user holds beside, such as more tasks of an array that is counted already."""
        for name in self._limiting(queue):
            total = self.used.setdefault((name, user), self.tree.axes.zero())
            for at, value in enumerate(vector):
                total[at] += value * times

    def left(self, user: str, queue: str, one: Vector, *, at_most: int) -> int:
        """Tell how many times as much a user may hold beside, as no limit of the queue's line forbids."""
        left = at_most
        for name in self._limiting(queue):
            used = self.used.get((name, user)) or self.tree.axes.zero()
            for limit, held, each in zip(self.grants[name].limit, used, one, strict=True):
                if limit is not None and each > 0:
                    left = min(left, max(0, limit - held) // each)
        return left

    def obstacle(self, user: str, queue: str, vector: Vector) -> UserObstacle | None:
        """Find the first limit, going up the queue's line, that a job would break; one it can never keep goes first."""
        found = [each for name in self._limiting(queue) if (each := self._in_queue(name, user, vector)) is not None]
        lasting = next((each for each in found if each.is_lasting), None)
        return lasting or (found[0] if found else None)

    def _limiting(self, queue: str) -> tuple[str, ...]:
        return tuple(name for name in self.tree.lines.get(queue, ()) if name in self.grants)

    def _in_queue(self, name: str, user: str, vector: Vector) -> UserObstacle | None:
        grant, used = self.grants[name], self.used.get((name, user)) or self.tree.axes.zero()
        rows = enumerate(zip(grant.limit, used, vector, strict=True))
        broken = [at for at, (limit, held, ask) in rows if limit is not None and ask and held + ask > limit]
        if broken:
            at = next((at for at in broken if vector[at] > (grant.limit[at] or 0)), broken[0])
            path, limit = self.tree.axes.paths[at], grant.limit[at] or 0
            return UserObstacle(name, path, f"perUser.limit.{path}", limit, used[at], vector[at], user=user)
        running, most = self.running[name, user], grant.max_running
        if most is not None and running + 1 > most:
            return UserObstacle(name, _JOBS, "perUser.maxRunningJobs", most, running, 1, user=user)
        return None


def _named(user: str) -> str:
    return f"user {user}" if user else "whoever is not known"
