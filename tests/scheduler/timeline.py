"""Virtual time around plan_cycle: jobs come, runs start, overrun, are told to go, and end; nothing is decided here."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from scheduler_world import NOW, cluster, shape, snapshot

from atoll.federation.resources import JobStatus
from atoll.hub.scheduler.cycle import Memory, plan_cycle

GRACE_SECONDS = 10


@dataclass
class Timeline:
    """One cluster of one node; runs end after what they really take, or soon after they were told to go."""

    gpus: int
    objects: list
    memory: Memory = field(default_factory=Memory)
    seconds: int = 0
    jobs: dict = field(default_factory=dict)
    takes: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    ends: dict = field(default_factory=dict)
    started: dict = field(default_factory=dict)
    preempted: list = field(default_factory=list)
    done: set = field(default_factory=set)

    def submit(self, job, takes):
        """Let a job come now; it really takes so many seconds."""
        created = NOW + timedelta(seconds=self.seconds)
        metadata = job.metadata.model_copy(update={"creation_timestamp": created})
        self.jobs[job.key], self.takes[job.key] = job.model_copy(update={"metadata": metadata}), takes

    @property
    def used(self):
        """GPUs that are held."""
        return sum(self._gpus(run) for run in self.runs.values())

    def _gpus(self, run):
        return self.jobs[f"lab/{run.spec.job}"].spec.gpu.count

    def step(self, seconds):
        """Let time pass, then run one cycle and carry out what it decided."""
        self.seconds += seconds
        for key in [key for key, end in self.ends.items() if end <= self.seconds]:
            self._end(key)
        plan = plan_cycle(self.world(), self.memory)
        for eviction in plan.evictions:
            for victim in eviction.victims:
                self._tell_to_go(victim)
        for placement in plan.placements:
            self._start(placement)
        for waiting in plan.waiting:
            job = self.jobs[waiting.job.key]
            status = job.status.model_copy(update={"reason": waiting.reason, "decision": waiting.record()})
            self.jobs[job.key] = job.model_copy(update={"status": status})
        assert self.used <= self.gpus, "no more runs than fit"
        return plan

    def world(self):
        """See everything as it is now."""
        free = {"free_gpus": self.gpus - self.used, "free_cpus": 64 - len(self.runs)}
        here = cluster("here", shape(gpus=self.gpus, cpus=64, **free), counted_runs=tuple(self.runs))
        seen = snapshot(*self.objects, here, *self.jobs.values(), *self.runs.values())
        return replace(seen, taken_at=NOW + timedelta(seconds=self.seconds))

    def _start(self, placement):
        run, key = placement.run, placement.run.key
        status = run.status.model_copy(update={"phase": "Running", "started_at": NOW + timedelta(seconds=self.seconds)})
        self.runs[key] = run.model_copy(update={"status": status})
        self.ends[key] = self.seconds + self.takes[placement.job.key]
        self.started.setdefault(placement.job.key, []).append(self.seconds)
        self._note(placement.job.key, "Running", run.spec.epoch)

    def _tell_to_go(self, victim):
        key = victim.run.key
        assert self.runs[key].spec.preempted is None, "nobody is told twice"
        spec = self.runs[key].spec.model_copy(update={"preempted": victim.preempted})
        self.runs[key] = self.runs[key].model_copy(update={"spec": spec})
        self.ends[key] = min(self.ends[key], self.seconds + GRACE_SECONDS)
        self.preempted.append((f"lab/{victim.run.spec.job}", victim.preempted.by))

    def _end(self, key):
        run = self.runs.pop(key)
        del self.ends[key]
        job = f"lab/{run.spec.job}"
        if run.spec.preempted is not None:
            self._note(job, "Pending", run.spec.epoch, decision=run.spec.decision)
        else:
            self.done.add(job)
            del self.jobs[job]

    def _note(self, key, phase, epoch, decision=None):
        job = self.jobs[key]
        update = {"phase": phase, "attempts": epoch, "decision": decision, "queued_at": job.metadata.creation_timestamp}
        self.jobs[key] = job.model_copy(update={"status": JobStatus(**{**vars(job.status), **update})})
