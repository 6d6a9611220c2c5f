"""What a run needs next: pure decisions over everything that is known of it.

Owns the order of a run's life: staged → ordered → reported → committed, and the fences: an older epoch orders and
commits nothing, a cancelled run orders nothing new, a commit counts only when its own version was sealed by this run.
"""

from dataclasses import replace
from datetime import datetime

from atoll.federation.bus.data_messages import CommitOrder
from atoll.federation.bus.messages import RunOrder, RunReport
from atoll.federation.resources import (
    FINISHED_RUN_PHASES,
    Cluster,
    ObjectMeta,
    Run,
    RunInput,
    RunStatus,
    Transfer,
    TransferSpec,
    transfer_name,
)
from atoll.federation.resources.run import REQUEUED
from atoll.hub.accounting.closing import CHARGED_JOB
from atoll.hub.controllers.copy_sources import copy_source
from atoll.hub.controllers.fence import STAYS, displacement, standing_reason
from atoll.hub.controllers.manifests import compile_run
from atoll.hub.controllers.retries import action_of
from atoll.hub.controllers.run_scope import Input, Output, RunPlan, RunScope
from atoll.hub.controllers.run_statuses import at_phase, ended, marked, proven, reported

# How soon to look again at a commit that waits for another run's, or that the sink has refused.
_LOOK_AGAIN_SECONDS = 1.0
# How long a sink may refuse a commit. Shorter, and a disk that is full for a minute costs a day's work; longer, and a
# commit that can never succeed keeps its job from its next attempt.
_COMMIT_PATIENCE_SECONDS = 120.0
# What a newer attempt does while the one before it may still be of use.
_NOT_YET_RUNNING = frozenset({"Pending", "Staging", "Starting"})


def plan_run(scope: RunScope, now: datetime) -> RunPlan:
    """Decide the next step of a run."""
    run, report = scope.run, _own_report(scope)
    if run.status.phase in FINISHED_RUN_PHASES:
        mine = [output for output in scope.outputs if _is_mine(scope, output.order)]
        return RunPlan(run.status, done=tuple(output.dataset for output in mine))
    if scope.newest_epoch > run.spec.epoch and not _is_kept_beside(scope, report):
        status = ended(scope, "Failed", now, reason="StaleEpoch", message=f"epoch {scope.newest_epoch} replaced it")
        return RunPlan(status, _cancelled(scope.order))
    if report is not None and _counts_as_success(scope, report):
        return _commit(scope, _as_success(report), now)
    if report is not None and report.phase in FINISHED_RUN_PHASES:
        return RunPlan(_ended_there(scope, report))
    if run.spec.cancelled:
        return _stop(scope, report, now)
    moved = displacement(scope)
    if moved.is_over:
        return RunPlan(ended(scope, "Failed", now, reason=moved.reason, message=proven(scope, moved, now)))
    plan = _go_on(scope, report, now)
    return replace(
        plan,
        status=marked(plan.status, moved, now),
        order=_cancelled(scope.order) if moved.stops else plan.order,
        again_seconds=moved.again_seconds if plan.again_seconds is None else plan.again_seconds,
    )


def _counts_as_success(scope: RunScope, report: RunReport) -> bool:
    """Tell whether what an agent reports as an end lets the outputs be committed: a rule may call a failure that."""
    if report.phase != "Failed" or scope.job.spec.array is not None:
        return report.phase == "Succeeded"
    return action_of(scope.job.spec.retry_policy, report.reason, report.exit_code) == "Succeed"


def _stop(scope: RunScope, report: RunReport | None, now: datetime) -> RunPlan:
    """Have a run stopped as its user wishes; one that is requeued leaves a cluster that is lost as any other does."""
    if scope.order is None:
        return RunPlan(_never_started(scope, now))
    moved = displacement(scope) if scope.run.spec.requeued else STAYS
    if moved.is_over:
        return RunPlan(ended(scope, "Failed", now, reason=moved.reason, message=proven(scope, moved, now)))
    status = reported(scope, report, report.phase) if report is not None else at_phase(scope, "Starting")
    order = _cancelled(scope.order, scope.run.spec.grace_seconds)
    return RunPlan(status, order, again_seconds=moved.again_seconds)


def _as_success(report: RunReport) -> RunReport:
    """Say of a failure that counts as a success that it does; its message and exit code tell what it was."""
    return report if report.phase == "Succeeded" else report.model_copy(update={"reason": "CountedAsSuccess"})


def _never_started(scope: RunScope, now: datetime) -> RunStatus:
    if scope.run.spec.requeued:
        return ended(scope, "Failed", now, reason=REQUEUED, message="requeued before it was started")
    return ended(scope, "Cancelled", now, reason="Cancelled", message="cancelled before it was started")


def _go_on(scope: RunScope, report: RunReport | None, now: datetime) -> RunPlan:
    if report is not None and not _is_no_news(scope, report):
        return RunPlan(reported(scope, report, report.phase), _widened(scope))
    if scope.order is not None:
        return RunPlan(at_phase(scope, "Starting"), _widened(scope))
    if scope.cluster is None:  # its order went with it: what follows is for the fence to say
        return RunPlan(scope.run.status)
    return _start(scope, scope.cluster, now)


def _is_no_news(scope: RunScope, report: RunReport) -> bool:
    """Tell whether a report says no more than that the order has arrived, and nothing holds the workload up."""
    is_told = scope.run.status.phase == "Starting" and scope.order is not None
    return is_told and report.phase == "Pending" and not (report.reason or report.message or report.pods)


def _widened(scope: RunScope) -> RunOrder | None:
    """Give the order as it stands with as many tasks at once as the run now says; None if it says so already."""
    order, wanted = scope.order, scope.run.spec.parallelism
    if order is None or wanted is None or order.parallelism == wanted:
        return None
    return order.model_copy(update={"parallelism": wanted})


def _is_kept_beside(scope: RunScope, report: RunReport | None) -> bool:
    """Tell whether a run goes on until the attempt that shall take its place runs."""
    is_working = scope.order is not None and (report is None or report.phase not in FINISHED_RUN_PHASES)
    is_wanted = scope.job.spec.loss_policy == "Duplicate" and not scope.job.spec.cancelled
    return is_working and is_wanted and scope.newest_phase in _NOT_YET_RUNNING


def _ended_there(scope: RunScope, report: RunReport) -> RunStatus:
    """Take a report of an end; a run that its user did not cancel was stopped because it had to go."""
    status = reported(scope, report, report.phase)
    if report.phase == "Cancelled" and scope.run.spec.requeued:
        return status.model_copy(update={"phase": "Failed", "reason": REQUEUED, "message": "the job was requeued"})
    if report.phase != "Cancelled" or scope.run.spec.cancelled:
        return status
    reason, message = standing_reason(scope.run)
    return status.model_copy(update={"phase": "Failed", "reason": reason, "message": message})


def _own_report(scope: RunScope) -> RunReport | None:
    """A report of another epoch says nothing about this run."""
    report = scope.report
    return report if report is not None and report.epoch == scope.run.spec.epoch else None


# --- before the order


def _start(scope: RunScope, cluster: Cluster, now: datetime) -> RunPlan:
    """Stage what is missing; order when nothing is."""
    missing = [given for given in scope.inputs if not _is_there(scope, given)]
    if not missing:
        return RunPlan(at_phase(scope, "Starting"), _order(scope, cluster))
    return _stage(scope, missing, now)


def _is_there(scope: RunScope, given: Input) -> bool:
    """Tell whether the run's cluster holds the pinned version of an input."""
    cluster, version, dataset = scope.run.spec.cluster, given.given.version, given.dataset
    if given.transfer is not None and given.transfer.status.phase == "Succeeded":
        return True
    if dataset is None:
        return False
    if dataset.status.complete and dataset.status.version == version:
        return any((replica.cluster, replica.version) == (cluster, version) for replica in dataset.status.replicas)
    listed = next((each for each in dataset.status.versions if each.version == version and each.complete), None)
    if listed is not None and listed.clusters:
        return cluster in listed.clusters
    # One that still grows is at home, and so is an older one that no mover tells of.
    return dataset.spec.home == cluster and dataset.status.version >= version


def _stage(scope: RunScope, missing: list[Input], now: datetime) -> RunPlan:
    """Copy missing inputs; a copy that failed in this run's time fails the run, an older one is made again."""
    transfers: list[Transfer] = []
    discard: list[Transfer] = []
    for given in missing:
        name, version = given.given.dataset, given.given.version
        source = _source(given, scope.run)
        if given.transfer is not None and given.transfer.status.phase == "Failed":
            if not _is_older(given.transfer, scope.run):
                message = f"{name} version {version} could not be copied: {given.transfer.status.message}"
                return RunPlan(ended(scope, "Failed", now, reason="StagingFailed", message=message))
            discard.append(given.transfer)
        if source is None:
            message = f"no cluster holds {name} version {version} any more"
            return RunPlan(ended(scope, "Failed", now, reason="InputLost", message=message))
        if given.transfer is None or given.transfer in discard:
            transfers.append(_staging(scope.run, given.given, source))
    names = ", ".join(f"{given.given.dataset} version {given.given.version}" for given in missing)
    status = at_phase(scope, "Staging", reason="CopyingInputs", message=f"copying {names}")
    return RunPlan(status, transfers=tuple(transfers), discard=tuple(discard))


def _is_older(transfer: Transfer, run: Run) -> bool:
    finished, placed = transfer.status.finished_at, run.metadata.creation_timestamp
    return finished is not None and placed is not None and finished < placed


def _source(given: Input, run: Run) -> str | None:
    if given.dataset is None:
        return None
    return copy_source(
        given.dataset,
        given.given.version,
        destination=run.spec.cluster,
        record=run.spec.decision,
        unheard=given.unheard,
    )


def staging_name(run: Run, given: RunInput) -> str:
    """Name the Transfer that brings an input to a run's cluster: the same for every run that needs it there."""
    return transfer_name(given.dataset, given.version, run.spec.cluster)


def _staging(run: Run, given: RunInput, source: str) -> Transfer:
    return Transfer(
        metadata=ObjectMeta(
            name=staging_name(run, given), namespace=given.namespace, annotations={CHARGED_JOB: run.spec.job}
        ),
        spec=TransferSpec(dataset=given.dataset, version=given.version, source=source, destination=run.spec.cluster),
    )


def _order(scope: RunScope, cluster: Cluster) -> RunOrder:
    run = scope.run
    return RunOrder(
        namespace=run.metadata.namespace or "default",
        run=run.metadata.name,
        job=run.spec.job,
        epoch=run.spec.epoch,
        manifests=compile_run(scope.job, run, cluster, level=scope.pod_security),
        lease_seconds=scope.rules.fence.lease_seconds if scope.job.spec.loss_policy == "Failover" else None,
        tasks=run.spec.tasks,
        parallelism=run.spec.parallelism,
    )


def _cancelled(order: RunOrder | None, grace_seconds: float | None = None) -> RunOrder | None:
    update = {"cancelled": True, "grace_seconds": grace_seconds}
    return order.model_copy(update=update) if order is not None else None


# --- after the report


def _commit(scope: RunScope, report: RunReport, now: datetime) -> RunPlan:
    """Have every output sealed; the run has succeeded when each is."""
    commits: list[CommitOrder] = []
    sealed = 0
    refused: list[tuple[Output, str]] = []
    for output in scope.outputs:
        if _is_sealed(scope, output):
            sealed += 1
        elif _is_mine(scope, output.order):
            if output.report is not None and output.report.error:
                refused.append((output, output.report.error))
        elif not output.is_busy:
            commits.append(_commit_order(scope, output))
    if sealed == len(scope.outputs):
        status = reported(scope, report, "Succeeded").model_copy(update={"finished_at": report.finished_at or now})
        return RunPlan(status)  # the orders go when this status stands: without either, the commit would be repeated
    if refused:
        return _refused(scope, report, now, refused)
    again = _LOOK_AGAIN_SECONDS if any(output.is_busy for output in scope.outputs) else None
    return RunPlan(reported(scope, report, "Committing"), commits=tuple(commits), again_seconds=again)


def _refused(scope: RunScope, report: RunReport, now: datetime, refused: list[tuple[Output, str]]) -> RunPlan:
    """The sink tries again by itself what may pass, such as a full disk; the work is given up only after a while."""
    message = "; ".join(f"{output.dataset}: {error}" for output, error in refused)
    since = report.finished_at or report.at
    if (now - since).total_seconds() > _COMMIT_PATIENCE_SECONDS:
        return RunPlan(ended(scope, "Failed", now, reason="CommitFailed", message=message))
    taken = [output for output, _ in refused if _is_taken(output)]
    status = reported(scope, report, "Committing").model_copy(update={"reason": "CommitRefused", "message": message})
    commits = tuple(_commit_order(scope, output) for output in taken)
    return RunPlan(status, commits=commits, again_seconds=_LOOK_AGAIN_SECONDS)


def _is_taken(output: Output) -> bool:
    """Tell whether the version that was ordered exists already, made by somebody else: the next one is free."""
    order, report = output.order, output.report
    return (
        order is not None and report is not None and report.version >= order.version and report.produced_by != order.run
    )


def _is_sealed(scope: RunScope, output: Output) -> bool:
    """Tell whether the version that this run was ordered to make is complete and its own."""
    report = output.report
    return (
        report is not None
        and _is_mine(scope, output.order)
        and output.order is not None
        and report.version >= output.order.version
        and report.complete
        and report.produced_by == _name(scope)
    )


def _is_mine(scope: RunScope, order: CommitOrder | None) -> bool:
    return order is not None and (order.run, order.epoch) == (_name(scope), scope.run.spec.epoch)


def _commit_order(scope: RunScope, output: Output) -> CommitOrder:
    return CommitOrder(
        namespace=scope.run.metadata.namespace or "default",
        dataset=output.dataset,
        version=output.newest_version + 1,
        run=_name(scope),
        epoch=scope.run.spec.epoch,
    )


def _name(scope: RunScope) -> str:
    return scope.run.metadata.name
