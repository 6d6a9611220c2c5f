"""What one cycle knows of the time to come: claims that others have to leave room for, and runs that are to go.

Owns the order of things in a cycle: first what binds everybody (reservations, and promises that are due), then, as
turns go on, promises to those who wait. Pure; the promises are handed on from cycle to cycle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import isinf
from typing import Any

from atoll.federation.placement import (
    Claims,
    ClusterView,
    Floor,
    Openness,
    keepings,
    seconds_until_free,
)
from atoll.federation.queueing import Party, QueueTree
from atoll.federation.resources import Queue, Reservation
from atoll.hub.scheduler.brief import Block
from atoll.hub.scheduler.claiming import Ahead, Heads, Made, Promise, Promises, moment, preempting, promise
from atoll.hub.scheduler.preempting import Eviction, Stopping, Taker
from atoll.hub.scheduler.reserving import reserved_use
from atoll.hub.scheduler.standing import Standing
from atoll.hub.scheduler.stoppable import Stoppable, is_asked_in_vain


@dataclass(frozen=True)
class Seen:
    """What a cycle begins with: see Snapshot; `standing` has what goes on."""

    now: datetime
    queues: Mapping[str, Queue]
    standing: Standing
    views: Sequence[ClusterView]
    reservations: Sequence[Reservation] = ()


@dataclass(frozen=True)
class Outlook:
    """What a waiting job is told beyond why it waits. `block` None: that stands as it was found."""

    promise: Promise
    block: Block | None = None
    eviction: Eviction | None = None


@dataclass
class Foresight:
    """The claims of one cycle, and who may be stopped in it."""

    seen: Seen
    tree: QueueTree
    promises: Promises
    claims: Claims
    stopping: Stopping
    heads: Heads = field(default_factory=Heads)
    _held: dict[str, Party] = field(default_factory=dict)

    @classmethod
    def begin(cls, seen: Seen, tree: QueueTree, promises: Promises) -> "Foresight":
        """Let stand what binds everybody, and hold in the queues what runs are being stopped for."""
        runs = ((held.run, held.queue) for held in seen.standing.held.values())
        there = {view.name: view.occupations for view in seen.views} if seen.reservations else {}
        use = reserved_use(seen.reservations, runs, there, seen.queues)
        kept = keepings(seen.reservations, seen.views, use, seen.now)
        claims = Claims.of(keeping.claim(seen.now) for keeping in kept if keeping.left)
        stoppable = Stoppable(seen.now, tree.axes, seen.standing)
        stopping = Stopping(seen.now, seen.queues, tree, stoppable, kept)
        cycle = cls(seen, tree, promises, claims, stopping)
        for each in sorted(promises.begin(), key=lambda made: (made.latest_at, made.party.job)):
            if each.binds_all(seen.now):
                cycle._bind(each)
        return cycle

    def _bind(self, standing: Promise) -> None:
        self.claims.add(self._as_of_now(standing).claim(self.seen.now))
        if standing.kind == "Preempting":
            self._hold(standing.party)

    def _as_of_now(self, standing: Promise) -> Promise:
        """Expect the room that a job waits for when it will be there by now: runs take longer than was expected.

        At an earlier moment there is none to be left to it, and everybody might start in what it waits for.
        """
        view = next((view for view in self.seen.views if view.name == standing.cluster), None)
        if view is None or standing.kind != "Waiting":
            return standing
        seconds = seconds_until_free(standing.pods, view)
        return standing if isinf(seconds) else replace(standing, starts_at=moment(self.seen.now, seconds))

    def _hold(self, party: Party) -> None:
        """Count in the queues what runs are being stopped for: it is asked for once."""
        if party.queue in self.tree.lines and party.job not in self._held:
            self._held[party.job] = party
            self.tree.hold(party.job, party.queue, party.vector)

    def begin_turn(self, job: str) -> None:
        """Give back what is held in the queues for a job: it is its turn now."""
        party = self._held.pop(job, None)
        if party is not None:
            self.tree.release(job, party.queue, party.vector)

    def openness(self, job: str, queue: str) -> Openness:
        """Tell which claims a job need not leave room for."""
        return self.claims.openness(job, self.tree.lines.get(queue, (queue,)))

    def started(self, job: str) -> None:
        """Forget what a job was promised: it has room."""
        self.claims.drop(job)

    def may_not_borrow(self, party: Party) -> Block | None:
        """Say why a job that must not be stopped may not start yet: what it would hold, others could reclaim."""
        if self.stopping.rights.is_covered(party):
            return None
        return Block(
            "NotCovered",
            f"spec.preemptible is false, and no guarantee of queue {party.queue} covers it now; what is borrowed can "
            "be reclaimed: let it be preemptible, or wait until the queue holds less",
        )

    def may_help(self, party: Party) -> bool:
        """Tell whether anything can be done for a job that cannot start now; nearly always nothing."""
        is_promised = self.promises.is_made(party.job) or bool(self.stopping.stoppable.leaving(party.job))
        return is_promised or self.heads.are_open(party.queue) or self.stopping.may_take(party)

    def outlook(self, taker: Taker, floor: Floor, record: Mapping[str, Any] | None) -> Outlook | None:
        """Find what can be done for a job that cannot start now: stop runs for it, or promise it room."""
        old = self.promises.made(taker.party.job, record)
        found = self._leaving(taker, old) or self._evicting(taker, floor, old) or self._waiting(taker, old)
        if found is not None and found.promise.cluster in floor.table.index:
            floor.touch(found.promise.cluster)
        return found

    def _waiting(self, taker: Taker, old: Made | None) -> Outlook | None:
        if not self.heads.are_open(taker.party.queue):
            return None
        if taker.ahead is None or not self.heads.admits(taker.party.queue, taker.ahead.cluster):
            return None
        return Outlook(self._keep(promise(taker.party, taker.demand, taker.ahead, old, self.seen.now)))

    def _leaving(self, taker: Taker, old: Made | None) -> Outlook | None:
        """Let a job wait for the runs that are leaving for it, and for the report that they have left."""
        leaving = self.stopping.stoppable.leaving(taker.party.job)
        asked = [run.spec.preempted.at for run in leaving if run.spec.preempted is not None]
        if old is not None and old.asked_at is not None:
            asked.append(old.asked_at)
        if not asked or is_asked_in_vain(min(asked), self.seen.now):
            return None
        victims = tuple(sorted(run.key for run in leaving)) or (old.victims if old is not None else ())
        cluster = leaving[0].spec.cluster if leaving else old.cluster if old is not None else ""
        ahead = Ahead(cluster, 0.0, taker.seconds)
        kept = promise(taker.party, taker.demand, ahead, old, self.seen.now)
        kept = self._keep(preempting(kept, victims, min(asked)))
        names = ", ".join(victims[:3]) + (", …" if len(victims) > 3 else "")
        block = Block("Preempting", f"it waits for room on {cluster}, which is made by stopping {names}")
        return Outlook(kept, block)

    def _evicting(self, taker: Taker, floor: Floor, old: Made | None) -> Outlook | None:
        """Have runs stopped, if that is right and of use."""
        against = self.claims.against(self.openness(taker.party.job, taker.party.queue))
        eviction = self.stopping.plan(taker, floor, against)
        if eviction is None:
            return None
        victims = tuple(victim.run.key for victim in eviction.victims)
        ahead = Ahead(eviction.cluster, eviction.takes_seconds, taker.seconds)
        kept = preempting(promise(taker.party, taker.demand, ahead, old, self.seen.now), victims, self.seen.now)
        return Outlook(self._keep(kept), Block("Preempting", eviction.message), eviction)

    def _keep(self, kept: Promise) -> Promise:
        self.claims.drop(kept.party.job)
        self.claims.add(kept.claim(self.seen.now))
        self.promises.keep(kept)
        if kept.kind == "Preempting":
            self._hold(kept.party)
        return kept
