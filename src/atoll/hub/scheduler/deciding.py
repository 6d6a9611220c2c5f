"""Who starts in one cycle, and who waits: turn by turn, on what the turns before have left. Pure.

Owns the state of a cycle while it decides. It says nothing in words: that is done when all have had their turns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from atoll.federation.errors import InvalidInput
from atoll.federation.placement import Decision, Floor, Links, Openness, Prospect, Scored
from atoll.federation.queueing import (
    BudgetObstacle,
    Measure,
    Obstacle,
    Party,
    Past,
    QueueTree,
    Turns,
    is_within,
    past_at,
)
from atoll.hub.scheduler.allowances import Allowances
from atoll.hub.scheduler.book import Book, Group
from atoll.hub.scheduler.brief import Ask, Block
from atoll.hub.scheduler.claiming import Ahead, Promises
from atoll.hub.scheduler.demands import Asked, Demands
from atoll.hub.scheduler.foresight import Foresight, Outlook, Seen
from atoll.hub.scheduler.lines import QueueLine
from atoll.hub.scheduler.outcome import run_name
from atoll.hub.scheduler.preempting import Taker
from atoll.hub.scheduler.snapshot import Snapshot
from atoll.hub.scheduler.standing import Standing

SHUT: Openness = ("", ())
"""What nearly all jobs may use of what is claimed: nothing."""
Likeness = tuple[int, Openness]


@dataclass
class Memory:
    """What cycles remember of each other. It is used by one cycle at a time."""

    book: Book = field(default_factory=Book)
    demands: Demands = field(default_factory=Demands)
    standing: Standing = field(default_factory=Standing)
    promises: Promises = field(default_factory=Promises)


class Chosen(NamedTuple):
    """A job that gets a run on the cluster at a position."""

    key: str
    ask: Ask
    asked: Asked
    position: int
    openness: Openness


@dataclass(frozen=True)
class Refusal:
    """A group whose jobs wait, but for the first of them that have started.

    `found`: a block stands in the way of all of it. Else, with `is_limited`, a limit of a queue does, or `limit`, which
    is one of its submitter or of a budget; else no cluster has room.
    """

    group: Group
    found: Asked | Block
    is_limited: bool = False
    started: int = 0
    openness: Openness = SHUT
    limit: Obstacle | BudgetObstacle | None = None

    @property
    def keys(self) -> Iterator[str]:
        """Name the jobs that wait, in their order."""
        return (key for _, key in self.group.members[self.started :])


@dataclass
class Deciding:
    """The state of one cycle: what is assumed as taken so far, who starts, and who waits."""

    snapshot: Snapshot
    memory: Memory
    tree: QueueTree
    floor: Floor
    past: Mapping[str, Past]
    foresight: Foresight
    allowances: Allowances
    outlooks: dict[str, Outlook] = field(default_factory=dict)
    chosen: list[Chosen] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    misnamed: dict[str, Block] = field(default_factory=dict)
    _scored: dict[int, Scored] = field(default_factory=dict)
    _prospects: dict[Likeness, Prospect] = field(default_factory=dict)
    _hopeless: set[Likeness] = field(default_factory=set)

    @classmethod
    def begin(cls, snapshot: Snapshot, memory: Memory) -> Self:
        """See the clusters and the queues."""
        if not memory.book.groups:
            nothing = Seen(snapshot.taken_at, {}, Standing(), ())
            tree = QueueTree.of({})
            foresight = Foresight.begin(nothing, tree, memory.promises)
            return cls(
                snapshot,
                memory,
                tree,
                Floor.of([], Links.of([], snapshot.taken_at)),
                {},
                foresight,
                Allowances.none(snapshot),
            )
        standing, now = memory.standing, snapshot.taken_at
        views, tree = standing.views(snapshot), standing.tree(snapshot.queues)
        past = {name: past_at(queue.status, now) for name, queue in snapshot.queues.items()}
        floor = Floor.of(views, Links.of(views, now, snapshot.estimates.traffic), standing.blocks)
        seen = Seen(now, snapshot.queues, standing, views, snapshot.reservations)
        return cls(
            snapshot,
            memory,
            tree,
            floor,
            past,
            Foresight.begin(seen, tree, memory.promises),
            Allowances.of(snapshot, tree, standing.submitters),
        )

    # --- deciding

    def decide(self) -> None:
        """Give turns until nobody can start."""
        lines = {queue: QueueLine(waiting) for queue, waiting in self._admitted().items()}
        measure = Measure(self.memory.standing.capacity())
        for line in Turns(self.tree, measure, self.past, lines):
            self._turn(line)

    def _admitted(self) -> Mapping[str, Sequence[tuple[Group, Asked]]]:
        """Find the groups that take turns, by queue."""
        demands, groups = self.memory.demands, self.memory.book.groups
        demands.begin(self.snapshot, groups)
        admitted: dict[str, list[tuple[Group, Asked]]] = {}
        for group in sorted(groups.values(), key=_by_first):
            asked = demands.of(group, self.snapshot, self.tree)
            if isinstance(asked, Block):
                self.refusals.append(Refusal(group, asked))
            else:
                admitted.setdefault(group.ask.queue, []).append((group, asked))
        return admitted

    def _turn(self, line: QueueLine) -> None:
        """Start the first job of a line, or close its group."""
        key, group, asked = line.first
        self.foresight.begin_turn(key)
        if not is_within(self.tree, group.ask.queue, asked.vector):
            self._refuse(line, is_limited=True)
            return
        if not asked.is_preemptible and (block := self.foresight.may_not_borrow(_party(line))) is not None:
            self.refusals.append(Refusal(group, block, started=line.close()))
            return
        openness = self.foresight.openness(key, group.ask.queue)
        limit: Obstacle | BudgetObstacle | None = self.allowances.user_limit(group.ask, asked.vector)
        position = self._select(key, asked, openness) if limit is None else None
        if limit is None and position is None:
            self._refuse(line)
            return
        chosen = Chosen(key, group.ask, asked, position or 0, openness)
        limit = limit or self._unaffordable(chosen)
        if limit is not None:  # nobody's leaving would help
            self.refusals.append(Refusal(group, asked, started=line.close(), limit=limit))
            return
        try:
            run_name(key, self.memory.book.epoch(key))
        except InvalidInput as error:
            self.misnamed[key] = Block("InvalidDemand", str(error))
        else:
            self._start(chosen)
        line.advance()

    def _unaffordable(self, chosen: Chosen) -> BudgetObstacle | None:
        """Tell which budget a job would exceed where it would go."""
        if not self.allowances.spends(chosen.ask.queue):
            return None
        return self.allowances.budget_limit(self.snapshot.jobs[chosen.key], self.decision(chosen))

    def _unaffordable_later(self, line: QueueLine, openness: Openness) -> BudgetObstacle | None:
        """Tell the same of a job that cannot start now: where it would go once it can. No room is kept, and nobody has
        to leave, for a job that could not be paid then."""
        key, group, asked = line.first
        if not self.allowances.spends(group.ask.queue):
            return None
        position = self._select(key, asked, openness)
        if position is None:
            found = self._prospect(asked, openness).ahead()
            position = None if found is None else found[0]
        return None if position is None else self._unaffordable(Chosen(key, group.ask, asked, position, openness))

    def _refuse(self, line: QueueLine, *, is_limited: bool = False) -> None:
        """Close the group of a job that cannot start, once what can be done for it is done."""
        key, group, asked = line.first
        openness, party = self.foresight.openness(key, group.ask.queue), _party(line)
        limit = self._unaffordable_later(line, openness)
        if limit is not None:
            self.refusals.append(Refusal(group, asked, started=line.close(), limit=limit))
            return
        if self.foresight.may_help(party):
            taker = Taker(party, asked.of(key), lambda: None if is_limited else self._ahead(asked, openness))
            outlook = self.foresight.outlook(taker, self.floor, self.snapshot.jobs[key].status.decision)
            if outlook is not None:
                self.outlooks[key] = outlook
        self.refusals.append(Refusal(group, asked, is_limited, line.close(), openness))

    def _ahead(self, asked: Asked, openness: Openness) -> Ahead | None:
        """Tell when and where a job that cannot start now will have room."""
        prospect = self._prospect(asked, openness)
        found = prospect.ahead()
        if found is None:
            return None
        position, wait_seconds = found
        return Ahead(self.floor.name(position), wait_seconds, prospect.seconds(position))

    def _select(self, key: str, asked: Asked, openness: Openness) -> int | None:
        """Look where a job can start. Once none of a likeness can, none of it can in this cycle, in whatever queue,
        but where they may use what others may not."""
        likeness = (asked.likeness, openness)
        if likeness in self._hopeless:
            return None
        position = self._prospect(asked, openness).select(key)
        if position is None:
            self._hopeless.add(likeness)
        return position

    def _prospect(self, asked: Asked, openness: Openness) -> Prospect:
        likeness = (asked.likeness, openness)
        known = self._prospects.get(likeness)
        if known is None:
            against = self.foresight.claims.against(openness)
            scored = self._scored.get(asked.likeness)
            if scored is None:
                scored = self._scored[asked.likeness] = Scored.of(asked.demand, self.floor)
            known = self._prospects[likeness] = Prospect(scored, self.floor, against)
        return known

    def _start(self, chosen: Chosen) -> None:
        """Assume a job's capacity as taken."""
        seconds = self._prospect(chosen.asked, chosen.openness).seconds(chosen.position)
        self.floor.occupy(chosen.position, (seconds, chosen.key, chosen.asked.demand.pods))
        self.tree.hold(chosen.key, chosen.ask.queue, chosen.asked.vector)
        self.allowances.start(chosen.ask, chosen.asked.vector)
        if self.allowances.spends(chosen.ask.queue):
            self.allowances.spend(self.snapshot.jobs[chosen.key], self.decision(chosen))
        self.foresight.started(chosen.key)
        self.chosen.append(chosen)

    def decision(self, chosen: Chosen) -> Decision:
        """Record why a job goes where it goes."""
        prospect = self._prospect(chosen.asked, chosen.openness)
        return prospect.decision(chosen.asked.of(chosen.key), chosen.position, self.snapshot.taken_at)


def _party(line: QueueLine) -> Party:
    key, group, asked = line.first
    return Party(key, group.ask.queue, group.ask.priority, asked.vector)


def _by_first(group: Group) -> tuple[int, float, str]:
    return (-group.ask.priority, *group.members[0])
