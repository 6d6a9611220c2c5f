"""Transfers: the mover at the destination is told to fetch; what it reports becomes Transfer.status.

Owns TransferOrder and Transfer.status. A finished transfer is final, and its order is taken back.
"""

from collections.abc import Sequence

from atoll.federation.bus.capabilities import Capabilities
from atoll.federation.bus.data_messages import TransferOrder, TransferReport
from atoll.federation.resources import Transfer, TransferStatus
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, Source, own_key, topic_key
from atoll.hub.members import Path

_FINISHED = frozenset({"Succeeded", "Failed"})
_REPORTED = (
    "phase",
    "message",
    "total_bytes",
    "copied_bytes",
    "bytes_per_second",
    "manifest_sha256",
    "started_at",
    "finished_at",
)


def plan_status(transfer: Transfer, report: TransferReport | None) -> TransferStatus:
    """Give the status that a report makes; what is finished stays."""
    if transfer.status.phase in _FINISHED or report is None:
        return transfer.status
    if report.started_at is not None and _is_of_an_earlier_one(transfer, report):
        return transfer.status
    reported = {name: getattr(report, name) for name in _REPORTED}
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
            Messages(context.observed, topic_key("transfer")),
            Messages(context.desired, topic_key("transfer")),
        )

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
        status = plan_status(transfer, context.observed.read(TransferReport, path))
        await context.client.update_status(transfer.model_copy(update={"status": status}))
        if status.phase != transfer.status.phase and status.phase in _FINISHED:
            await self._tell(transfer, status)
        if status.phase in _FINISHED:
            await context.desired.remove(path)
        else:
            await context.desired.put(path, _order(transfer, context.capabilities))
        return DONE

    async def _tell(self, transfer: Transfer, status: TransferStatus) -> None:
        is_failed = status.phase == "Failed"
        spec = transfer.spec
        what = f"{spec.dataset} version {spec.version} from {spec.source} to {spec.destination}"
        message = f"{what}: {status.message}" if is_failed else f"{what}: {status.copied_bytes} bytes"
        reason = "CopyFailed" if is_failed else "Copied"
        await self._context.events.record(transfer, reason, message, is_warning=is_failed)


def _order(transfer: Transfer, capabilities: Capabilities) -> TransferOrder:
    spec, namespace = transfer.spec, transfer.metadata.namespace or "default"
    return TransferOrder(
        namespace=namespace,
        transfer=transfer.metadata.name,
        dataset=spec.dataset,
        version=spec.version,
        source=spec.source,
        source_token=capabilities.reading(spec.source, namespace),
    )
