"""Jobs, clusters and snapshots for scheduler tests: short builders of real objects."""

from datetime import UTC, datetime, timedelta

from atoll.federation.resources import (
    Cluster,
    ClusterSpec,
    ClusterStatus,
    Dataset,
    DatasetSpec,
    DatasetStatus,
    Inventory,
    Job,
    JobSpec,
    JobStatus,
    MeshLink,
    NodeShape,
    ObjectMeta,
    OwnerReference,
    Queue,
    QueueSpec,
    Replica,
    Run,
    RunSpec,
    RunStatus,
)
from atoll.federation.resources.cluster import StorageClassInfo
from atoll.hub.scheduler.snapshot import Snapshot

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
GIB = 2**30
A100 = "NVIDIA-A100-SXM4-40GB"


def job(
    name, *, cpus=1, gpus=0, queue="default", age_seconds=60, status=None, pod=None, is_being_deleted=False, **spec
):
    """A pending job of one container, created some seconds ago."""
    container = {"name": "main", "image": "i", "resources": {"requests": {"cpu": cpus}}}
    template = {"template": {"spec": {"containers": [container], **(pod or {})}}}
    workload = {"apiVersion": "batch/v1", "kind": "Job", "spec": {**template, **spec.pop("workload", {})}}
    if gpus:
        spec["gpu"] = {"count": gpus}
    created = NOW - timedelta(seconds=age_seconds)
    return Job(
        metadata=ObjectMeta(
            name=name,
            namespace="lab",
            uid=f"uid-{name}",
            generation=1,
            creation_timestamp=created,
            deletion_timestamp=NOW if is_being_deleted else None,
        ),
        spec=JobSpec.model_validate({"queue": queue, "workload": workload, "expectedDuration": "10m", **spec}),
        status=status or JobStatus(),
    )


def shape(*, cpus=8, gpus=0, free_cpus=None, free_gpus=None, nodes=1):
    """Equal nodes, all free unless told."""
    return NodeShape(
        nodes=nodes,
        free_millicores=(cpus if free_cpus is None else free_cpus) * 1000,
        free_memory_bytes=32 * GIB,
        free_gpus=gpus if free_gpus is None else free_gpus,
        allocatable_millicores=cpus * 1000,
        allocatable_memory_bytes=32 * GIB,
        allocatable_gpus=gpus,
        gpu_model=A100 if gpus else None,
        gpu_memory_bytes=40 * GIB if gpus else 0,
    )


def cluster(name, *shapes, links=(), counted_runs=None, **spec):
    """A ready cluster with these nodes and a default storage class."""
    inventory = Inventory(
        shapes=shapes,
        counted_runs=counted_runs,
        storage_classes=(StorageClassInfo(name="csi", provisioner="p", is_default=True),),
    )
    mesh = tuple(MeshLink(peer=peer, is_connected=True, is_ready=True) for peer in links)
    return Cluster(
        metadata=ObjectMeta(name=name),
        spec=ClusterSpec.model_validate(spec),
        status=ClusterStatus(phase="Ready", inventory=inventory, links=mesh, last_proven_at=NOW),
    )


def queue(name="default", **spec):
    """A queue without limits unless told."""
    return Queue(metadata=ObjectMeta(name=name), spec=QueueSpec.model_validate(spec))


def dataset(name, *holders, version=1, complete=True, size=1000, home=None):
    """A dataset whose current version some clusters hold."""
    replicas = tuple(Replica(cluster=holder, version=version) for holder in holders)
    return Dataset(
        metadata=ObjectMeta(name=name, namespace="lab"),
        spec=DatasetSpec(home=home),
        status=DatasetStatus(version=version, complete=complete, bytes=size, replicas=replicas),
    )


def run(of, epoch=1, *, where="here", phase="Running", uid=None, started_seconds_ago=None, decision=None):
    """An attempt of a job."""
    owner = OwnerReference(api_version=of.api_version, kind="Job", name=of.metadata.name, uid=uid or of.metadata.uid)
    started = None if started_seconds_ago is None else NOW - timedelta(seconds=started_seconds_ago)
    return Run(
        metadata=ObjectMeta(name=f"{of.metadata.name}-{epoch}", namespace="lab", owner_references=(owner,)),
        spec=RunSpec(job=of.metadata.name, cluster=where, epoch=epoch, decision=decision or {}),
        status=RunStatus(phase=phase, started_at=started),
    )


def snapshot(*objects):
    """Collect objects; a queue `default` is there unless one is given."""
    by_kind = {
        kind: [each for each in objects if isinstance(each, kind)] for kind in (Job, Run, Cluster, Queue, Dataset)
    }
    queues = by_kind[Queue] or [queue()]
    return Snapshot(
        taken_at=NOW,
        jobs={each.key: each for each in by_kind[Job]},
        runs=tuple(by_kind[Run]),
        clusters=tuple(sorted(by_kind[Cluster], key=lambda each: each.metadata.name)),
        queues={each.metadata.name: each for each in queues},
        datasets={("lab", each.metadata.name): each for each in by_kind[Dataset]},
    )
