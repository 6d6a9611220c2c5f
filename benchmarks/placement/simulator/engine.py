"""The federation on virtual time: tasks arrive, are placed, have their data brought, run, and end.

Owns time and what a placement brings about; every policy meets the same. A task that is placed is bound to a node at
once where one has room, and holds it while its data comes. A copy that came stays, for others to read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil
from typing import Protocol

from benchmarks.placement.simulator.members import Member
from benchmarks.placement.simulator.scenario import Scenario, Task
from benchmarks.placement.simulator.transfers import Transfers

# Policies are asked on this grid of seconds, if anything happened: a hub looks at changes that come together at once.
_GRID_SECONDS = 5.0
# ... and this often if somebody waits: what was expected may have changed though nothing happened.
_PERIOD_SECONDS = 60.0
_LOOK_SECONDS = 60.0
_NEVER = float("inf")


class Stuck(Exception):
    """A policy places nobody though nothing else will ever happen."""


@dataclass
class Story:
    """What became of one task; instants are seconds, None: not yet."""

    task: Task
    cluster: str = ""
    placed_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    missing: set[str] = field(default_factory=set)

    @property
    def wait_seconds(self) -> float:
        """From its arrival until it runs, with its data there."""
        assert self.started_at is not None, "every task starts in the end"
        return self.started_at - self.task.arrives


class World:
    """The federation at one moment."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.now = 0.0
        self.members = {site.name: Member(site) for site in scenario.sites}
        self.replicas = {data.name: set(data.homes) for data in scenario.data.values()}
        self.transfers = Transfers({site.name: site.uplink for site in scenario.sites})
        self.stories: dict[str, Story] = {}
        self.waiting: dict[str, Task] = {}

    def missing_bytes(self, task: Task, cluster: str) -> int:
        """Count what would have to be copied; what is on its way already would not."""
        return sum(
            self.scenario.data[name].bytes
            for name in task.inputs
            if cluster not in self.replicas[name] and (name, cluster) not in self.transfers
        )

    def source(self, dataset: str, cluster: str) -> str:
        """Choose where to copy from: what is fastest while nothing else moves."""
        uplinks = self.transfers.uplinks
        return max(sorted(self.replicas[dataset]), key=lambda name: min(uplinks[name], uplinks[cluster]))


class Policy(Protocol):
    """Says which of the waiting tasks go where now. It changes nothing of the world."""

    name: str

    def place(self, world: World) -> Sequence[tuple[Task, str]]:
        """Choose clusters for tasks; those that are not named wait on."""


class Watcher(Protocol):
    """Looks at the world every so often."""

    def look(self, world: World) -> None:
        """Measure something."""


class Engine:
    """Lets a policy live through a scenario."""

    def __init__(self, scenario: Scenario, policy: Policy, watchers: Sequence[Watcher] = ()) -> None:
        self.world, self._policy, self._watchers = World(scenario), policy, watchers
        self._arrivals = list(reversed(scenario.tasks))
        self._ends: list[tuple[float, str]] = []
        self._cycle_at = _NEVER
        self._look_at = 0.0

    def run(self) -> World:
        """Go on until every task has ended.

        Raises:
            Stuck: tasks wait, nothing goes on, and the policy places none.
        """
        world = self.world
        while self._next() < _NEVER or world.waiting:
            now = min(self._next(), self._cycle_at, self._look_at)
            if self._happen(now):
                self._cycle_at = min(self._cycle_at, ceil(now / _GRID_SECONDS) * _GRID_SECONDS)
            if now >= self._cycle_at:
                self._cycle()
            if now >= self._look_at:
                self._look_at = now + _LOOK_SECONDS
                for watcher in self._watchers:
                    watcher.look(world)
        return world

    def _next(self) -> float:
        arrival = self._arrivals[-1].arrives if self._arrivals else float("inf")
        end = self._ends[0][0] if self._ends else float("inf")
        return min(arrival, end, self.world.transfers.next_end())

    def _happen(self, now: float) -> bool:
        """Let time pass until then, and happen what happens then."""
        world = self.world
        world.now = now
        copies = world.transfers.advance(now)
        for dataset, cluster in copies:
            world.replicas[dataset].add(cluster)
        self._start_those_that_have_data(copies)
        ended = self._end_those_that_are_done()
        arrived = False
        while self._arrivals and self._arrivals[-1].arrives <= now:
            task = self._arrivals.pop()
            world.stories[task.name], world.waiting[task.name] = Story(task), task
            arrived = True
        return bool(copies) or ended or arrived

    def _end_those_that_are_done(self) -> bool:
        is_any = False
        while self._ends and self._ends[0][0] <= self.world.now:
            self._end(heappop(self._ends)[1])
            is_any = True
        return is_any

    def _cycle(self) -> None:
        """Ask the policy, and again soon if it placed something: it may have more to say then."""
        world, self._cycle_at = self.world, _NEVER
        if not world.waiting:
            return
        placements = self._policy.place(world)
        for task, cluster in placements:
            self._place(task, cluster)
        if not placements and self._next() == _NEVER:
            raise Stuck(f"{self._policy.name} leaves {len(world.waiting)} tasks waiting beside empty clusters")
        if world.waiting:
            self._cycle_at = world.now + (_GRID_SECONDS if placements else _PERIOD_SECONDS)

    def _place(self, task: Task, cluster: str) -> None:
        world, story = self.world, self.world.stories[task.name]
        del world.waiting[task.name]
        story.cluster, story.placed_at = cluster, world.now
        self._bring_data(story)
        if world.members[cluster].add(task):
            self._start_if_ready(story)

    def _bring_data(self, story: Story) -> None:
        world, cluster = self.world, story.cluster
        for name in story.task.inputs:
            if cluster in world.replicas[name]:
                continue
            story.missing.add(name)
            if (name, cluster) not in world.transfers:
                source, size = world.source(name, cluster), world.scenario.data[name].bytes
                world.transfers.start((name, cluster), source, size)

    def _start_those_that_have_data(self, copies: Sequence[tuple[str, str]]) -> None:
        for dataset, cluster in copies:
            member = self.world.members[cluster]
            for task in (*(task for task, _ in member.bound.values()), *member.unbound):
                story = self.world.stories[task.name]
                if dataset in story.missing:
                    story.missing.discard(dataset)
                    self._start_if_ready(story)

    def _start_if_ready(self, story: Story) -> None:
        if story.missing or story.task.name not in self.world.members[story.cluster].bound:
            return
        story.started_at = self.world.now
        heappush(self._ends, (self.world.now + story.task.runs_seconds, story.task.name))

    def _end(self, name: str) -> None:
        story = self.world.stories[name]
        story.ended_at = self.world.now
        for bound in self.world.members[story.cluster].remove(story.task):
            self._start_if_ready(self.world.stories[bound.name])
