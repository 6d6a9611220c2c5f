"""Transfers: the mover at the destination is told to fetch; what it reports becomes Transfer.status.

Owns TransferOrder and Transfer.status. A finished transfer is final, and its order is taken back.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from atoll.federation.bus.capabilities import Capabilities
from atoll.federation.bus.data_messages import TransferOrder, TransferReport, TransferSource
from atoll.federation.resources import Dataset, Transfer, TransferStatus
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.copy_sources import holders_of
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, Source, own_key, topic_key
from atoll.hub.members import Path

_FINISHED = frozenset({"Succeeded", "Failed"})
_REPORTED = (
    "phase",
    "message",
    "total_bytes",
    "copied_bytes",
    "bytes_per_second",
    "source",
    "manifest_sha256",
    "started_at",
    "finished_at",
)


def plan_status(transfer: Transfer, report: TransferReport | None, now: datetime) -> TransferStatus:
    """Give the status that a report makes; what is finished stays. A source that is silent makes it pause."""
    if transfer.status.phase in _FINISHED or report is None:
        return transfer.status
    if report.started_at is not None and _is_of_an_earlier_one(transfer, report):
        return transfer.status
    reported = {name: getattr(report, name) for name in _REPORTED}
    if report.phase == "Copying":
        reason, message = ("SourceSilent" if report.message else "Copying"), report.message
        reported["conditions"] = with_condition(
            transfer.status.conditions, "Progressing", not message, reason=reason, message=message, now=now
        )
    return transfer.status.model_copy(update={**reported, "observed_generation": transfer.metadata.generation})


def _is_of_an_earlier_one(transfer: Transfer, report: TransferReport) -> bool:
    """A transfer that was deleted and made again must not inherit how its namesake ended."""
    made, finished = transfer.metadata.creation_timestamp, report.finished_at
    return made is not None and finished is not None and finished < made


class TransferController:
    """Keeps TransferOrder and Transfer.status."""

    name = "transfers"

    def __init__(self, context: Context) -> None:
        self._context = context

    def sources(self) -> Sequence[Source]:
        """Watch transfers, their orders and what movers report."""
        context = self._context
        return (
            Objects(context.client, Transfer, own_key),
            Objects(context.client, Dataset, self._of_dataset),
            Messages(context.observed, topic_key("transfer")),
            Messages(context.desired, topic_key("transfer")),
        )

    async def _of_dataset(self, dataset: Dataset) -> Iterable[Key]:
        """Map a dataset to its copies under way: another replica may be able to give them."""
        found = await self._context.client.list(
            Transfer, dataset.metadata.namespace, name_prefix=f"{dataset.metadata.name}.v"
        )
        return [
            (each.metadata.namespace or "", each.metadata.name)
            for each in found
            if each.status.phase not in _FINISHED and each.spec.dataset == dataset.metadata.name
        ]

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one transfer's order and status up to date."""
        context, (namespace, name) = self._context, key
        transfer = await context.client.get(Transfer, namespace, name)
        rest = f"transfer/{namespace}/{name}"
        if transfer is None:
            for path in list(context.desired.everywhere("cluster", rest)):
                await context.desired.remove(path)
            return DONE
        path = Path("cluster", transfer.spec.destination, rest)
        status = plan_status(transfer, context.observed.read(TransferReport, path), context.clock())
        await context.client.update_status(transfer.model_copy(update={"status": status}))
        if status.phase != transfer.status.phase and status.phase in _FINISHED:
            await self._tell(transfer, status)
        if status.phase in _FINISHED:
            await context.desired.remove(path)
        else:
            dataset = await context.client.get(Dataset, namespace, transfer.spec.dataset)
            await context.desired.put(path, _order(transfer, dataset, context.capabilities))
        return DONE

    async def _tell(self, transfer: Transfer, status: TransferStatus) -> None:
        is_failed = status.phase == "Failed"
        spec = transfer.spec
        what = f"{spec.dataset} version {spec.version} from {spec.source} to {spec.destination}"
        message = f"{what}: {status.message}" if is_failed else f"{what}: {status.copied_bytes} bytes"
        reason = "CopyFailed" if is_failed else "Copied"
        await self._context.events.record(transfer, reason, message, is_warning=is_failed)


def _order(transfer: Transfer, dataset: Dataset | None, capabilities: Capabilities) -> TransferOrder:
    """Say whom to copy from, and who may take over; in an order that does not change while nothing does."""
    spec, namespace = transfer.spec, transfer.metadata.namespace or "default"
    holders = holders_of(dataset, spec.version) if dataset is not None else frozenset()
    listed = dataset.status.versions if dataset is not None else ()
    digest = next((each.manifest_sha256 for each in listed if each.version == spec.version and each.complete), "")
    return TransferOrder(
        namespace=namespace,
        transfer=transfer.metadata.name,
        dataset=spec.dataset,
        version=spec.version,
        source=spec.source,
        source_token=capabilities.reading(spec.source, namespace),
        others=tuple(
            TransferSource(cluster=name, token=capabilities.reading(name, namespace))
            for name in sorted(holders - {spec.source, spec.destination})
        ),
        manifest_sha256=digest,
        bytes_per_second=spec.bytes_per_second,
    )
