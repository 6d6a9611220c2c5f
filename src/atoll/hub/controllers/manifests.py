"""Manifests that members apply: what a Run and what the data service of a namespace are made of.

Owns the layout of volumes and mounts (docs/adr/0006) and the labels on what Atoll puts into a cluster. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.federation.bus.admission import CREDENTIALS_SECRET
from atoll.federation.bus.messages import Manifest
from atoll.federation.capacity import GPU_PRODUCT_LABEL, GPU_RESOURCE, gpu_matches, parse_bytes, parse_duration
from atoll.federation.resources import DATASET_CLAIM, Cluster, GpuDemand, Job, Run

JOB_LABEL, RUN_LABEL = "atoll.dev/job", "atoll.dev/run"
EPOCH_ANNOTATION = "atoll.dev/epoch"
GPU_MEMORY_LABEL = "nvidia.com/gpu.memory"
_MANAGED = {"app.kubernetes.io/managed-by": "atoll"}
_SERVICE = {"app.kubernetes.io/name": "atoll-data", **_MANAGED}
_CREDENTIALS_PATH = "/credentials"
_CLAIM_SIZE = "10Gi"
_MEBIBYTE = 1024 * 1024
_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class DataService:
    """How sinks and movers are started in members. Without `nats_url` they have credentials, which their agent gets."""

    command: tuple[str, ...]
    image: str
    nats_url: str


def compile_run(job: Job, run: Run, cluster: Cluster) -> tuple[Manifest, ...]:
    """Give what a cluster must apply to execute a run: the namespace, the claim if data is used, and the workload."""
    namespace = job.metadata.namespace or "default"
    base = [namespace_manifest(namespace)]
    if run.spec.inputs or job.spec.outputs:
        base.append(claim_manifest(namespace, cluster))
    return (*base, _workload(job, run, cluster))


def compile_service(cluster: Cluster, namespace: str, service: DataService) -> tuple[Manifest, ...]:
    """Give the volume claim, the sink and the mover of one namespace in one cluster."""
    return (
        namespace_manifest(namespace),
        claim_manifest(namespace, cluster),
        _deployment(cluster.metadata.name, namespace, service),
    )


def namespace_manifest(name: str) -> Manifest:
    """Give a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def claim_manifest(namespace: str, cluster: Cluster) -> Manifest:
    """Give the one volume claim that holds all datasets of a namespace in a cluster."""
    spec: Manifest = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": _CLAIM_SIZE}}}
    if cluster.spec.storage_class is not None:
        spec["storageClassName"] = cluster.spec.storage_class
    metadata: Manifest = {"name": DATASET_CLAIM, "namespace": namespace, "labels": dict(_MANAGED)}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


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
                    "containers": [container("sink"), container("mover")],
                    "volumes": volumes,
                },
            },
        },
    }


def _workload(job: Job, run: Run, cluster: Cluster) -> Manifest:
    spec: Manifest = _without_nulls(job.spec.workload.spec)
    spec |= _no_retries(spec)
    if job.spec.time_limit is not None:
        spec["activeDeadlineSeconds"] = max(1, round(parse_duration(job.spec.time_limit)))
    labels = {**_MANAGED, JOB_LABEL: job.metadata.name, RUN_LABEL: run.metadata.name}
    annotations = {EPOCH_ANNOTATION: str(run.spec.epoch)}
    template = spec["template"]
    _annotate(template.setdefault("metadata", {}), labels, annotations)
    pod = template["spec"]
    pod["restartPolicy"] = "Never"
    _mount(pod, _mounts(job, run))
    if job.spec.gpu is not None:
        _demand_gpus(pod, job.spec.gpu, cluster)
    metadata: Manifest = {"name": run.metadata.name, "namespace": job.metadata.namespace}
    _annotate(metadata, labels, annotations)
    workload = job.spec.workload
    return {"apiVersion": workload.api_version, "kind": workload.kind, "metadata": metadata, "spec": spec}


def _no_retries(spec: Manifest) -> Manifest:
    """Let a workload fail at its first failure: a retry is a new Run, decided by the hub.

    Indexes that have limits of their own fail each for itself, as the tasks of an array shall; a limit of them all
    would end the others (KEP-3850).
    """
    if spec.get("backoffLimitPerIndex") is None:
        return {"backoffLimit": 0}
    return {"backoffLimit": _NO_LIMIT, "backoffLimitPerIndex": 0}


def _without_nulls(value: Any) -> Any:
    """Copy a JSON value without fields that are null: to Kubernetes they are absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, list | tuple) else value


def _annotate(metadata: Manifest, labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
    metadata["labels"] = {**metadata.get("labels", {}), **labels}
    metadata["annotations"] = {**metadata.get("annotations", {}), **annotations}


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


def _mount(pod: Manifest, mounts: Sequence[Manifest]) -> None:
    """Mount datasets into every container; what the user mounts there beside stays."""
    if not mounts:
        return
    pod.setdefault("volumes", []).append({"name": DATASET_CLAIM, "persistentVolumeClaim": {"claimName": DATASET_CLAIM}})
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        container.setdefault("volumeMounts", []).extend(dict(mount) for mount in mounts)


def _demand_gpus(pod: Manifest, gpu: GpuDemand, cluster: Cluster) -> None:
    """Ask for GPUs in the first container, and for nodes that have the right ones."""
    limits: dict[str, Any] = pod["containers"][0].setdefault("resources", {}).setdefault("limits", {})
    limits.setdefault(GPU_RESOURCE, str(gpu.count))
    terms: list[Manifest] = []
    if gpu.models:
        terms.append({"key": GPU_PRODUCT_LABEL, "operator": "In", "values": _products(gpu, cluster)})
    if gpu.memory is not None:
        # GPU Feature Discovery writes MiB; Gt is the only operator that Kubernetes has for "at least".
        least = str(-(-parse_bytes(gpu.memory) // _MEBIBYTE) - 1)
        terms.append({"key": GPU_MEMORY_LABEL, "operator": "Gt", "values": [least]})
    if terms:
        _require(pod, terms)


def _require(pod: Manifest, terms: list[Manifest]) -> None:
    """Add terms to every alternative of the pod's required node affinity: alternatives are ORed, terms are ANDed."""
    affinity = pod.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    alternatives = required.setdefault("nodeSelectorTerms", []) or [{}]
    required["nodeSelectorTerms"] = [
        {**alternative, "matchExpressions": [*alternative.get("matchExpressions", ()), *terms]}
        for alternative in alternatives
    ]


def _products(gpu: GpuDemand, cluster: Cluster) -> list[str]:
    """Name the product labels in the cluster that are of a wanted model; the models themselves if none is known."""
    inventory = cluster.status.inventory
    known = {shape.model for shape in inventory.gpus} if inventory is not None else set()
    return sorted(p for p in known if any(gpu_matches(model, p) for model in gpu.models)) or list(gpu.models)
