"""When and which runs are stopped so that a waiting job has room: the rules around the choice.

Rights are federation/queueing's, the choice federation/placement's. Here is what the scheduler adds: no run is stopped
where waiting takes no longer, none while runs are leaving for the same job already, none on a cluster where the job
would take room that others were promised. Pure.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import islice
from math import inf

import numpy as np

from atoll.federation.capacity import format_duration
from atoll.federation.placement import (
    Candidate,
    Case,
    Claim,
    ClusterView,
    Cost,
    Demand,
    Floor,
    Keeping,
    amount,
    broken,
    cheapest,
    could_hold,
    is_room_sure,
)
from atoll.federation.placement import cost as cost_of
from atoll.federation.queueing import Grounds, Party, QueueTree, Rights, is_within, without
from atoll.federation.resources import Queue, Run
from atoll.federation.resources.run import Preempted, PreemptionGround
from atoll.hub.scheduler.claiming import Ahead
from atoll.hub.scheduler.stoppable import Running, Stoppable

# Per cycle: jobs for which a choice is looked for, and clusters that are looked through for each; the others' turn
# comes with the next cycle.
_MOST_SEARCHES, _MOST_CLUSTERS = 50, 8
# Claims on a cluster where more runs may be stopped in one cycle. More: each is compared with all others.
_MOST_CLAIMS = 16


@dataclass
class Taker:
    """A job that finds no room; `look` tells when it would by itself, and is asked only if that matters."""

    party: Party
    demand: Demand
    look: Callable[[], Ahead | None]

    @cached_property
    def ahead(self) -> Ahead | None:
        """When and where there will be room; None if that is not known."""
        return self.look()

    @property
    def seconds(self) -> float:
        """How long it would hold what it gets."""
        return self.demand.duration_seconds if self.ahead is None else self.ahead.seconds

    @property
    def wait_seconds(self) -> float:
        """When there is room, infinite if that is not known."""
        return inf if self.ahead is None else self.ahead.wait_seconds


@dataclass(frozen=True)
class Victim:
    """A run that is to be stopped, with what is to be written into it."""

    run: Run
    preempted: Preempted


@dataclass(frozen=True)
class Eviction:
    """Whom a job makes leave, where, and how long that takes."""

    job: str
    cluster: str
    victims: tuple[Victim, ...]
    cost: Cost
    takes_seconds: float

    @property
    def message(self) -> str:
        """Say it in a sentence, for the job that gets the room."""
        count = len(self.victims)
        runs = "1 run is" if count == 1 else f"{count} runs are"
        names = ", ".join(victim.run.key for victim in self.victims[:3]) + (", …" if count > 3 else "")
        return f"{runs} stopped for it on {self.cluster}: {names}; work lost: {lost(self.cost)}"


def lost(cost: Cost) -> str:
    """Write what is lost for people."""
    gpu_seconds, core_seconds = cost
    if gpu_seconds:
        return f"{format_duration(gpu_seconds)} of GPU time"
    return f"{format_duration(core_seconds)} of CPU time" if core_seconds else "none"


@dataclass
class Stopping:
    """Chooses runs to stop, for one cycle.

    Args:
        now: the moment of the snapshot.
        queues: the queues by name, and `tree` what they hold.
        stoppable: the runs there are.
        keepings: what is reserved.
    """

    now: datetime
    queues: Mapping[str, Queue]
    tree: QueueTree
    stoppable: Stoppable
    keepings: Sequence[Keeping] = ()
    _chosen: set[str] = field(default_factory=set)
    _searches: int = 0

    @cached_property
    def rights(self) -> Rights:
        """What queues may take from each other, as the cycle goes on."""
        return Rights.of(self.tree, self.queues, self.stoppable.departing)

    def plan(self, taker: Taker, floor: Floor, against: Mapping[str, Sequence[Claim]]) -> Eviction | None:
        """Choose whom to stop for a job; None: nobody, for there is no right to it, no use, or no need.

        Args:
            taker: the job.
            floor: the clusters, with what the cycle has put there.
            against: by cluster, the claims that the job has to leave room for.
        """
        if self._searches >= _MOST_SEARCHES or not self.may_take(taker.party):
            return None
        self._searches += 1
        views = [(view, against.get(view.name, ())) for view in self._where(taker, floor, against)]
        best = None
        if self.rights.spares_own(taker.party):
            best = self._best(views, taker, Grounds(taker.party, self.rights, spares_own=True))
        best = best or self._best(views, taker, Grounds(taker.party, self.rights))
        if best is None or taker.wait_seconds <= best.takes_seconds:
            return None
        self._choose(best)
        return best

    def _best(
        self, views: Sequence[tuple[ClusterView, Sequence[Claim]]], taker: Taker, grounds: Grounds
    ) -> Eviction | None:
        found = [eviction for view, claims in views if (eviction := self._on(view, taker, grounds, claims)) is not None]
        return min(found, key=lambda each: (each.cost, len(each.victims), each.cluster), default=None)

    def _choose(self, eviction: Eviction) -> None:
        """Remember who goes: nobody is chosen twice, and what they hold is given away."""
        names = {victim.run.key for victim in eviction.victims}
        self._chosen |= names
        for each in self.stoppable.on(eviction.cluster):
            if each.run.key in names:
                self.rights.depart(each.party)

    def may_take(self, party: Party) -> bool:
        """Tell, without a look at any run, whether a job may have a right to something."""
        line = self.tree.lines.get(party.queue, ())
        if not line:
            return False
        return self._is_kept_for(line) or self.rights.may_take(party, lowest=self.stoppable.lowest_priority)

    def _is_kept_for(self, line: Sequence[str]) -> bool:
        return any(each.reservation.spec.queue in line and self._is_active(each) for each in self.keepings)

    def _is_active(self, keeping: Keeping) -> bool:
        return keeping.reservation.spec.starts <= self.now < keeping.reservation.spec.ends

    def _where(self, taker: Taker, floor: Floor, against: Mapping[str, Sequence[Claim]]) -> Iterator[ClusterView]:
        """Choose the clusters to look through: where runs may be stopped, and least of the room is missing."""
        case = Case(taker.demand, floor.table)
        possible = np.flatnonzero(could_hold(case))
        nearest = possible[np.argsort(-case.room_now[possible], kind="stable")]
        views = (floor.view(int(at)) for at in nearest)
        quiet = (view for view in views if len(against.get(view.name, ())) < _MOST_CLAIMS)
        return islice((view for view in quiet if self.stoppable.on(view.name)), _MOST_CLUSTERS)

    def _on(self, view: ClusterView, taker: Taker, grounds: Grounds, against: Sequence[Claim]) -> Eviction | None:
        pods = taker.demand.pods
        open_to = {
            each.candidate.run: (each, ground)
            for each in self.stoppable.on(view.name)
            if each.candidate.run not in self._chosen and (ground := self._ground(taker, each, grounds)) is not None
        }
        if not open_to:
            return None

        def is_enough(victims: Sequence[Candidate]) -> bool:
            stopped = [open_to[victim.run][0].party for victim in victims]
            after = without(self.tree, taker.party.queue, [*self.rights.departing, *stopped])
            return is_within(after, taker.party.queue, taker.party.vector) and is_room_sure(view, pods, victims)

        def is_fair(victims: Sequence[Candidate]) -> bool:
            chosen = [open_to[victim.run] for victim in victims]
            return self.rights.are_fair(taker.party, [each.party for each, ground in chosen if ground != "Reserved"])

        firm = [claim for claim in against if claim.kind != "Waiting"]
        victims = cheapest(_lowest(open_to.values(), is_enough), is_enough=is_enough, is_fair=is_fair)
        if not victims or (firm and broken(view, firm, pods, taker.seconds) is not None):
            return None
        return self._eviction(taker, view.name, [open_to[victim.run] for victim in victims])

    def _ground(self, taker: Taker, holder: Running, grounds: Grounds) -> PreemptionGround | None:
        ground = grounds.of(holder.party)
        return ground or ("Reserved" if self._is_in_the_way(taker, holder) else None)

    def _is_in_the_way(self, taker: Taker, holder: Running) -> bool:
        """Tell whether a run is on a cluster that keeps enough for the job, and is none of those it is kept for."""
        if not self.keepings:
            return False
        asked = amount(taker.demand.pods)
        for keeping in self.keepings:
            queue = keeping.reservation.spec.queue
            is_for = queue in self.tree.lines[taker.party.queue] and queue not in self.tree.lines[holder.party.queue]
            if is_for and keeping.cluster == holder.run.spec.cluster and self._is_active(keeping):
                left = [pod.resources * count for pod, count in keeping.left]
                if sum(each.gpus for each in left) >= asked.gpus and any(
                    each.covers(asked) or asked.gpus for each in left
                ):
                    return True
        return False

    def _eviction(self, taker: Taker, cluster: str, chosen: Sequence[tuple[Running, PreemptionGround]]) -> Eviction:
        victims = [
            Victim(each.run, _preempted(taker, each, ground, self.now))
            for each, ground in sorted(chosen, key=lambda pair: pair[0].run.key)
        ]
        cost = cost_of(each.candidate for each, _ in chosen)
        takes = max(each.grace_seconds for each, _ in chosen)
        return Eviction(taker.party.job, cluster, tuple(victims), cost, takes)


def _lowest(
    open_to: Iterable[tuple[Running, PreemptionGround]], is_enough: Callable[[Sequence[Candidate]], bool]
) -> list[Candidate]:
    """Leave out, of those who go for their priority, who is higher than need be: it would stop the lower one next."""
    ranked = [(each.party.priority if ground == "LowerPriority" else None, each.candidate) for each, ground in open_to]
    levels = sorted({level for level, _ in ranked if level is not None})

    def up_to(most: int) -> list[Candidate]:
        return [candidate for level, candidate in ranked if level is None or level <= most]

    enough = bisect_left(levels, True, key=lambda level: is_enough(up_to(level))) if len(levels) > 1 else len(levels)
    return up_to(levels[enough]) if enough < len(levels) else [candidate for _, candidate in ranked]


_WHY: Mapping[PreemptionGround, str] = {
    "LowerPriority": "whose priority {taker} is higher than {holder}",
    "Borrowed": "which is within the guarantee of queue {queue}; this run is beyond that of queue {own}",
    "Reserved": "whose queue {queue} has a reservation there",
}


def _preempted(taker: Taker, holder: Running, ground: PreemptionGround, now: datetime) -> Preempted:
    why = _WHY[ground].format(
        taker=taker.party.priority, holder=holder.party.priority, queue=taker.party.queue, own=holder.party.queue
    )
    seconds = holder.candidate.lost_seconds
    message = f"it makes room for job {taker.party.job}, {why}; work lost: {lost(holder.candidate.cost)}"
    return Preempted(by=taker.party.job, ground=ground, message=message, lost_seconds=seconds, at=now)
