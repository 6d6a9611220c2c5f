"""The pods that Cilium would have in a simulated cluster; no process runs for them.

Owns their objects. They pose as static pods, so that `kubectl drain` leaves them alone: nobody would make them again.
"""

from __future__ import annotations

from collections.abc import Iterator

from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import POD
from atoll.sandbox.kubelet.kubelet import STAND_IN
from atoll.sandbox.kubelet.stand_ins import APP
from atoll.sandbox.kubelet.status import Container, PodView, status_of
from atoll.sandbox.spec import ClusterSpec

_STATIC = "kubernetes.io/config.mirror"  # core/v1 MirrorPodAnnotationKey
_ID = "sandbox://stand-in"


async def seed_pods(store: Store, spec: ClusterSpec, now: str) -> None:
    """Create an agent on each node, and the control plane that other clusters connect to."""
    for index, pod in _pods(spec):
        created = await store.create(POD, pod)
        await store.update(POD, {**created, "status": _status(spec, index, pod, now)}, subresource="status")


def _pods(spec: ClusterSpec) -> Iterator[tuple[int, Object]]:
    """Give each pod with the index of its node."""
    for index in range(len(spec.nodes)):
        yield index, _pod(spec, index, f"cilium-{index}", app="cilium", containers=("cilium-agent",))
    containers = ("etcd", "apiserver", *(("kvstoremesh",) if spec.has_kvstoremesh else ()))
    yield 0, _pod(spec, 0, "clustermesh-apiserver", app="clustermesh-apiserver", containers=containers)


def _pod(spec: ClusterSpec, index: int, name: str, *, app: str, containers: tuple[str, ...]) -> Object:
    image = f"quay.io/cilium/{'cilium' if app == 'cilium' else app}:v{spec.cilium_version}"
    annotations = {STAND_IN: "true", _STATIC: "true"}
    return {
        "metadata": {"name": name, "namespace": "kube-system", "labels": {APP: app}, "annotations": annotations},
        "spec": {
            "nodeName": spec.nodes[index].name,
            "hostNetwork": True,
            "containers": [{"name": container, "image": image} for container in containers],
            "tolerations": [{"operator": "Exists"}],
        },
    }


def _status(spec: ClusterSpec, index: int, pod: Object, now: str) -> Object:
    running = {"running": {"startedAt": now}}
    mains = [Container(each["name"], state=running, container_id=_ID) for each in pod["spec"]["containers"]]
    address = spec.node_address(index)
    view = PodView(inits=[], mains=mains, start_time=now, pod_ip=address, host_ip=address)
    status = status_of(view, [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now}], now)
    return {name: value for name, value in status.items() if value is not None}
