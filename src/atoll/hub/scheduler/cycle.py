"""One scheduling cycle: from a snapshot to what shall be written. Pure, and no await in it.

1. Take what has changed into the book of jobs that wait. A job that somebody holds, or that waits for others, is set
   aside; the rest stand in groups: jobs of one queue that ask for the same, the longest waiting first.
2. See the clusters, without what unfinished runs hold that their agents have not reported yet; see what queues hold.
3. Per group: do its inputs or its queue stand in the way? Then all of it waits, with the reason.
4. Turn by turn, the queue that is within its guarantee first, then the one that has least of its share
   (federation/queueing): would the job exceed a limit? Is there no cluster that has room, or one that is worth waiting
   for? Then its group has no more turns in this cycle, since what is free only shrinks; those behind it go on.
5. Selected: assume its capacity as taken, on the cluster and in its queues, before the next turn.
6. Make the runs, and say of those that wait what stands in the way of the first of their group.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from atoll.federation.placement import (
    Case,
    Decision,
    Openness,
    could_hold,
    decide,
)
from atoll.federation.queueing import (
    BudgetObstacle,
    Obstacle,
    obstacle,
)
from atoll.federation.resources import Job
from atoll.hub.scheduler.brief import Ask, Block
from atoll.hub.scheduler.deciding import Deciding, Likeness, Memory, Refusal
from atoll.hub.scheduler.demands import Asked
from atoll.hub.scheduler.dependencies import judged
from atoll.hub.scheduler.outcome import CyclePlan, Placement, Waiting, make_run, run_name, why_not
from atoll.hub.scheduler.preempting import Eviction
from atoll.hub.scheduler.snapshot import Snapshot

__all__ = ["Cycle", "Memory", "Refusal", "plan_cycle", "run_cycle"]


def plan_cycle(snapshot: Snapshot, memory: Memory | None = None) -> CyclePlan:
    """Decide about every pending job, and say of each that waits why. Equal snapshots give equal plans.

    `memory` is what former cycles have read of objects; it only saves time. Objects that are the very same as in the
    snapshot before are not read again.
    """
    cycle = run_cycle(snapshot, memory or Memory())
    return CyclePlan(tuple(cycle.placements()), tuple(cycle.everybody_waiting()), cycle.evictions)


def run_cycle(snapshot: Snapshot, memory: Memory) -> "Cycle":
    """Decide about every pending job, and write nothing down yet."""
    memory.book.follow(snapshot)
    memory.standing.follow(memory.book, snapshot.jobs)
    cycle = Cycle.begin(snapshot, memory)
    if memory.book.groups:  # laying out a thousand clusters takes longer than all the rest
        cycle.decide()
    return cycle


@dataclass
class Cycle(Deciding):
    """A cycle, and in words what came of it."""

    _findings: dict[Likeness, tuple[Decision, Block]] = field(default_factory=dict)
    _obstacles: dict[Ask, Obstacle | None] = field(default_factory=dict)
    _possible: dict[int, bool] = field(default_factory=dict)

    def placements(self) -> Iterator[Placement]:
        """Make the runs, in the order in which their jobs had their turns."""
        for chosen in self.chosen:
            job = judged(self.snapshot.jobs[chosen.key], self.snapshot.jobs)
            decision, epoch = self.decision(chosen), self.memory.book.epoch(chosen.key)
            yield Placement(job, make_run(job, run_name(chosen.key, epoch), epoch, decision), decision)

    def everybody_waiting(self) -> Iterator[Waiting]:
        """Say of every job that waits why: those that are held back first, then in the order of their turns."""
        aside = {**self.memory.book.aside, **self.misnamed}
        for key in sorted(aside, key=self.memory.book.order):
            yield self._blocked(key, aside[key])
        for refusal in self.refusals:
            yield from self.waiting(refusal, (key for key in refusal.keys if key not in self.misnamed))

    def why(self, key: str) -> Waiting | None:
        """Say why one job waits; None if it does not."""
        block = self.misnamed.get(key) or self.memory.book.aside.get(key)
        if block is not None:
            return self._blocked(key, block)
        refusal = self.refusal(key)
        return None if refusal is None else next(self.waiting(refusal, (key,)))

    def refusal(self, key: str) -> Refusal | None:
        """Find the group with which a job waits; None if it does not wait with others."""
        brief = self.memory.book.brief(key)
        refusal = None if brief is None else self._refused.get(brief.ask)
        if brief is None or refusal is None:
            return None
        at = refusal.group.position(brief.since, key)
        return None if at is None or at < refusal.started else refusal

    @cached_property
    def _refused(self) -> Mapping[Ask, Refusal]:
        """The refusals by what is asked for; the cycle has decided."""
        return {refusal.group.ask: refusal for refusal in self.refusals}

    def waiting(self, refusal: Refusal, keys: Iterable[str]) -> Iterator[Waiting]:
        """Say why some jobs of a refused group wait."""
        found, at = refusal.found, self.snapshot.taken_at
        limit = self._limit(refusal)
        for key in keys:
            if isinstance(found, Block):
                yield self._blocked(key, found)
            elif limit is not None and self._could_ever_start(found):
                yield self._with_outlook(Waiting(self._job(key), limit.reason, limit.message, obstacle=limit, at=at))
            else:
                promised = key in self.outlooks  # what is kept for a job is not in its own way
                openness = self.foresight.openness(key, refusal.group.ask.queue) if promised else refusal.openness
                decision, block = self.finding(found, openness)
                record = replace(decision, demand=found.of(key))
                yield self._with_outlook(Waiting(self._job(key), block.reason, block.message, record))

    def _with_outlook(self, waiting: Waiting) -> Waiting:
        """Add what a job was promised, and who leaves for it."""
        outlook = self.outlooks.get(waiting.job.key)
        if outlook is None:
            return waiting
        block = outlook.block or Block(waiting.reason, waiting.message)
        return replace(waiting, reason=block.reason, message=block.message, promise=outlook.promise)

    @property
    def evictions(self) -> tuple[Eviction, ...]:
        """Give who is to leave for whom."""
        return tuple(each.eviction for each in self.outlooks.values() if each.eviction is not None)

    def finding(self, asked: Asked, openness: Openness) -> tuple[Decision, Block]:
        """Tell what stands in the way of a likeness, once the cycle has filled the clusters."""
        likeness = (asked.likeness, openness)
        known = self._findings.get(likeness)
        if known is None:
            left, against = self.floor.left(), self.foresight.claims.against(openness)
            decision = decide(asked.demand, left, decided_at=self.snapshot.taken_at, against=against)
            known = self._findings[likeness] = (decision, why_not(decision, len(left)))
        return known

    def _could_ever_start(self, asked: Asked) -> bool:
        """Tell whether it is only the queue that a job waits for: with all of it, it would still need a cluster."""
        if asked.likeness not in self._possible:
            is_any = bool(could_hold(Case(asked.demand, self.floor.table)).any())
            self._possible[asked.likeness] = is_any or not len(self.floor)
        return self._possible[asked.likeness]

    def _limit(self, refusal: Refusal) -> Obstacle | BudgetObstacle | None:
        if refusal.limit is not None:
            return refusal.limit
        if not refusal.is_limited or isinstance(refusal.found, Block):
            return None
        ask = refusal.group.ask
        if ask not in self._obstacles:
            self._obstacles[ask] = obstacle(self.tree, ask.queue, refusal.found.vector)
        return self._obstacles[ask]

    def _blocked(self, key: str, block: Block) -> Waiting:
        return Waiting(self._job(key), block.reason, block.message)

    def _job(self, key: str) -> Job:
        return judged(self.snapshot.jobs[key], self.snapshot.jobs)
