"""Many jobs on several clusters in virtual time: the hub's real decisions, and everything between them simulated.

Real are take_snapshot, plan_cycle, apply_plan, plan_run and plan_job. Simulated are the store, the links, the clusters
that run pods, and all that may go wrong with them.
"""

import contextlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from atoll.federation.bus.messages import RunOrder, RunReport
from atoll.federation.errors import Unavailable
from atoll.federation.resources import Cluster, Job, Run
from atoll.federation.resources.run import FINISHED_RUN_PHASES
from atoll.hub.controllers.job_plan import plan_job
from atoll.hub.controllers.run_plan import plan_run
from atoll.hub.controllers.run_scope import RunScope
from atoll.hub.scheduler.apply import apply_plan
from atoll.hub.scheduler.cycle import Memory, plan_cycle
from atoll.hub.scheduler.snapshot import take_snapshot
from faults import Fault
from scheduler.guarded_store import Store
from scheduler.scheduler_world import NOW, cluster, job, queue, shape

STEP = 10.0
ENDS = frozenset({"Succeeded", "Failed", "Cancelled"})


@dataclass(frozen=True)
class Wish:
    """A job that somebody submits: when, in which queue, how many GPUs for how long, and how often its pods crash."""

    at: float
    queue: str
    gpus: int
    seconds: float
    crashes: int = 0


@dataclass(frozen=True)
class Story:
    """All that is left to chance.

    A fault of the kind `cut` parts a cluster from the hub, `kill` ends the hub while it writes, `echo` repeats old
    reports. `limits` are GPUs by queue; `seed` decides which writes a dying hub still makes.
    """

    wishes: tuple[Wish, ...]
    faults: tuple[Fault, ...] = ()
    weights: tuple[tuple[str, int], ...] = (("a", 1), ("b", 2), ("c", 3))
    limits: tuple[tuple[str, int], ...] = ()
    nodes: tuple[tuple[int, ...], ...] = ((4, 4), (8,))
    seed: int = 0

    @property
    def calm_at(self) -> float:
        """When nothing arrives and nothing fails any more."""
        return max((each.at + getattr(each, "seconds", 0.0) for each in (*self.wishes, *self.faults)), default=0.0)


@dataclass
class Pods:
    """The pods of one run, on a node."""

    order: RunOrder
    gpus: int
    node: int
    ends_at: float
    crashes: bool


@dataclass
class Member:
    """A cluster and its agent: binds pods to nodes that have room, runs them, says so."""

    name: str
    nodes: list[int]
    free: list[int] = field(default_factory=list)
    orders: dict[str, RunOrder] = field(default_factory=dict)
    pods: dict[str, Pods] = field(default_factory=dict)
    reports: dict[str, RunReport] = field(default_factory=dict)
    old: list[RunReport] = field(default_factory=list)

    def __post_init__(self):
        self.free = list(self.nodes)


class World:
    """All of it. What a test looks at afterwards: `overlaps`, `excesses`, `worked`, `store`."""

    def __init__(self, story: Story):
        self.story, self.now, self.chance = story, 0.0, Random(story.seed)
        self.store, self.memory = Store(), Memory()
        self.members = [Member(f"c{at}", list(nodes)) for at, nodes in enumerate(story.nodes)]
        self.orders, self.heard = {}, {}
        self.overlaps, self.excesses, self.held = [], [], []
        self.worked, self.tried, self.started_at = Counter(), Counter(), {}
        self.wishes = {f"j{at}": wish for at, wish in enumerate(story.wishes)}
        limits = dict(story.limits)
        for name, weight in story.weights:
            quota = {"quota": {"limit": {"gpus": limits[name]}}} if name in limits else {}
            self.store.put(queue(name, weight=weight, **quota))

    async def live(self, seconds: float) -> "World":
        """Let time pass, no longer than until every job has ended."""
        while self.now < seconds and not self.is_over:
            self._arrive()
            for member in self.members:
                self._tick(member)
            await self._hub()
            self._look()
            self.now += STEP
        return self

    @property
    def is_over(self):
        jobs = self.store.all(Job)
        return len(jobs) == len(self.wishes) and all(each.status.phase in ENDS for each in jobs)

    def has(self, kind, member=None):
        return any(
            fault.kind == kind and fault.at <= self.now < fault.at + fault.seconds
            for fault in self.story.faults
            if member is None or self.members[fault.cluster % len(self.members)] is member
        )

    def holding(self):
        """Sum by queue the GPUs of pods that are there."""
        held = Counter()
        for member in self.members:
            for pods in member.pods.values():
                held[self.wishes[pods.order.job].queue] += pods.gpus
        return held

    def _arrive(self):
        for name, wish in self.wishes.items():
            if wish.at <= self.now and (Job, "lab", name) not in self.store.objects:
                made = job(name, gpus=wish.gpus, queue=wish.queue, expectedDuration=f"{wish.seconds:g}s", retries=9)
                metadata = made.metadata.model_copy(update={"creation_timestamp": self._at()})
                self.store.put(made.model_copy(update={"metadata": metadata}))

    def _at(self):
        return NOW + timedelta(seconds=self.now)

    # --- a cluster, which lives whatever becomes of its link

    def _tick(self, member):
        if not self.has("cut", member):
            member.orders = {run: order for (where, run), order in self.orders.items() if where == member.name}
        for run, pods in tuple(member.pods.items()):
            if self.now >= pods.ends_at:
                del member.pods[run]
                member.free[pods.node] += pods.gpus
                self.worked[pods.order.job] += not pods.crashes
                self._say(member, pods.order, "Failed" if pods.crashes else "Succeeded")
        for run, order in sorted(member.orders.items()):
            if order.cancelled and run in member.pods:
                member.free[member.pods[run].node] += member.pods.pop(run).gpus
                self._say(member, order, "Cancelled")
            elif run not in member.pods and run not in member.reports and not order.cancelled:
                self._bind(member, run, order)
        if not self.has("cut", member):
            self._tell(member)

    def _bind(self, member, run, order):
        wish = self.wishes[order.job]
        node = next((at for at, free in enumerate(member.free) if free >= wish.gpus), None)
        if node is None:
            return
        self.tried[order.job] += 1
        self.started_at.setdefault(order.job, self.now)
        member.free[node] -= wish.gpus
        crashes = self.tried[order.job] <= wish.crashes
        member.pods[run] = Pods(order, wish.gpus, node, self.now + wish.seconds, crashes)
        self._say(member, order, "Running")

    def _say(self, member, order, phase):
        if order.run in member.reports:
            member.old.append(member.reports[order.run])
        member.reports[order.run] = RunReport(
            namespace="lab", run=order.run, epoch=order.epoch, phase=phase, reason="Error" if phase == "Failed" else "",
            exit_code=1 if phase == "Failed" else None, started_at=self._at(), at=self._at(),
        )  # fmt: skip

    def _tell(self, member):
        for run, report in member.reports.items():
            self.heard[member.name, run] = report
        if self.has("echo", member):
            for report in member.old:
                self.heard[member.name, report.run] = report
        counted = tuple(f"lab/{run}" for run in sorted(member.pods))
        shapes = tuple(
            shape(cpus=64, gpus=whole, free_gpus=free, free_cpus=64 - whole + free)
            for whole, free in zip(member.nodes, member.free, strict=True)
        )
        self.store.put(cluster(member.name, *shapes, counted_runs=counted))

    # --- the hub

    async def _hub(self):
        """Let controllers and scheduler look once; while a hub is being killed, each comes only so far."""
        if self.has("kill"):
            self.memory = Memory()
        for work in (self._control, self._schedule):
            self.store.writes_left = self.chance.randrange(4) if self.has("kill") else None
            with contextlib.suppress(Unavailable):
                await work()
        self.store.writes_left = None

    async def _schedule(self):
        snapshot = await take_snapshot(self.store, self._at())
        await apply_plan(plan_cycle(snapshot, self.memory), self.store)

    async def _control(self):
        """Look at every run, then at every job."""
        attempts = self._attempts()
        for runs in attempts.values():
            for run in runs:
                await self._follow(run, runs)
        attempts = self._attempts()
        for each in self.store.all(Job):
            plan = plan_job(each, attempts[each.metadata.name], self._at(), due=self._at())
            if plan.status != each.status:
                await self.store.update_status(each.model_copy(update={"status": plan.status}))

    def _attempts(self):
        attempts = defaultdict(list)
        for run in self.store.all(Run):
            attempts[run.spec.job].append(run)
        return attempts

    async def _follow(self, run, attempts):
        if run.status.phase in FINISHED_RUN_PHASES:
            return
        where = (run.spec.cluster, run.metadata.name)
        owner = self.store.objects[Job, "lab", run.spec.job]
        scope = RunScope(
            run=run,
            job=owner,
            cluster=self.store.objects[Cluster, None, run.spec.cluster],
            newest_epoch=max(each.spec.epoch for each in attempts),
            order=self.orders.get(where),
            report=self.heard.get(where),
        )
        plan = plan_run(scope, self._at())
        if plan.order is not None:
            self.orders[where] = plan.order
        if plan.status != run.status:
            await self.store.update_status(run.model_copy(update={"status": plan.status}))

    # --- what must never be

    def _look(self):
        running = Counter(pods.order.job for member in self.members for pods in member.pods.values())
        going_on = Counter(run.spec.job for run in self.store.all(Run) if run.status.phase not in FINISHED_RUN_PHASES)
        self.overlaps += [(self.now, name) for name, count in (running | going_on).items() if count > 1]
        held = self.holding()
        self.held.append((self.now, held))
        self.excesses += [(self.now, name, held[name]) for name, most in self.story.limits if held[name] > most]
