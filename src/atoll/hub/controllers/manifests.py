"""Manifests that members apply: what a Run and what the data service of a namespace are made of.

Owns the layout of volumes and mounts (docs/adr/0006) and the labels on what Atoll puts into a cluster. Pure.
"""

from dataclasses import dataclass

from atoll.federation.bus.admission import CREDENTIALS_SECRET
from atoll.federation.bus.messages import Manifest
from atoll.federation.capacity import GPU_PRODUCT_LABEL, gpu_matches, parse_bytes, parse_duration
from atoll.federation.resources import DATASET_CLAIM, Cluster, GpuDemand, Job, Run
from atoll.federation.workloads import (
    DEFAULT_LEVEL,
    LEVEL_LABEL,
    Additions,
    Level,
    with_additions,
    with_labels,
    with_time_limit,
)
from atoll.hub.controllers.array_manifests import as_array
from atoll.hub.controllers.engines import handed_over
from atoll.hub.controllers.volume_plan import Claim, claim_spec

JOB_LABEL, RUN_LABEL = "atoll.dev/job", "atoll.dev/run"
EPOCH_ANNOTATION = "atoll.dev/epoch"
GPU_MEMORY_LABEL = "nvidia.com/gpu.memory"
_MANAGED = {"app.kubernetes.io/managed-by": "atoll"}
_SERVICE = {"app.kubernetes.io/name": "atoll-data", **_MANAGED}
_CREDENTIALS_PATH = "/credentials"
# What namespaces of the level `restricted` ask for (Kubernetes, Pod Security Standards); the user is the image's, and
# the group lets it write a volume that was made for root.
_USER = 65532
_POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "fsGroup": _USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY: Manifest = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class DataService:
    """How sinks and movers are started in members. Without `nats_url` they have credentials, which their agent gets."""

    command: tuple[str, ...]
    image: str
    nats_url: str


def compile_run(job: Job, run: Run, cluster: Cluster, *, level: Level = DEFAULT_LEVEL) -> tuple[Manifest, ...]:
    """Give what a cluster must apply to execute a run: the namespace with its pod security level, and the workload.

    The claim that the workload mounts is the service's: it alone knows how large it has grown, and pods wait for it.
    """
    namespace = job.metadata.namespace or "default"
    return (namespace_manifest(namespace, level), *_workloads(job, run, cluster))


def compile_service(
    cluster: Cluster,
    namespace: str,
    service: DataService,
    *,
    claim: Claim | None = None,
    level: Level = DEFAULT_LEVEL,
) -> tuple[Manifest, ...]:
    """Give the volume claim, the sink and the mover of one namespace in one cluster."""
    return (
        namespace_manifest(namespace, level),
        claim_manifest(namespace, claim or Claim(cluster.spec.storage_class)),
        _deployment(cluster.metadata.name, namespace, service),
    )


def namespace_manifest(name: str, level: Level) -> Manifest:
    """Give a Namespace. A member makes it where it has none of that name, and changes none but those that it made."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LEVEL_LABEL: level}}}


def claim_manifest(namespace: str, claim: Claim) -> Manifest:
    """Give the one volume claim that holds all datasets of a namespace in a cluster."""
    metadata: Manifest = {"name": DATASET_CLAIM, "namespace": namespace, "labels": dict(_MANAGED)}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim_spec(claim)}


def _deployment(cluster: str, namespace: str, service: DataService) -> Manifest:
    way = ["--nats", service.nats_url] if service.nats_url else ["--credentials", _CREDENTIALS_PATH]
    mounts: list[Manifest] = [{"name": "datasets", "mountPath": "/datasets"}]
    volumes: list[Manifest] = [{"name": "datasets", "persistentVolumeClaim": {"claimName": DATASET_CLAIM}}]
    if not service.nats_url:
        mounts.append({"name": "credentials", "mountPath": _CREDENTIALS_PATH, "readOnly": True})
        volumes.append({"name": "credentials", "secret": {"secretName": CREDENTIALS_SECRET}})

    def container(role: str) -> Manifest:
        options = ["--cluster", cluster, "--namespace", namespace, *way, "--root", "/datasets"]
        return {
            "name": role,
            "image": service.image,
            "command": [*service.command, role, *options],
            "securityContext": _CONTAINER_SECURITY,
            "volumeMounts": mounts,
        }

    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "atoll-data", "namespace": namespace, "labels": dict(_SERVICE)},
        "spec": {
            "replicas": 1,
            # The sink's files are its checkpoint: two writers at once, as a rolling update makes, would be wrong.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app.kubernetes.io/name": "atoll-data"}},
            "template": {
                "metadata": {"labels": dict(_SERVICE)},
                "spec": {
                    "securityContext": _POD_SECURITY,
                    "containers": [container("sink"), container("mover")],
                    "volumes": volumes,
                },
            },
        },
    }


def _workloads(job: Job, run: Run, cluster: Cluster) -> tuple[Manifest, ...]:
    """Give the work: one object, or the pods of a group."""
    manifest = with_additions(job.spec.workload.manifest(), _additions(job, run, cluster))
    if job.spec.time_limit is not None:
        manifest = with_time_limit(manifest, max(1, round(parse_duration(job.spec.time_limit))))
    if job.spec.array is not None:
        manifest["spec"] = as_array(manifest["spec"], job, run)
    labels = {**_MANAGED, JOB_LABEL: job.metadata.name, RUN_LABEL: run.metadata.name}
    manifest = with_labels(manifest, labels, {EPOCH_ANNOTATION: str(run.spec.epoch)})
    metadata = {"name": run.metadata.name, "namespace": job.metadata.namespace}
    manifest = handed_over(manifest | {"metadata": {**manifest["metadata"], **metadata}}, job, cluster)
    if "items" not in manifest:
        return (manifest,)
    return tuple(
        {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": {**pod["metadata"], **metadata, "name": name}}
        for name, pod in ((f"{run.metadata.name}-{number}", pod) for number, pod in enumerate(manifest["items"]))
    )


def _additions(job: Job, run: Run, cluster: Cluster) -> Additions:
    """Say what a job adds to its workload: its data, its GPUs, how long its pods may take to end."""
    mounts, gpu, grace = _mounts(job, run), job.spec.gpu, job.spec.grace_period
    volume: Manifest = {"name": DATASET_CLAIM, "persistentVolumeClaim": {"claimName": DATASET_CLAIM}}
    return Additions(
        volumes=[volume] if mounts else [],
        mounts=mounts,
        grace_seconds=None if grace is None else round(parse_duration(grace)),
        gpus=None if gpu is None else gpu.count,
        node_terms=[] if gpu is None else _node_terms(gpu, cluster),
    )


def _mounts(job: Job, run: Run) -> list[Manifest]:
    inputs: list[Manifest] = [
        {"mountPath": given.mount_path, "subPath": f"{given.dataset}/v{given.version}", "readOnly": True}
        for given in run.spec.inputs
    ]
    outputs: list[Manifest] = [
        {"mountPath": output.mount_path, "subPath": f"{output_folder(run)}/{output.dataset}"}
        for output in job.spec.outputs
    ]
    return [{"name": DATASET_CLAIM, **mount} for mount in inputs + outputs]


def output_folder(run: Run) -> str:
    """Give the folder on the volume in which a run writes before its outputs are committed."""
    return f".runs/{run.metadata.name}-e{run.spec.epoch}"


def _node_terms(gpu: GpuDemand, cluster: Cluster) -> list[Manifest]:
    """Say which nodes have the right GPUs."""
    terms: list[Manifest] = []
    if gpu.models:
        terms.append({"key": GPU_PRODUCT_LABEL, "operator": "In", "values": _products(gpu, cluster)})
    if gpu.memory is not None:
        # GPU Feature Discovery writes MiB; Gt is the only operator that Kubernetes has for "at least".
        least = str(-(-parse_bytes(gpu.memory) // _MEBIBYTE) - 1)
        terms.append({"key": GPU_MEMORY_LABEL, "operator": "Gt", "values": [least]})
    return terms


def _products(gpu: GpuDemand, cluster: Cluster) -> list[str]:
    """Name the product labels in the cluster that are of a wanted model; the models themselves if none is known."""
    inventory = cluster.status.inventory
    known = {shape.model for shape in inventory.gpus} if inventory is not None else set()
    return sorted(p for p in known if any(gpu_matches(model, p) for model in gpu.models)) or list(gpu.models)
