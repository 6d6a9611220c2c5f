"""The `job` commands that change a job: cancel, requeue, hold, release."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.options import DryRun, JobName, Namespace
from atoll.federation.errors import InvalidInput

Grace = Annotated[
    str | None,
    typer.Option("--grace", help="How long its pods may take to end, such as 10s; no longer than they were given."),
]
# Whoever knows `scancel 4711_7` tries it: the answer says what there is instead.
Task = Annotated[int | None, typer.Option("--task", hidden=True)]
Now = Annotated[bool, typer.Option("--now", help="Kill it at once; the same as --grace 0s.")]


@chooses_hub
def cancel(
    name: JobName,
    namespace: Namespace = "default",
    grace: Grace = None,
    now: Now = False,
    dry_run: DryRun = False,
    task: Task = None,
    *,
    hub: HubChoice,
) -> None:
    """Stop a job, with all of its tasks; its record stays.

    Its pods get SIGTERM, and SIGKILL when the grace is over. Once more with --now ends one that takes too long.

    \b
    Examples:
      atoll job cancel picks -n seismology
      atoll job cancel picks -n seismology --grace 5s
    """
    from atoll.cli import job_changes

    if task is not None:
        raise InvalidInput(
            "--task: one task of an array cannot be cancelled by itself: an Indexed Job of Kubernetes has no word for "
            f"it. Without --task all tasks of {name} are cancelled that have not ended"
        )
    change = partial(job_changes.cancel, grace=job_changes.grace_of(grace, now=now))
    _change(change, name, namespace, dry_run=dry_run, hub=hub)


@chooses_hub
def requeue(
    name: JobName,
    namespace: Namespace = "default",
    grace: Grace = None,
    now: Now = False,
    dry_run: DryRun = False,
    *,
    hub: HubChoice,
) -> None:
    """Stop a job if it runs, and place it again. That counts as no failure.

    One that has ended begins again, too: its outputs get a new version when it succeeds. Of an array the tasks that
    have succeeded stay done, unless all have.

    \b
    Example:
      atoll job requeue picks -n seismology
    """
    from atoll.cli import job_changes

    change = partial(job_changes.requeue, grace=job_changes.grace_of(grace, now=now))
    _change(change, name, namespace, dry_run=dry_run, hub=hub)


@chooses_hub
def hold(name: JobName, namespace: Namespace = "default", dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Keep a job from being placed until it is released. One that runs already goes on.

    \b
    Example:
      atoll job hold picks -n seismology
    """
    from atoll.cli import job_changes

    _change(job_changes.hold, name, namespace, dry_run=dry_run, hub=hub)


@chooses_hub
def release(name: JobName, namespace: Namespace = "default", dry_run: DryRun = False, *, hub: HubChoice) -> None:
    """Let a job be placed that was held. It keeps its place in the queue.

    \b
    Example:
      atoll job release picks -n seismology
    """
    from atoll.cli import job_changes

    _change(job_changes.release, name, namespace, dry_run=dry_run, hub=hub)


def _change(change: Callable[..., str], name: str, namespace: str, *, dry_run: bool, hub: HubChoice) -> None:
    """Have a job changed, and say what came of it."""
    from atoll.cli.hub import connect
    from atoll.cli.output import say

    with connect(hub) as api:
        outcome = change(api, namespace, name, dry_run=dry_run)
    say(f"job.atoll.dev/{name} {outcome}{' (dry run)' if dry_run else ''}")
