"""What agents reported of their clusters, each report read once per revision: controllers and the scheduler share them.

Owns the memory of what was read, and the digests of inventories and warnings that Cluster.status holds. It must not
judge anything.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from atoll.federation.bus.inventory_messages import EventsReport
from atoll.federation.bus.messages import InventoryReport, Message
from atoll.federation.capacity import ResourceVector, Shape, bounded_shapes
from atoll.federation.resources import Inventory, NodeShape
from atoll.federation.resources.inventory import OwnedEvent
from atoll.hub.members import Observed, Path

M = TypeVar("M", bound=Message)

# A shape is some 500 bytes. More than these nobody reads, and each status is stored, sent to every watcher and kept in
# memory a thousand times; fewer, and the sorts of nodes of an ordinary cluster do not stand side by side.
MAX_SHAPES = 24
# A warning is some 400 bytes, kept and sent like a shape; below this few, one crash loop hides all others.
MAX_WARNINGS = 8
_WARNING_CHARS = 160
INVENTORY = "inventory"
"""Where agents report what scheduling counts with."""


class Reports(Generic[M]):
    """The newest report of one sort of every cluster. `rest` is its key below the cluster, such as `inventory`."""

    def __init__(self, observed: Observed, model: type[M], rest: str) -> None:
        self._observed, self._model, self._rest = observed, model, rest
        self._read: dict[str, tuple[int, M | None]] = {}

    def of(self, cluster: str) -> M | None:
        """Give a cluster's report; None if there is none, or none that can be read."""
        path = Path("cluster", cluster, self._rest)
        held = self._observed.held(path)
        if held is None:
            self._read.pop(cluster, None)
            return None
        known = self._read.get(cluster)
        if known is None or known[0] != held.revision:
            known = self._read[cluster] = (held.revision, self._observed.read(self._model, path))
        return known[1]


class Inventories:
    """What clusters have: whole, as scheduling counts with it, and the digest that is stored and shown."""

    def __init__(self, observed: Observed) -> None:
        self._reports = Reports(observed, InventoryReport, INVENTORY)
        self._digests: dict[str, tuple[InventoryReport, InventoryReport]] = {}

    def of(self, cluster: str) -> Inventory | None:
        """Give all that a cluster's agent reported last."""
        report = self._reports.of(cluster)
        return report.inventory if report is not None else None

    def digest(self, cluster: str) -> InventoryReport | None:
        """Give the same in short."""
        report = self._reports.of(cluster)
        if report is None:
            self._digests.pop(cluster, None)
            return None
        known = self._digests.get(cluster)
        if known is None or known[0] is not report:
            shortened = report.model_copy(update={"inventory": digest(report.inventory)})
            known = self._digests[cluster] = (report, shortened)
        return known[1]


def digest(inventory: Inventory, *, at_most: int = MAX_SHAPES) -> Inventory:
    """Shorten an inventory: few shapes, rounded down where they are many, and not which runs they are without. Pure."""
    shapes = inventory.shapes
    if len(shapes) > at_most:
        shapes = _ordered(NodeShape(**shape.fields()) for shape in bounded_shapes(map(_shape, shapes), at_most))
    omitted = sum(shape.nodes for shape in shapes[at_most:])
    return inventory.model_copy(
        update={"shapes": shapes[:at_most], "omitted_nodes": inventory.omitted_nodes + omitted, "counted_runs": None}
    )


def newest_warnings(report: EventsReport) -> tuple[OwnedEvent, ...]:
    """Give the first few of a cluster's warnings, which come newest first, with shortened messages. Pure."""
    return tuple(_shortened(event) for event in report.events[:MAX_WARNINGS])


def _shortened(event: OwnedEvent) -> OwnedEvent:
    if len(event.message) <= _WARNING_CHARS:
        return event
    return event.model_copy(update={"message": event.message[: _WARNING_CHARS - 1] + "…"})


def _ordered(shapes: Iterable[NodeShape]) -> tuple[NodeShape, ...]:
    """Put the largest groups first: they are what is left where even rounded shapes are too many."""
    return tuple(sorted(shapes, key=lambda shape: -shape.nodes))


def _shape(shape: NodeShape) -> Shape:
    free = ResourceVector(shape.free_millicores, shape.free_memory_bytes, shape.free_gpus)
    whole = ResourceVector(shape.allocatable_millicores, shape.allocatable_memory_bytes, shape.allocatable_gpus)
    return Shape(shape.nodes, free, whole, shape.gpu_model, shape.gpu_memory_bytes, frozenset(shape.labels.items()))
