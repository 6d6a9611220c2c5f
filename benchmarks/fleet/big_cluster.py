"""A large cluster's API server in a process of its own: nodes and pods as real ones look, in memory, over HTTP.

    python benchmarks/fleet/big_cluster.py --nodes 5000 --pods 100000

Prints its port when it serves. Nothing here is measured.
"""

import argparse
import asyncio
import random
import socket
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import uvicorn

from atoll.kubeapi.http import create_app
from atoll.kubeapi.resource import Registry, ResourceType
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store

Json = dict[str, Any]
VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.1", "platform": "linux/amd64"}
NODE = ResourceType("", "v1", "Node", "nodes", "node", namespaced=False, has_status=True)
POD = ResourceType("", "v1", "Pod", "pods", "pod", namespaced=True, has_status=True)
TIME = "2026-11-22T12:00:00Z"
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet"}
SHA = "sha256:" + "0123456789abcdef" * 4


def gpus_of(node: int) -> int:
    """Tell how many GPUs a node has: half of the nodes have some."""
    return (0, 0, 4, 8)[node % 4]


def nodes(count: int, random_: random.Random) -> Iterator[Json]:
    """Give nodes of four machine types; equal machines differ by some kilobytes of memory, as in life."""
    for number in range(count):
        gpus = gpus_of(number)
        name = f"node-{number:05}"
        memory = f"{(64 + 192 * (number % 4)) * 2**20 - random_.randrange(512)}Ki"
        amounts = {"cpu": "63770m", "memory": memory, "pods": "250", "ephemeral-storage": "898540920981"}
        yield {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": _metadata(name, None, _node_labels(name, number, gpus)),
            "spec": {"podCIDRs": [f"10.{number // 256}.{number % 256}.0/24"], "providerID": f"aws:///a/i-{number:017x}"},
            "status": {
                "allocatable": amounts | ({"nvidia.com/gpu": str(gpus)} if gpus else {}),
                "capacity": amounts,
                "addresses": [{"type": "InternalIP", "address": f"172.16.{number // 250}.{number % 250}"}],
                "conditions": [
                    {"type": kind, "status": str(kind == "Ready"), "reason": "Kubelet", "message": "kubelet is fine",
                     "lastHeartbeatTime": TIME, "lastTransitionTime": TIME}
                    for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
                ],
                "images": [{"names": [f"registry.example/{image}@{SHA}"], "sizeBytes": 10**8} for image in range(50)],
                "nodeInfo": {"kubeletVersion": "v1.34.1-eks-5e0fdde", "osImage": "Linux", "architecture": "amd64"},
            },
        }  # fmt: skip


def _node_labels(name: str, number: int, gpus: int) -> dict[str, str]:
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
        "node.kubernetes.io/instance-type": f"type-{number % 4}",
        "topology.kubernetes.io/region": "eu-central-1",
        "topology.kubernetes.io/zone": f"eu-central-1{'abc'[number % 3]}",
    }
    if gpus:
        labels |= {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.memory": "81920"}
    return labels


def pods(count: int, node_count: int, random_: random.Random) -> Iterator[Json]:
    """Give pods of 200 Deployments, one in ten with a GPU, spread over the nodes."""
    gpus_left = Counter({node: gpus_of(node) for node in range(node_count)})
    for number in range(count):
        app, node = number % 200, random_.randrange(node_count)
        gpus = 1 if number % 10 == 0 and gpus_left[node] else 0
        gpus_left[node] -= gpus
        yield _pod(f"app-{app}-{number:x}-{random_.randrange(16**5):05x}", f"team-{app % 40}", node, (app, gpus))


def _pod(name: str, namespace: str, node: int, template: tuple[int, int]) -> Json:
    app, gpus = template
    requests = {"cpu": f"{100 + app}m", "memory": f"{128 + app}Mi"} | ({"nvidia.com/gpu": "1"} if gpus else {})
    resources = {"requests": requests, "limits": {"memory": "1Gi"} | ({"nvidia.com/gpu": "1"} if gpus else {})}
    mounts = [{"name": f"volume-{index}", "mountPath": f"/var/lib/volume-{index}"} for index in range(4)]
    containers = [
        {"name": role, "image": f"registry.example/{role}:1", "resources": resources if role == "main" else {},
         "env": [{"name": f"SETTING_{index}", "value": f"value-{index}"} for index in range(12)],
         "volumeMounts": mounts, "livenessProbe": {"httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 10}}
        for role in ("main", "proxy")
    ]  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(name, namespace, {"app": f"app-{app}", "pod-template-hash": f"{app:08x}"})
        | {"ownerReferences": [OWNER | {"name": f"app-{app}", "uid": str(uuid.UUID(int=app))}]},
        "spec": {
            "nodeName": f"node-{node:05}",
            "containers": containers,
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300}],
            "volumes": [{"name": f"volume-{index}", "emptyDir": {}} for index in range(4)],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.{node // 256}.{node % 256}.7",
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": TIME}
                for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "containerStatuses": [
                {"name": each["name"], "image": each["image"], "imageID": SHA, "containerID": SHA, "ready": True,
                 "restartCount": 0, "resources": each["resources"], "state": {"running": {"startedAt": TIME}}}
                for each in containers
            ],
        },
    }  # fmt: skip


def _metadata(name: str, namespace: str | None, labels: dict[str, str]) -> Json:
    owned = {f"f:{field}": {} for field in ("containers", "volumes", "tolerations", "status", "conditions", "phase")}
    manager = {"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": owned, "operation": "Update", "time": TIME}
    return {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "uid": str(uuid.uuid4()),
        "creationTimestamp": TIME,
        "labels": labels,
        "annotations": {f"example.dev/note-{index}": "x" * 60 for index in range(3)},
        "managedFields": [manager | {"manager": name} for name in ("kubelet", "kube-controller-manager", "kubectl")],
    }


async def serve(node_count: int, pod_count: int) -> None:
    """Serve the cluster until the process is ended."""
    random_ = random.Random(1)  # the same cluster every time
    storage, registry = MemoryStorage(), Registry()
    for rt, objects in ((NODE, nodes(node_count, random_)), (POD, pods(pod_count, node_count, random_))):
        registry.register(rt)
        for obj in objects:
            key = rt.key(obj["metadata"].get("namespace"), obj["metadata"]["name"])
            await storage.write(key, orjson.dumps(obj), expected=0)
    store = Store(registry, storage)
    await store.start()
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(store, registry, version=VERSION)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    print(listener.getsockname()[1], flush=True)
    await server.serve(sockets=[listener])


def main(arguments: Sequence[str]) -> None:
    """Parse and serve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=100_000)
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.nodes, options.pods))


if __name__ == "__main__":
    main(sys.argv[1:])
