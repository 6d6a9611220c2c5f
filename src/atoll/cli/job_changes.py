"""What is asked for of a job that exists: to be held, released, cancelled, or placed again."""

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.cli.jobs import read
from atoll.federation.capacity import format_duration, parse_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import FINISHED_JOB_PHASES, Job

# Kubernetes gives a pod this long to end unless it says otherwise (core/v1 PodSpec).
_DEFAULT_GRACE_SECONDS = 30


def grace_of(grace: str | None, *, now: bool) -> float | None:
    """Give the grace in seconds that was asked for; None if none was.

    Raises:
        InvalidInput: it is no duration, or two were given.
    """
    if now and grace is not None:
        raise InvalidInput("--now: --grace is given, too: write one of them")
    if grace is None:
        return 0.0 if now else None
    try:
        return parse_duration(grace)
    except InvalidInput as error:
        raise InvalidInput(f"--grace: {error}") from error


def no_single_task() -> InvalidInput:
    """Say what there is instead of the end of one task."""
    return InvalidInput(
        "--task: one task of an array cannot be cancelled by itself: an Indexed Job of Kubernetes has no word for it. "
        "Without --task all tasks are cancelled that have not ended"
    )


def cancel(api: Api, namespace: str, name: str, *, dry_run: bool, grace: float | None = None) -> str:
    """Stop a job unless it has ended; give the words for what came of it.

    Raises:
        InvalidInput: the grace is longer than its pods were given.
    """
    job = read(api, namespace, name)
    if job.status.phase in FINISHED_JOB_PHASES:
        return f"had ended already: {job.status.phase}"
    _change(api, job, {"cancelled": True, **_grace(job, grace)}, dry_run=dry_run)
    if job.status.phase == "Pending":
        return "cancelled"
    return f"is being cancelled: its run on {job.status.cluster} is stopped"


def requeue(api: Api, namespace: str, name: str, *, dry_run: bool, grace: float | None = None) -> str:
    """Have a job placed again; give the words for what comes of it.

    Raises:
        InvalidInput: the grace is longer than its pods were given. Conflict: the job changed meanwhile; try again.
    """
    job = read(api, namespace, name)
    # The revision guards the count: of two requests at one moment neither is lost, and one is told to look again.
    spec = {"requeues": job.spec.requeues + 1, "cancelled": False, **_grace(job, grace)}
    _change(api, job, spec, dry_run=dry_run, is_guarded=True)
    if job.status.phase == "Pending":
        return "requeued: it waits"
    if job.status.phase not in FINISHED_JOB_PHASES:
        return "requeued: it is stopped, and placed again when it has ended"
    outputs = ", ".join(output.dataset for output in job.spec.outputs)
    kept = f"; {outputs} will get a new version, and keeps the one that it has until then" if outputs else ""
    return f"requeued: it was {job.status.phase}, and begins again{kept}"


def hold(api: Api, namespace: str, name: str, *, dry_run: bool) -> str:
    """Let a job not be placed until it is released; give the words for what came of it."""
    job = read(api, namespace, name)
    if job.status.phase in FINISHED_JOB_PHASES:
        return f"had ended already: {job.status.phase}"
    if job.spec.held:
        return "was held already"
    _change(api, job, {"held": True}, dry_run=dry_run)
    return "held" if job.status.phase == "Pending" else "held: the run that it has goes on, a further one waits"


def release(api: Api, namespace: str, name: str, *, dry_run: bool) -> str:
    """Let a held job be placed; give the words for what came of it."""
    job = read(api, namespace, name)
    if not job.spec.held:
        return "was not held"
    _change(api, job, {"held": False}, dry_run=dry_run)
    return "released"


def _change(api: Api, job: Job, spec: Json, *, dry_run: bool, is_guarded: bool = False) -> None:
    body: Json = {"spec": spec}
    if is_guarded:
        body["metadata"] = {"resourceVersion": job.metadata.resource_version}
    path = kinds.atoll("Job").path(job.metadata.namespace or "default", job.metadata.name)
    api.merge(path, body, dry_run=dry_run)


def _grace(job: Job, seconds: float | None) -> Json:
    """Give the field for a grace; what pods were given when they were made can only be shortened."""
    if seconds is None:
        return {"stopGrace": None}
    longest = _longest(job)
    if seconds > longest and job.status.phase in ("Placed", "Running"):
        raise InvalidInput(
            f"--grace {format_duration(seconds)}: its pods were given {format_duration(longest)} when they were made, "
            "and that can only be shortened: write less, or submit the job with spec.gracePeriod"
        )
    return {"stopGrace": f"{seconds:g}s"}


def _longest(job: Job) -> float:
    if job.spec.grace_period is not None:
        return parse_duration(job.spec.grace_period)
    template = job.spec.workload.spec.get("template")
    pod = template.get("spec") if isinstance(template, dict) else None
    own = pod.get("terminationGracePeriodSeconds") if isinstance(pod, dict) else None
    return float(own) if isinstance(own, int) else _DEFAULT_GRACE_SECONDS
