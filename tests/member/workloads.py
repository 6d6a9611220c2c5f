"""Orders of workloads of several kinds, as the hub compiles them."""

from typing import Any

from atoll.federation.bus.messages import RunOrder
from member.orders import NAMESPACE, RUN
from member.world import Cluster, Json


def template(run: str, *, gpus: int = 1) -> Json:
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": str(gpus)} if gpus else {}}
    container = {"name": "main", "image": "train:1", "command": ["true"], "resources": resources}
    labels = {"atoll.dev/run": run}
    return {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [container]}}


def order(workload: Json, *, run: str = RUN, epoch: int = 1, **fields: Any) -> RunOrder:
    """Order a workload, given by its apiVersion, kind and spec."""
    metadata = {
        "name": run,
        "namespace": NAMESPACE,
        "labels": {"atoll.dev/run": run, "atoll.dev/job": "train"},
        "annotations": {"atoll.dev/epoch": str(epoch), **workload.get("annotations", {})},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    manifest = {"apiVersion": workload["apiVersion"], "kind": workload["kind"], "metadata": metadata}
    manifests = (namespace, manifest | {"spec": workload["spec"]})
    return RunOrder(namespace=NAMESPACE, run=run, job="train", epoch=epoch, manifests=manifests, **fields)


def job_set(run: str = RUN, *, pods: int = 2, gpus: int = 1, **spec: Any) -> Json:
    job = {"spec": {"parallelism": pods, "completions": pods, "template": template(run, gpus=gpus)}}
    replicated = [{"name": "workers", "replicas": 1, "template": job}]
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "spec": {"suspend": False, "replicatedJobs": replicated, **spec},
    }


def pytorch_job(run: str = RUN, *, workers: int = 1) -> Json:
    replicas = {
        "Master": {"replicas": 1, "restartPolicy": "Never", "template": template(run)},
        "Worker": {"replicas": workers, "restartPolicy": "Never", "template": template(run)},
    }
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": {"pytorchReplicaSpecs": replicas}}


async def pods_of(cluster: Cluster, run: str = RUN) -> list[Json]:
    """The run's pods that are not being deleted."""
    pods = (await cluster.objects("Pod", NAMESPACE)).values()
    labelled = (pod for pod in pods if pod["metadata"]["labels"].get("atoll.dev/run") == run)
    return [pod for pod in labelled if "deletionTimestamp" not in pod["metadata"]]
