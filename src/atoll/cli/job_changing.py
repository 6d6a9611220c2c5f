"""The `job` commands that change jobs: cancel, requeue, hold, release; those that are named, or all that match."""

from functools import partial
from typing import Annotated

import typer

from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.job_choosing import Choice, chooses_jobs
from atoll.cli.options import DryRun

Grace = Annotated[
    str | None,
    typer.Option("--grace", help="How long its pods may take to end, such as 10s; no longer than they were given."),
]
# Whoever knows `scancel 4711_7` tries it: the answer says what there is instead.
Task = Annotated[int | None, typer.Option("--task", hidden=True)]
Now = Annotated[bool, typer.Option("--now", help="Kill it at once; the same as --grace 0s.")]


@chooses_hub
@chooses_jobs
def cancel(
    grace: Grace = None,
    now: Now = False,
    dry_run: DryRun = False,
    task: Task = None,
    *,
    choice: Choice,
    hub: HubChoice,
) -> None:
    """Stop jobs, with all of their tasks; their records stay.

    Their pods get SIGTERM, and SIGKILL when the grace is over. Once more with --now ends one that takes too long.
    Chosen by what they are, those are stopped that have not ended; many, only when that is confirmed.

    \b
    Examples:
      atoll job cancel picks -n seismology
      atoll job cancel picks fit -n seismology --grace 5s
      atoll job cancel -A --user me --phase Pending --yes
    """
    from atoll.cli import job_changes, job_choices

    if task is not None:
        raise job_changes.no_single_task()
    how = partial(job_changes.cancel, grace=job_changes.grace_of(grace, now=now))
    raise typer.Exit(job_choices.change("cancel", how, choice, dry_run=dry_run, hub=hub))


@chooses_hub
@chooses_jobs
def requeue(
    grace: Grace = None,
    now: Now = False,
    dry_run: DryRun = False,
    *,
    choice: Choice,
    hub: HubChoice,
) -> None:
    """Stop jobs that run, and place them again. That counts as no failure.

    One that has ended begins again, too: its outputs get a new version when it succeeds. Of an array the tasks that
    have succeeded stay done, unless all have. Chosen by what they are, jobs that have succeeded are left alone unless
    --phase names them.

    \b
    Examples:
      atoll job requeue picks -n seismology
      atoll job requeue -n seismology --queue lab --phase Failed
    """
    from atoll.cli import job_changes, job_choices

    how = partial(job_changes.requeue, grace=job_changes.grace_of(grace, now=now))
    raise typer.Exit(job_choices.change("requeue", how, choice, dry_run=dry_run, hub=hub))


@chooses_hub
@chooses_jobs
def hold(dry_run: DryRun = False, *, choice: Choice, hub: HubChoice) -> None:
    """Keep jobs from being placed until they are released. One that runs already goes on.

    \b
    Examples:
      atoll job hold picks -n seismology
      atoll job hold -n seismology --user me --phase Pending
    """
    from atoll.cli import job_changes, job_choices

    raise typer.Exit(job_choices.change("hold", job_changes.hold, choice, dry_run=dry_run, hub=hub))


@chooses_hub
@chooses_jobs
def release(dry_run: DryRun = False, *, choice: Choice, hub: HubChoice) -> None:
    """Let jobs be placed that were held. They keep their places in the queue.

    \b
    Examples:
      atoll job release picks -n seismology
      atoll job release -n seismology --user me
    """
    from atoll.cli import job_changes, job_choices

    raise typer.Exit(job_choices.change("release", job_changes.release, choice, dry_run=dry_run, hub=hub))
