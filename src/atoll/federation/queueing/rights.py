"""Whose running work may be stopped for whose job. Pure.

By priority: runs of lower priority give way, in the job's own queue if `preemption.withinQueue` says so, in the other
queues under the same top if `acrossQueues` does; there only what no guarantee covers. By guarantee: what others hold
beyond theirs is borrowed, and gives way to a job that is within its own (`reclaim`), whatever the priorities.

So nobody takes back what was taken from them: by priority only the higher takes from the lower, and what a guarantee
covers is taken by nobody of another queue, and in its own only by a job that it covers as well. What is leaving already
is nobody's any more: it is taken once. And a job that is owed something has it from those who borrow, as long as they
have enough: its own queue's run that went instead would be owed the same, and take it from them a moment later.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from atoll.federation.queueing.accounts import guaranteed
from atoll.federation.queueing.amounts import Vector
from atoll.federation.queueing.tree import QueueTree
from atoll.federation.resources import Queue
from atoll.federation.resources.run import PreemptionGround


@dataclass(frozen=True)
class Party:
    """One side: a job that wants room, or one that runs; what it asks for, or holds."""

    job: str
    queue: str
    priority: int
    vector: Vector


@dataclass(frozen=True)
class Rights:
    """What queues may take from each other, as they stand now."""

    tree: QueueTree
    queues: Mapping[str, Queue]
    sure: Mapping[str, list[int]]
    departing: list[Party] = field(default_factory=list)
    _gone: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: QueueTree, queues: Mapping[str, Queue], departing: Iterable[Party] = ()) -> "Rights":
        """See the rights that specs give, and what the queues below promise those above.

        `departing`: runs that the tree still holds, and that were told to leave.
        """
        rights = cls(tree, queues, guaranteed(tree))
        for each in departing:
            rights.depart(each)
        return rights

    def depart(self, party: Party) -> None:
        """Count a run as gone from now on: whoever makes it leave has what it holds."""
        self.departing.append(party)
        _add(self._gone, self.tree.lines.get(party.queue, ()), party.vector)

    def _used(self, name: str) -> list[int]:
        """Tell what a queue holds without what is leaving."""
        used, gone = self.tree.used[name], self._gone.get(name)
        return used if gone is None else [have - less for have, less in zip(used, gone, strict=True)]

    def spares_own(self, taker: Party) -> bool:
        """Tell whether others' runs go first although rules allow to stop those of the job's own queue."""
        rules = self.queues[taker.queue].spec.preemption
        is_right_to_both = rules.reclaim == "Borrowed" and rules.within_queue == "LowerPriority"
        return is_right_to_both and self._is_owed(taker, beside="")

    @cached_property
    def _promised(self) -> list[bool]:
        """Tell by component whether any queue is guaranteed any of it."""
        return [any(sure[at] for sure in self.sure.values()) for at in range(len(self.tree.axes.paths))]

    def may_take(self, taker: Party, *, lowest: int) -> bool:
        """Tell, without a look at any run, whether a job may have a right to one; `lowest` is the lowest priority that
        any run has."""
        rules = self.queues[taker.queue].spec.preemption
        if lowest < taker.priority and "LowerPriority" in (rules.within_queue, rules.across_queues):
            return True
        return rules.reclaim == "Borrowed" and self._is_owed(taker, beside="")

    def ground(self, taker: Party, holder: Party) -> PreemptionGround | None:
        """Say by what right a job may have a run stopped; None: by none."""
        if taker.queue not in self.tree.lines or holder.queue not in self.tree.lines or taker.job == holder.job:
            return None
        rules = self.queues[taker.queue].spec.preemption
        is_lower = holder.priority < taker.priority
        if taker.queue in self.tree.lines[holder.queue]:
            is_right = is_lower and rules.within_queue == "LowerPriority" and self._keeps_cover(taker, holder)
            return "LowerPriority" if is_right else None
        if not self.is_borrowed(holder, beside=taker.queue, wanted=taker.vector):
            return None
        if rules.reclaim == "Borrowed" and self._is_owed(taker, beside=holder.queue):
            return "Borrowed"
        is_related = self.tree.lines[taker.queue][-1] == self.tree.lines[holder.queue][-1]
        return "LowerPriority" if is_lower and is_related and rules.across_queues == "LowerPriority" else None

    def is_borrowed(
        self, holder: Party, *, beside: str, wanted: Vector, without: Mapping[str, Sequence[int]] | None = None
    ) -> bool:
        """Tell whether no guarantee on the holder's side covers what it holds of what is wanted.

        Args:
            holder: who runs.
            beside: the queue of who wants it: what is above both is on nobody's side.
            wanted: what is asked for; guarantees of other resources cover nothing of it.
            without: by queue, what is stopped already.
        """
        for name in self._side(holder.queue, beside):
            used, gone = self._used(name), (without or {}).get(name)
            spoken_of = [at for at, sure in enumerate(self.sure[name]) if sure and wanted[at] and holder.vector[at]]
            if spoken_of and all(used[at] - (gone[at] if gone else 0) <= self.sure[name][at] for at in spoken_of):
                return False
        return True

    def is_covered(self, party: Party) -> bool:
        """Tell whether a job that starts would hold nothing that others could reclaim.

        Some guarantee of its line covers all of it that any queue is guaranteed at all.
        """
        names = self.tree.lines[party.queue]
        spoken_of = [at for at, asked in enumerate(party.vector) if asked and self._promised[at]]
        return not spoken_of or any(
            all(self._used(name)[at] + party.vector[at] <= self.sure[name][at] for at in spoken_of) for name in names
        )

    def _keeps_cover(self, taker: Party, holder: Party) -> bool:
        """Tell whether what a guarantee covers is given up for something that it covers as well.

        Else a third queue could take that as borrowed, and the first job take it back as owed: for ever.
        """
        for name in self.tree.lines[holder.queue]:
            used, sure = self._used(name), self.sure[name]
            spoken_of = [at for at, each in enumerate(sure) if each and holder.vector[at]]
            if spoken_of and all(used[at] <= sure[at] for at in spoken_of):
                return all(used[at] - holder.vector[at] + taker.vector[at] <= sure[at] for at in spoken_of)
        return True

    def are_fair(self, taker: Party, holders: Sequence[Party]) -> bool:
        """Tell whether runs may be stopped together: each while its queue still holds more than it is sure of.

        A run goes as a whole, so the last one of a queue may leave it with less.
        """
        others = [holder for holder in holders if taker.queue not in self.tree.lines[holder.queue]]
        gone: dict[str, list[int]] = {}
        for holder in sorted(others, key=lambda each: (each.vector, each.job)):  # the largest last
            if not self.is_borrowed(holder, beside=taker.queue, wanted=taker.vector, without=gone):
                return False
            _add(gone, self.tree.lines[holder.queue], holder.vector)
        return True

    def _is_owed(self, taker: Party, *, beside: str) -> bool:
        """Tell whether a job is within a guarantee on its side: what is owed below is owed above."""
        return any(
            self.tree.grants[name].guarantees(self._used(name), taker.vector)
            for name in self._side(taker.queue, beside)
        )

    def _side(self, queue: str, other: str) -> list[str]:
        """Name the queues of a line that are not above the other, too."""
        shared = set(self.tree.lines.get(other, ()))
        return [name for name in self.tree.lines[queue] if name not in shared]


@dataclass
class Grounds:
    """By what right one job may have runs stopped; of runs that hold the same in one queue it is found out once."""

    taker: Party
    rights: Rights
    spares_own: bool = False
    _known: dict[tuple[str, int, Vector], PreemptionGround | None] = field(default_factory=dict)

    def of(self, holder: Party) -> PreemptionGround | None:
        """Say by what right a run may be stopped; None: by none."""
        if holder.job == self.taker.job or (self.spares_own and self._is_own(holder)):
            return None
        alike = (holder.queue, holder.priority, holder.vector)
        if alike not in self._known:
            self._known[alike] = self.rights.ground(self.taker, holder)
        return self._known[alike]

    def _is_own(self, holder: Party) -> bool:
        return self.taker.queue in self.rights.tree.lines.get(holder.queue, ())


def without(tree: QueueTree, queue: str, holders: Sequence[Party]) -> QueueTree:
    """See the line of one queue as it is once runs have ended; of other queues nothing is known then."""
    line = tree.lines[queue]
    used = {name: list(tree.used[name]) for name in line}
    running = Counter({name: tree.running[name] for name in line})
    for holder in holders:
        for name in used.keys() & tree.lines.get(holder.queue, ()):
            running[name] -= 1
            for at, amount in enumerate(holder.vector):
                used[name][at] -= amount
    return QueueTree(tree.axes, tree.grants, tree.lines, used, tree.direct, running)


def _add(totals: dict[str, list[int]], names: Iterable[str], vector: Vector) -> None:
    for name in names:
        total = totals.setdefault(name, [0] * len(vector))
        for at, amount in enumerate(vector):
            total[at] += amount
