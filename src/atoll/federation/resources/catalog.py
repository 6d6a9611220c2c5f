"""The catalog of kinds: how each is called, where it lives, which fields may not change, what a table shows of it.

The hub serves from it, the CLI prints from it, the documentation is made from it.
"""

from dataclasses import dataclass

from atoll.federation.resources.base import Resource
from atoll.federation.resources.cluster import Cluster
from atoll.federation.resources.dataset import Dataset
from atoll.federation.resources.gateway import Gateway
from atoll.federation.resources.job import Job
from atoll.federation.resources.policyset import PolicySet
from atoll.federation.resources.queue import Queue
from atoll.federation.resources.reservation import Reservation
from atoll.federation.resources.rolebinding import RoleBinding
from atoll.federation.resources.run import Run
from atoll.federation.resources.stream import Stream
from atoll.federation.resources.transfer import Transfer
from atoll.federation.resources.trigger import Trigger


@dataclass(frozen=True)
class PrintColumn:
    """A column of `get`: name, OpenAPI type or `date`, JSONPath; priority 1 is for `-o wide` only."""

    name: str
    type: str
    path: str
    priority: int = 0


@dataclass(frozen=True)
class Kind:
    """One kind. `immutable` holds dotted spec paths that an update may not change."""

    model: type[Resource]
    plural: str
    short_names: tuple[str, ...]
    namespaced: bool
    columns: tuple[PrintColumn, ...]
    immutable: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The kind as manifests write it."""
        return str(self.model.model_fields["kind"].default)

    @property
    def singular(self) -> str:
        """The name in lower case, as command lines write it."""
        return self.name.lower()


def _columns(*specs: str) -> tuple[PrintColumn, ...]:
    """Read columns from `NAME type .path [wide]`."""
    rows = (spec.split() for spec in specs)
    return tuple(PrintColumn(row[0].replace("_", " "), row[1], row[2], priority=len(row) - 3) for row in rows)


KINDS: tuple[Kind, ...] = (
    Kind(Cluster, "clusters", ("cl",), False, _columns(
        "PHASE string .status.phase", "REASON string .status.reason wide",
        "VERSION string .status.inventory.version",
        "NODES integer .status.inventory.nodesReady",
        "GPUS string .status.inventory.gpus[*].model", "PROVEN date .status.lastProvenAt",
        "LOST date .status.lostSince wide",
        "MESH integer .spec.mesh.id wide", "DISTRIBUTION string .status.inventory.distribution wide",
    ), immutable=("mesh.id", "mesh.name")),
    Kind(Queue, "queues", ("q",), False, _columns(
        "WEIGHT integer .spec.weight", "PENDING integer .status.pending", "RUNNING integer .status.running",
        "GPUS integer .status.usedGpus", "SHARE number .status.share", "FAIR number .status.fairShare wide",
        "PARENT string .spec.parent wide",
    )),
    Kind(Reservation, "reservations", ("rsv",), False, _columns(
        "PHASE string .status.phase", "QUEUE string .spec.queue",
        "STARTS string .spec.starts", "ENDS string .spec.ends",
        "KEPT string .status.kept", "FREE_GPUS integer .status.freeGpus", "REASON string .status.reason",
        "CLUSTERS string .status.clusters[*].cluster wide", "FREE_CPU integer .status.free.millicores wide",
    )),
    Kind(Job, "jobs", ("aj",), True, _columns(
        "PHASE string .status.phase", "QUEUE string .spec.queue", "CLUSTER string .status.cluster",
        "TASKS string .status.array.progress", "REASON string .status.reason",
        "RUN string .status.run wide", "PRIORITY integer .spec.priority wide",
        "USER string .metadata.annotations['atoll.dev/submitter'] wide",
    ), immutable=("queue", "inputs", "outputs", "gpu", "workload", "array")),
    Kind(Run, "runs", (), True, _columns(
        "PHASE string .status.phase", "JOB string .spec.job", "CLUSTER string .spec.cluster",
        "EPOCH integer .spec.epoch", "REASON string .status.reason",
        "MESSAGE string .status.message wide",
        "EXIT integer .status.exitCode wide",
    ), immutable=("job", "cluster", "epoch", "inputs", "decision", "tasks")),
    Kind(Dataset, "datasets", ("ds",), True, _columns(
        "VERSION integer .status.version", "COMPLETE boolean .status.complete", "FILES integer .status.files",
        "BYTES integer .status.bytes",
        "WHERE string .status.replicas[*].cluster", "READINGS integer .status.ledger.received wide",
        "GAPS integer .status.ledger.gaps wide",
    )),
    Kind(Transfer, "transfers", ("xfer",), True, _columns(
        "PHASE string .status.phase", "DATASET string .spec.dataset", "FROM string .spec.source",
        "TO string .spec.destination",
        "COPIED integer .status.copiedBytes", "TOTAL integer .status.totalBytes", "ASKED string .status.source wide",
        "MESSAGE string .status.message wide",
    ), immutable=("dataset", "version", "source", "destination")),
    Kind(Gateway, "gateways", ("gw",), False, _columns(
        "PHASE string .status.phase", "BROKER boolean .status.brokerConnected", "OUTBOX integer .status.outboxReadings",
        "LAG number .status.lagSeconds", "RATE number .status.readingsPerSecond", "SHED integer .status.shed",
        "PROVEN date .status.lastProvenAt", "SITE string .spec.site wide", "BYTES integer .status.outboxBytes wide",
        "SENT_RATE number .status.forwardedPerSecond wide", "DAMAGED integer .status.damaged wide",
        "REASON string .status.reason wide",
    )),
    Kind(Stream, "streams", (), True, _columns(
        "GATEWAY string .spec.gateway", "HOME string .spec.home", "DATASET string .status.dataset",
        "RECEIVED integer .status.received",
        "COMMITTED integer .status.committed", "SHED integer .status.shed", "LAG number .status.lagSeconds wide",
        "PRIORITY integer .spec.priority wide", "TOPICS string .spec.topics[*] wide",
    ), immutable=("gateway", "home")),
    Kind(Trigger, "triggers", (), True, _columns(
        "FIRED integer .status.fired", "LAST_JOB string .status.lastJob", "NEXT string .status.nextScheduledAt wide",
        "ON string .spec.on.name wide",
    )),
    Kind(PolicySet, "policysets", ("ps",), False, _columns(
        "COMMIT string .status.commit", "MANIFESTS integer .status.manifests",
        "CLUSTERS string .status.clusters[*].phase", "UNIFORM boolean .status.uniform",
        "REPOSITORY string .spec.source.repository wide",
    )),
    Kind(RoleBinding, "rolebindings", ("rb",), False, _columns(
        "ROLE string .spec.role", "SUBJECTS string .spec.subjects[*].name", "NAMESPACES string .spec.namespaces",
        "QUEUES string .spec.queues",
    )),
)  # fmt: skip

BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}


def find(word: str) -> Kind | None:
    """Find a kind by what a person types: any of its names, in any case, with or without `.atoll.dev`."""
    wanted = word.lower().removesuffix(".atoll.dev")
    for kind in KINDS:
        if wanted in (kind.singular, kind.plural, *kind.short_names):
            return kind
    return None
