"""A federation on virtual time: the real decisions of hub and agents, and everything between them simulated.

Real are plan_run, plan_job, Hearing, Lease, the agent's `decide` and the deadlines of Jobs. Simulated are the store,
the links, the clocks, the cluster that runs pods, and all that may go wrong with them.
"""

from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from atoll.edge.member.deadline import Start, deadline, is_worth_writing
from atoll.edge.member.fence import Standing, decide, is_begun
from atoll.edge.member.lease import Lease, Proof
from atoll.edge.member.records import RunRecord
from atoll.federation.bus.messages import RunOrder, RunReport
from atoll.federation.resources import Cluster, Job, ObjectMeta, Run, RunSpec
from atoll.federation.resources.run import FINISHED_RUN_PHASES, LEASE_ENDED
from atoll.hub.controllers.hearing import Hearing
from atoll.hub.controllers.jobs import plan_job
from atoll.hub.controllers.loss_rules import FencePolicy, LossRules
from atoll.hub.controllers.run_plan import plan_run
from atoll.hub.controllers.run_scope import RunScope
from atoll.hub.members import Held, Path
from faults import Fault

T = TypeVar("T")
EPOCH = datetime(2026, 11, 23, tzinfo=UTC)
LEASE, GRACE, WORK, BEAT = 20.0, 8.0, 60.0, 2.0
STEP = 0.5
FAULTS = ("cut", "stall", "kill", "sleep", "reboot", "lag", "restart hub")


@dataclass(frozen=True)
class Story:
    """All that is left to chance: faults, the rates of clocks, and how much of its grace a pod uses."""

    faults: tuple[Fault, ...] = ()
    rates: tuple[float, ...] = (1.0, 1.0, 1.0)
    hub_rate: float = 1.0
    grace_used: float = 1.0
    policy: str = "Failover"


@dataclass
class Pod:
    """The pods of one run: they do WORK seconds of work, and take their grace when they are told to end."""

    began: float
    named_start: str
    deadline: float
    doomed_at: float | None = None
    ended: float | None = None
    reason: str = ""

    def runs(self, now: float) -> bool:
        return self.ended is None or now < self.ended


class Store:
    """The hub's store: what is written is durable at once."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, str], RunOrder] = {}
        self.reports: dict[tuple[str, str], RunReport] = {}
        self.beats: dict[str, int] = {}
        self.seen: dict[str, int] = {}  # by a hub that may be behind

    def held(self, path: Path) -> Held | None:
        return Held(b"", self.seen[path.member]) if path.member in self.seen else None

    async def newest_revision(self, path: Path) -> int:
        return self.beats.get(path.member, 0)


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


class Member:
    """One cluster and its agent. `tick` does what half a second brings."""

    def __init__(self, name: str, world: "World", rate: float) -> None:
        self.name, self.world, self.rate = name, world, rate
        self.records: dict[str, RunRecord] = {}
        self.orders: dict[str, RunOrder] = {}
        self.pods: dict[str, Pod] = {}
        self.proof: Proof | None = None
        self.boot = 0
        self.start()

    @property
    def now(self) -> float:
        return self.world.now

    def clock(self) -> float:
        return self.now * self.rate + 1000.0

    def start(self) -> None:
        """Begin an agent's life with what its disk holds."""
        self.lease = self.world.lease_type(self.clock, proof=self.proof, boot=str(self.boot))
        self.read_at, self.reading = float("-inf"), None
        self.beat_at, self.flight = self.now, None
        self.looked: dict[str, float] = {}
        self.is_up = True

    def tick(self) -> None:
        world = self.world
        self._kubernetes()
        if world.has(self, "kill") or world.has(self, "reboot"):
            if self.is_up and world.has(self, "reboot"):
                self.boot, self.proof = self.boot + 1, None
            self.is_up = False
            return
        if not self.is_up:
            self.start()
        if world.has(self, "sleep"):
            return
        self._beat()
        self._read()
        for run, order in tuple(self.orders.items()):
            self._reconcile(run, order)

    # --- the agent

    def _beat(self) -> None:
        """Send a heartbeat; its acknowledgement comes late while the link stalls, and not at all once it is cut."""
        world, cut = self.world, self.world.has(self, "cut")
        if self.flight is not None:
            sent_at, due = self.flight
            if cut:
                self.flight = None
            elif self.now >= due and not world.has(self, "stall"):
                self.flight = None
                leased = [order.lease_seconds for order in self.orders.values() if order.lease_seconds]
                self.lease.renew(sent_at, self.clock(), seconds=min(leased, default=None))
                self.proof = self.lease.proof
                self.beat_at = max(self.beat_at, self.now + BEAT)
        if self.flight is None and not cut and self.now >= self.beat_at:
            self.beat_at = self.now + BEAT
            self.flight = (self.clock(), self.now + STEP)
            world.store.beats[self.name] = world.store.beats.get(self.name, 0) + 1

    def _read(self) -> None:
        """Follow the orders: each is heard one step late, all of them again after a cut."""
        if self.world.has(self, "cut"):
            self.reading = None
            return
        if self.reading is None:
            self.reading = (self.clock(), self.now + STEP, self._ordered())
            return
        began, due, orders = self.reading
        if self.now >= due:
            self.orders, self.read_at = orders, began
            self.reading = (self.clock(), self.now + STEP, self._ordered())

    def _ordered(self) -> dict[str, RunOrder]:
        return {run: order for (cluster, run), order in self.world.store.orders.items() if cluster == self.name}

    def _reconcile(self, run: str, order: RunOrder) -> None:
        record, pod = self.records.get(run), self.pods.get(run)
        if record is not None and record.report is not None:
            self._tell(record.report)
            return
        step = "stop" if order.cancelled else self._decide(order, record)
        if step == "begin":
            self.records[run] = RunRecord(
                namespace="lab", run=run, epoch=order.epoch, objects=(), is_applied=True, lease_gain=self.lease.gain
            )
            self.pods[run] = Pod(self.now, f"start-{self.now}", self._deadline(order, None))
        elif step == "stop":
            if pod is None or not pod.runs(self.now):
                end = ("Cancelled", "Cancelled") if order.cancelled else ("Failed", LEASE_ENDED)
                self._end(run, order, *self._outcome(pod, end))
            else:
                self.doom(pod, "Deleted")
        elif step == "go on" and pod is not None:
            if pod.runs(self.now):
                self._prolong(run, order, pod)
                self._tell(self._report(run, order, "Running", ""))
            else:
                self._end(run, order, *self._outcome(pod, ("Failed", pod.reason)))

    def _decide(self, order: RunOrder, record: RunRecord | None) -> str:
        is_held = self.lease.remaining(order.lease_seconds or 0.0) > 0
        is_current = is_begun(record) or self.read_at >= self.lease.gained_at
        return decide(order, record, Standing(is_held, self.lease.gain, is_current))

    def _deadline(self, order: RunOrder, start: Start | None) -> float:
        if order.lease_seconds is None:
            return float("inf")
        remaining = self.lease.remaining(order.lease_seconds)
        return float(deadline(order, remaining, start=start, now=self.clock()))

    def _prolong(self, run: str, order: RunOrder, pod: Pod) -> None:
        if order.lease_seconds is None or self.now - self.looked.get(run, 0.0) < order.lease_seconds / 4:
            return
        self.looked[run] = self.now
        record = self.records[run]
        if record.job_started != pod.named_start:
            record = record.model_copy(update={"job_started": pod.named_start, "start_seen_at": self.clock()})
            self.records[run] = record
        wanted = self._deadline(order, Start(record.job_started, record.start_seen_at))
        if is_worth_writing(int(wanted), int(pod.deadline), lease_seconds=order.lease_seconds):
            pod.deadline = wanted

    def _outcome(self, pod: Pod | None, otherwise: tuple[str, str]) -> tuple[str, str]:
        return ("Succeeded", "") if pod is not None and pod.reason == "Done" else otherwise

    def _end(self, run: str, order: RunOrder, phase: str, reason: str) -> None:
        report = self._report(run, order, phase, reason)
        self.records[run] = self.records.get(
            run, RunRecord(namespace="lab", run=run, epoch=order.epoch, objects=())
        ).model_copy(update={"report": report})
        self._tell(report)

    def _report(self, run: str, order: RunOrder, phase: str, reason: str) -> RunReport:
        at = EPOCH + timedelta(seconds=self.now)
        return RunReport(namespace="lab", run=run, epoch=order.epoch, phase=phase, reason=reason, at=at)  # type: ignore[arg-type]

    def _tell(self, report: RunReport) -> None:
        if not self.world.has(self, "cut"):
            self.world.store.reports[self.name, report.run] = report

    # --- the cluster, which lives whatever becomes of its agent

    def _kubernetes(self) -> None:
        for pod in self.pods.values():
            if pod.ended is not None:
                continue
            if self.now - pod.began >= WORK and pod.doomed_at is None:
                pod.ended, pod.reason = self.now, "Done"
            elif (self.now - pod.began) * self.rate >= pod.deadline:
                self.doom(pod, LEASE_ENDED)

    def doom(self, pod: Pod, reason: str) -> None:
        """Tell a pod to end."""
        if pod.doomed_at is None and pod.ended is None:
            pod.doomed_at, pod.reason = self.now, reason
            pod.ended = self.now + GRACE * self.world.story.grace_used
            self.world.stopped.append((self.now, self.name, reason))


@dataclass
class World:
    """All of it. `fence` and `lease_type` are what a test may plant a mistake in."""

    story: Story
    fence: FencePolicy = field(default_factory=lambda: FencePolicy(LEASE, margin_seconds=2.0))
    lease_type: type[Lease] = Lease

    def __post_init__(self) -> None:
        self.now = 0.0
        self.store = Store()
        self.stopped: list[tuple[float, str, str]] = []
        self.overlaps: list[tuple[float, list[str]]] = []
        self.members = [Member(f"c{n}", self, rate) for n, rate in enumerate(self.story.rates)]
        self.runs: dict[str, Run] = {}
        pods = {"terminationGracePeriodSeconds": GRACE, "containers": [{"name": "main", "image": "busybox"}]}
        spec = {"queue": "lab", "lossPolicy": self.story.policy, "workload": {"spec": {"template": {"spec": pods}}}}
        metadata = {"name": "j", "namespace": "lab", "creationTimestamp": EPOCH}
        self.job = Job.model_validate({"metadata": metadata, "spec": spec})
        self._lead()

    def _lead(self) -> None:
        self.hearing = Hearing(self.store, lambda: self.now * self.story.hub_rate)  # type: ignore[arg-type]
        for member in self.members:
            self.hearing.note(member.name)

    def has(self, member: Member, kind: str) -> bool:
        return self._is_now(kind, int(member.name[1:]))

    def _is_now(self, kind: str, cluster: int | None = None) -> bool:
        return any(
            fault.kind == kind and fault.at <= self.now < fault.at + fault.seconds
            for fault in self.story.faults
            if cluster is None or fault.cluster == cluster
        )

    def run(self, seconds: float) -> "World":
        """Let time pass until the job has ended or it is over."""
        while self.now < seconds and not (self.is_done and not any(self.running())):
            for member in self.members:
                member.tick()
            self._hub()
            running = self.running()
            if len(running) > 1:
                self.overlaps.append((self.now, running))
            self.now += STEP
        return self

    @property
    def is_done(self) -> bool:
        return self.job.status.phase == "Succeeded"

    def running(self) -> list[str]:
        return [m.name for m in self.members for pod in m.pods.values() if pod.runs(self.now)]

    # --- the hub

    def _hub(self) -> None:
        if self._is_now("restart hub"):
            self._lead()
            return
        if not self._is_now("lag"):
            for name, beats in self.store.beats.items():
                if self.store.seen.get(name) != beats:
                    self.store.seen[name] = beats
                    self.hearing.note(name)
        for run in tuple(self.runs.values()):
            self._plan(run)
        at = EPOCH + timedelta(seconds=self.now)
        self.job = self.job.model_copy(update={"status": plan_job(self.job, tuple(self.runs.values()), at).status})
        if self.job.status.phase == "Pending" and all(
            r.status.phase in FINISHED_RUN_PHASES for r in self.runs.values()
        ):
            self._place()

    def _plan(self, run: Run) -> None:
        cluster, name = run.spec.cluster, run.metadata.name
        order = self.store.orders.get((cluster, name))
        lease = order.lease_seconds if order is not None else None
        scope = RunScope(
            run=run,
            job=self.job,
            cluster=Cluster(metadata=ObjectMeta(name=cluster)),
            newest_epoch=len(self.runs),
            order=order,
            report=self.store.reports.get((cluster, name)),
            silence_seconds=finished(self.hearing.silence_seconds(cluster, at_least=lease)) if lease else None,
            rules=LossRules(self.fence, timeout_seconds=LEASE / 2),
        )
        plan = plan_run(scope, EPOCH + timedelta(seconds=self.now))
        if plan.order is not None:
            self.store.orders[cluster, name] = plan.order
        self.runs[name] = run.model_copy(update={"status": plan.status})

    def _place(self) -> None:
        """Give the job to the cluster that was heard last."""
        tried = [run.spec.cluster for run in self.runs.values()]
        best = min(self.members, key=lambda m: (self._silence(m.name) > LEASE / 2, tried.count(m.name), m.name))
        if self._silence(best.name) > LEASE / 2:
            return
        epoch = len(self.runs) + 1
        spec = RunSpec(job="j", cluster=best.name, epoch=epoch)
        self.runs[f"j-{epoch}"] = Run(metadata=ObjectMeta(name=f"j-{epoch}", namespace="lab"), spec=spec)

    def _silence(self, cluster: str) -> float:
        return finished(self.hearing.silence_seconds(cluster, at_least=float("inf")))


def lived(story: Story, **planted: Any) -> World:
    """Let a story happen, then everything heal, and the job have time to end."""
    last = max((fault.at + fault.seconds for fault in story.faults), default=0.0)
    return World(replace(story), **planted).run(last + 400.0)
