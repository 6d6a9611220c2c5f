"""Orders as a hub would give them: one run, one policy set."""

from typing import Any

from atoll.federation.bus.messages import PolicyOrder, RunOrder
from member.world import Cluster, Json

NAMESPACE, RUN = "seismology", "picks-1"
RUN_KEY = f"run/{NAMESPACE}/{RUN}"


def run_order(*, epoch: int = 1, cancelled: bool = False, run: str = RUN, **job: Any) -> RunOrder:
    resources = {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": "1"}}
    container = {"name": "main", "image": "picks:1", "command": ["true"], "resources": resources}
    metadata = {
        "name": run,
        "namespace": NAMESPACE,
        "labels": {"atoll.dev/run": run, "atoll.dev/job": "picks"},
        "annotations": {"atoll.dev/epoch": str(epoch)},
    }
    template = {
        "metadata": {"labels": {"atoll.dev/run": run}},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    spec = {"backoffLimit": 0, "template": template} | job
    manifests = (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": spec,
        },
    )
    return RunOrder(namespace=NAMESPACE, run=run, job="picks", epoch=epoch, manifests=manifests, cancelled=cancelled)


POLICY_KEY = "policyset/baseline"
DENY: Json = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny", "namespace": NAMESPACE},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []},
}
ALLOW: Json = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "allow-web", "namespace": NAMESPACE},
    "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"ports": [{"port": 443}]}]},
}
CILIUM: Json = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "mesh", "namespace": NAMESPACE},
    "spec": {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "web"}}]}]},
}


def policy_order(*manifests: Json, commit: str = "c1", observe_only: bool = False) -> PolicyOrder:
    return PolicyOrder(name="baseline", commit=commit, manifests=manifests, observe_only=observe_only)


async def policies(cluster: Cluster) -> dict[str, Json]:
    return await cluster.objects("NetworkPolicy", NAMESPACE)
