"""Collects what a charge needs to know of a run, from the hub's objects. It decides nothing."""

from collections.abc import Iterable
from datetime import datetime

from atoll.federation.bus.messages import RunReport
from atoll.federation.resources import FINISHED_RUN_PHASES, Cluster, Job, Run, Transfer
from atoll.hub.accounting.charging import Charge
from atoll.hub.client import Client

CHARGED_JOB = "atoll.dev/charged-job"
"""On a Transfer: the job for which the copy is made. Others that need it there find it, and are charged nothing."""


async def charge_of(
    client: Client, run: Run, job: Job | None, transfers: Iterable[Transfer] = (), *, is_told: bool, now: datetime
) -> Charge:
    """Put a charge together; `transfers` are the copies that the run needed."""
    copied: dict[str, int] = {}
    for transfer in transfers:
        if is_charged(transfer, run):
            size = transfer.status.copied_bytes or (transfer.status.phase == "Succeeded") * transfer.status.total_bytes
            copied[transfer.spec.source] = copied.get(transfer.spec.source, 0) + size
    clusters = {}
    for name in (run.spec.cluster, *copied):
        cluster = await client.get(Cluster, None, name)
        if cluster is not None:
            clusters[name] = cluster
    return Charge(run, job, clusters, now, is_told=is_told, copied=copied)


def is_charged(transfer: Transfer, run: Run) -> bool:
    """Tell whether a run is charged for a copy: it was made for its job, and not for an earlier attempt. Pure."""
    if transfer.metadata.annotations.get(CHARGED_JOB) != run.spec.job:
        return False
    made, placed = transfer.metadata.creation_timestamp, run.metadata.creation_timestamp
    return run.spec.epoch == 1 or (made is not None and placed is not None and made >= placed)


def has_told_the_end(report: RunReport | None, run: Run) -> bool:
    """Tell whether a run's agent has said that it has ended, and what it took. Pure."""
    return report is not None and report.epoch == run.spec.epoch and report.phase in FINISHED_RUN_PHASES
