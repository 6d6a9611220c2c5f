"""Datasets: what sinks and movers report of their volumes becomes Dataset objects and their status.

Owns Dataset.status, and the Dataset of files that nobody has declared. A version only grows, and completes once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.bus.data_messages import DatasetReport
from atoll.federation.errors import Conflict, InvalidInput, NotFound
from atoll.federation.resources import (
    Cluster,
    Condition,
    Dataset,
    DatasetSpec,
    DatasetStatus,
    ObjectMeta,
    Replica,
    Transfer,
)
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import (
    DONE,
    Key,
    Messages,
    Objects,
    Outcome,
    RequeueAfter,
    Source,
    own_key,
    topic_key,
)

HOME_LABEL = "atoll.dev/home"
# Files of a namespace that the hub does not have: looked at again now and then, since the namespace may come.
_NO_NAMESPACE_SECONDS = 15.0


@dataclass(frozen=True)
class Copies:
    """Who has what of one dataset: reports by cluster, and the copies that transfers have verified."""

    reports: Mapping[str, DatasetReport]
    transfers: tuple[Transfer, ...] = ()


def leading(dataset: Dataset, reports: Mapping[str, DatasetReport]) -> tuple[str, DatasetReport] | None:
    """Choose the report that tells of the current version: the newest version, complete first, then the home's."""

    def rank(item: tuple[str, DatasetReport]) -> tuple[int, bool, bool, str]:
        cluster, report = item
        return (report.version, report.complete, cluster == dataset.spec.home, cluster)

    return max(reports.items(), key=rank, default=None)


def plan_status(dataset: Dataset, copies: Copies, now: datetime) -> DatasetStatus:
    """Give the status that the copies make."""
    old, found = dataset.status, leading(dataset, copies.reports)
    if found is None or found[1].version < old.version:
        return old
    _, report = found
    is_new = report.version > old.version
    is_complete = report.complete or (old.complete and not is_new)
    shown = old if old.complete and not is_new else old.model_copy(update=_contents(report))
    status = shown.model_copy(
        update={
            "version": report.version,
            "complete": is_complete,
            "completed_at": (old.completed_at if old.complete and not is_new else now) if is_complete else None,
            "observed_generation": dataset.metadata.generation,
        }
    )
    status = status.model_copy(update={"replicas": _replicas(status, copies, () if is_new else old.replicas, now)})
    return status.model_copy(update={"conditions": _conditions(status, copies, now)})


def _contents(report: DatasetReport) -> dict[str, object]:
    names = ("bytes", "files", "manifest_sha256", "ledger")
    return {**{name: getattr(report, name) for name in names}, "produced_by": report.produced_by or None}


def _replicas(status: DatasetStatus, copies: Copies, old: tuple[Replica, ...], now: datetime) -> tuple[Replica, ...]:
    """Name every cluster with a whole and equal copy of the current version; while it grows, there is none."""
    if not status.complete:
        return ()
    reported = {cluster for cluster, report in copies.reports.items() if _is_equal(report, status)}
    copied = {
        transfer.spec.destination
        for transfer in copies.transfers
        if transfer.status.phase == "Succeeded"
        and transfer.spec.version == status.version
        and transfer.status.manifest_sha256 == status.manifest_sha256
    }
    # A cluster that reports something else of this version has lost or changed its copy, whatever was copied once.
    changed = {cluster for cluster, report in copies.reports.items() if report.version == status.version} - reported
    since = {replica.cluster: replica.verified_at for replica in old if replica.version == status.version}
    return tuple(
        Replica(cluster=cluster, version=status.version, verified_at=since.get(cluster) or now)
        for cluster in sorted((reported | copied) - changed)
    )


def _is_equal(report: DatasetReport, status: DatasetStatus) -> bool:
    return (report.version, report.complete, report.manifest_sha256) == (
        status.version,
        True,
        status.manifest_sha256,
    )


def _conditions(status: DatasetStatus, copies: Copies, now: datetime) -> tuple[Condition, ...]:
    reason = "EndOfRun" if status.complete else "Growing"
    conditions = with_condition(status.conditions, "Complete", status.complete, reason=reason, now=now)
    errors = sorted(f"{cluster}: {report.error}" for cluster, report in copies.reports.items() if report.error)
    differing = sorted(
        cluster
        for cluster, report in copies.reports.items()
        if status.complete and report.version == status.version and not _is_equal(report, status) and report.complete
    )
    problems = [*errors, *(f"{cluster}: its files differ from the complete version" for cluster in differing)]
    return with_condition(
        conditions,
        "Healthy",
        not problems,
        reason="CopiesDiffer" if differing else ("WriteFailed" if errors else "NoProblem"),
        message="; ".join(problems),
        now=now,
    )


class DatasetController:
    """Keeps Dataset objects and their status."""

    name = "datasets"

    def __init__(self, context: Context) -> None:
        self._context = context

    def sources(self) -> Sequence[Source]:
        """Watch datasets, what is on the volumes, and transfers."""
        context = self._context
        return (
            Objects(context.client, Dataset, own_key),
            Objects(context.client, Transfer, _dataset_of),
            Messages(context.observed, topic_key("dataset")),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one dataset up to date."""
        context, (namespace, name) = self._context, key
        copies = await self._copies(namespace, name)
        dataset = await context.client.get(Dataset, namespace, name)
        if dataset is None:
            if not copies.reports:
                return DONE
            dataset = await self._declare(namespace, name, copies)
            if dataset is None:
                return RequeueAfter(_NO_NAMESPACE_SECONDS)
        elif dataset.spec.home is None and copies.reports:
            dataset = await context.client.update(_at_home(dataset, copies))
        status = plan_status(dataset, copies, context.clock())
        await context.client.update_status(dataset.model_copy(update={"status": status}))
        if status.complete and (status.version, True) != (dataset.status.version, dataset.status.complete):
            files = "1 file" if status.files == 1 else f"{status.files} files"
            message = f"version {status.version} is complete: {files}, {status.bytes} bytes"
            await context.events.record(dataset, "Completed", message)
        return DONE

    async def _copies(self, namespace: str, name: str) -> Copies:
        context = self._context
        reports: dict[str, DatasetReport] = {}
        for path in context.observed.everywhere("cluster", f"dataset/{namespace}/{name}"):
            report = context.observed.read(DatasetReport, path)
            if report is not None and await context.client.get(Cluster, None, path.member) is not None:
                reports[path.member] = report
        transfers = [t for t in await context.client.list(Transfer, namespace) if t.spec.dataset == name]
        return Copies(reports, tuple(transfers))

    async def _declare(self, namespace: str, name: str, copies: Copies) -> Dataset | None:
        """Make the Dataset of files that were found; None while its namespace does not exist."""
        found = Dataset(metadata=ObjectMeta(name=name, namespace=namespace), spec=DatasetSpec())
        try:
            return await self._context.client.create(_at_home(found, copies))
        except (NotFound, InvalidInput):
            return None
        except Conflict:
            return await self._context.client.get(Dataset, namespace, name)


def _at_home(dataset: Dataset, copies: Copies) -> Dataset:
    """Settle where a dataset lives: where its files were first, until somebody says otherwise."""
    home = min(copies.reports, key=lambda cluster: (copies.reports[cluster].version, cluster))
    metadata = dataset.metadata.model_copy(update={"labels": {**dataset.metadata.labels, HOME_LABEL: home}})
    spec = dataset.spec.model_copy(update={"home": home})
    return dataset.model_copy(update={"metadata": metadata, "spec": spec})


async def _dataset_of(transfer: Transfer) -> Iterable[Key]:
    return [(transfer.metadata.namespace or "", transfer.spec.dataset)]
