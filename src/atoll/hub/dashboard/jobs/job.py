"""One job seen closely: where it is on its way, its attempts, the decision about it, and what can be done. Pure."""

import shlex
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.resources import FINISHED_RUN_PHASES, Job, Run, resolve
from atoll.federation.resources.submitter import submitter_of
from atoll.hub.dashboard.actions import Action, offered
from atoll.hub.dashboard.ask import Ask, link
from atoll.hub.dashboard.jobs.decision import DecisionModel, view_decision
from atoll.hub.dashboard.jobs.deeds import DEEDS
from atoll.hub.dashboard.tones import tone

_STEPS = ("Pending", "Placed", "Running", "Committing", "Succeeded")


@dataclass(frozen=True)
class JobScope:
    """What the page is made of."""

    job: Job
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Step:
    """One station on a job's way; `state` is done, now, ahead or failed."""

    word: str
    state: str


@dataclass(frozen=True)
class Attempt:
    """One run of the job."""

    epoch: int
    cluster: str
    phase: str
    tone: str
    why: str
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None
    exit_code: int | None


@dataclass(frozen=True)
class Mounted:
    """A dataset that the job reads or writes."""

    word: str
    dataset: str
    path: str
    url: str


@dataclass(frozen=True)
class JobModel:
    """What the page shows. `log_url` is empty where there is nothing to read yet."""

    namespace: str
    name: str
    queue: str
    user: str
    phase: str
    tone: str
    reason: str
    message: str
    cluster: str
    workload: str
    priority: int
    wants: str
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    steps: tuple[Step, ...]
    tasks: str
    attempts: tuple[Attempt, ...]
    mounts: tuple[Mounted, ...]
    decision: DecisionModel | None
    actions: tuple[Action, ...]
    log_url: str
    log_command: str


def view_job(scope: JobScope, ask: Ask) -> JobModel:
    """Make the page of a job."""
    job, status = scope.job, scope.job.status
    namespace, name = job.metadata.namespace or "", job.metadata.name
    named = f"{shlex.quote(name)} -n {shlex.quote(namespace)}"
    runs = sorted(scope.runs, key=lambda run: -run.spec.epoch)
    may_read = bool(runs) and ask.rights.may("get", "jobs/log", namespace)
    return JobModel(
        namespace=namespace,
        name=name,
        queue=job.spec.queue,
        user=submitter_of(job),
        phase=status.phase,
        tone=tone(status.phase),
        reason=status.reason,
        message=status.message,
        cluster=status.cluster or "",
        workload=f"{job.spec.workload.kind} ({job.spec.workload.api_version})",
        priority=job.spec.priority,
        wants=_wants(job),
        created_at=job.metadata.creation_timestamp,
        started_at=status.started_at,
        finished_at=status.finished_at,
        steps=_steps(job),
        tasks=_tasks(job),
        attempts=tuple(_attempt(run, ask.now) for run in runs),
        mounts=_mounts(job, namespace),
        decision=view_decision(status.decision or (runs[0].spec.decision if runs else None)),
        actions=offered(ask, DEEDS, job.wire()),
        log_url=link("jobs", namespace, name, "log") if may_read else "",
        log_command=f"atoll job logs {named} --follow",
    )


def _steps(job: Job) -> tuple[Step, ...]:
    """Lay out the way; one that ended otherwise ends where it was."""
    phase = job.status.phase
    if phase in _STEPS:
        at = _STEPS.index(phase)
        last = len(_STEPS) - 1
        states = [
            "done" if number < at or at == last else "now" if number == at else "ahead" for number in range(last + 1)
        ]
        return tuple(Step(word, state) for word, state in zip(_STEPS, states, strict=True))
    passed = ("Pending", "Placed", "Running") if job.status.started_at else ("Pending",)
    return (*(Step(word, "done") for word in passed), Step(phase, "failed"))


def _wants(job: Job) -> str:
    gpu, array = job.spec.gpu, job.spec.array
    words = []
    if gpu is not None:
        models = f" ({', '.join(gpu.models)})" if gpu.models else ""
        words.append(f"{gpu.count} GPU{'s' if gpu.count > 1 else ''}{models}")
    if array is not None:
        words.append(f"{array.count} tasks")
    if job.spec.expected_duration:
        words.append(f"about {job.spec.expected_duration}")
    return ", ".join(words)


def _tasks(job: Job) -> str:
    array = job.status.array
    if array is None:
        return ""
    return (
        f"{array.succeeded} of {array.total} succeeded, {array.running} running, {array.failed} failed, "
        f"{array.waiting} waiting"
    )


def _attempt(run: Run, now: datetime) -> Attempt:
    status = run.status
    end = status.finished_at or (None if status.phase in FINISHED_RUN_PHASES else now)
    why = run.spec.preempted.message if run.spec.preempted is not None else status.message
    return Attempt(
        epoch=run.spec.epoch,
        cluster=run.spec.cluster,
        phase=status.phase,
        tone=tone(status.phase),
        why=": ".join(filter(None, (status.reason, why))),
        started_at=status.started_at,
        finished_at=status.finished_at,
        seconds=(end - status.started_at).total_seconds() if end is not None and status.started_at else None,
        exit_code=status.exit_code,
    )


def _mounts(job: Job, namespace: str) -> tuple[Mounted, ...]:
    reads = [("reads", item.dataset, item.mount_path) for item in job.spec.inputs]
    writes = [("writes", item.dataset, item.mount_path) for item in job.spec.outputs]
    return tuple(
        Mounted(word, dataset, str(path), link("data", "datasets", *resolve(dataset, namespace)))
        for word, dataset, path in (*reads, *writes)
    )
