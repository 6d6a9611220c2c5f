"""What the pods of a run use now: answers the hub's `top` calls from the cluster's resource metrics. It keeps nothing.

Source: metrics.k8s.io/v1beta1 (k8s.io/metrics), which metrics-server or an adapter serves. GPUs are not measured there.
"""

from collections.abc import AsyncIterator, Iterable, Mapping

from atoll.edge.member.errors import KindNotServed
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Kind, Object
from atoll.edge.member.run_pods import RunPods
from atoll.federation.bus.usage_messages import PodUse, TopReport, TopRequest
from atoll.federation.capacity import ResourceVector, demand_of_pod_spec, parse_bytes, parse_millicores
from atoll.federation.errors import InvalidInput, NotFound

_METRICS = Kind("metrics.k8s.io/v1beta1", "PodMetrics")
_UNMEASURED = "the cluster does not measure what pods use: it has no metrics-server"


class UsageNow:
    """Looks at the pods of one cluster's runs."""

    def __init__(self, kube: Kube, pods: RunPods) -> None:
        self._kube, self._pods = kube, pods

    async def serve(self, payload: bytes) -> AsyncIterator[bytes]:
        """Give one TopReport.

        Raises:
            NotFound: the run has no pod.
        """
        request = TopRequest.decode(payload)
        pods = await self._pods.of(request.namespace, request.run)
        if not pods:
            raise NotFound(f"run {request.namespace}/{request.run} has no pod")
        # The metrics of a pod bear its labels (metrics-server 0.6).
        selection = self._pods.selection(request.namespace, request.run)
        try:
            measured = dict((await self._kube.list(_METRICS, selection, project=_measured)).items)
        except KindNotServed:
            yield TopReport(pods=_uses(pods, {}), message=_UNMEASURED).encode()
        else:
            yield TopReport(pods=_uses(pods, measured)).encode()


def _uses(pods: Iterable[Object], measured: Mapping[str, tuple[int, int]]) -> tuple[PodUse, ...]:
    return tuple(sorted((_use(pod, measured) for pod in pods), key=lambda use: use.pod))


def _use(pod: Object, measured: Mapping[str, tuple[int, int]]) -> PodUse:
    name, status = str(pod["metadata"]["name"]), pod.get("status") or {}
    used = measured.get(name, (None, None))
    try:
        requested = demand_of_pod_spec(pod["spec"])
    except InvalidInput:  # resources of a form that is newer than this agent
        requested = ResourceVector()
    return PodUse(
        pod=name,
        node=pod["spec"].get("nodeName", ""),
        phase=status.get("phase", ""),
        started_at=status.get("startTime"),
        requested_millicores=requested.millicores,
        requested_memory_bytes=requested.memory_bytes,
        requested_gpus=requested.gpus,
        used_millicores=used[0],
        used_memory_bytes=used[1],
    )


def _measured(metrics: Object) -> tuple[str, tuple[int, int]]:
    """Give a pod's name, and what all its containers use: millicores and bytes."""
    usages = [container.get("usage") or {} for container in metrics.get("containers") or ()]
    cores = sum(parse_millicores(usage.get("cpu", 0)) for usage in usages)
    return str(metrics["metadata"]["name"]), (cores, sum(parse_bytes(usage.get("memory", 0)) for usage in usages))
