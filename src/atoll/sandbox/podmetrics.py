"""`/apis/metrics.k8s.io/v1beta1` of a simulated cluster: what its pods use, as metrics-server tells it.

Owns the routes; the readings are the kubelet's. Nothing is stored: each answer is measured when it is asked for.
Source: k8s.io/metrics pkg/apis/metrics/v1beta1, PodMetrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import POD, POD_METRICS
from atoll.sandbox.kubelet.kubelet import Kubelet
from atoll.sandbox.kubelet.meter import Meter, Reading

_MEBIBYTE = 1024 * 1024


class PodMetrics:
    """Measures pods."""

    def __init__(self, store: Store, kubelet: Kubelet, clock: Callable[[], datetime]) -> None:
        """Measure the containers that `kubelet` runs."""
        self._store, self._kubelet, self._clock = store, kubelet, clock
        self._meter = Meter()

    def routes(self) -> list[Route]:
        """Return the routes to put before the API's own."""
        base = f"/apis/{POD_METRICS.api_version}"
        return [
            Route(f"{base}/pods", self._list, methods=["GET"]),
            Route(f"{base}/namespaces/{{namespace}}/pods", self._list, methods=["GET"]),
            Route(f"{base}/namespaces/{{namespace}}/pods/{{name}}", self._get, methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        selectors = {
            "label_selector": request.query_params.get("labelSelector", ""),
            "field_selector": request.query_params.get("fieldSelector", ""),
        }
        pods = await self._store.list(POD, request.path_params.get("namespace"), **selectors)  # type: ignore[arg-type]
        items = await asyncio.to_thread(self._measured, pods.items)
        listing = {"kind": POD_METRICS.list_kind, "apiVersion": POD_METRICS.api_version, "metadata": {}}
        return JSONResponse({**listing, "items": items})

    async def _get(self, request: Request) -> Response:
        name = request.path_params["name"]
        pod = await self._store.get(POD, request.path_params["namespace"], name)
        found = await asyncio.to_thread(self._measured, [pod])
        if not found:  # metrics-server's answer for a pod that it has no metrics of
            raise NotFound.of(POD_METRICS.group, "podmetrics", f"{request.path_params['namespace']}/{name}")
        return JSONResponse(found[0])

    def _measured(self, pods: list[Object]) -> list[dict[str, Any]]:
        """Measure pods; of those in which nothing runs there is nothing to tell."""
        readings = [(pod, self._containers(pod)) for pod in pods]
        return [self._metrics(pod, containers) for pod, containers in readings if containers]

    def _containers(self, pod: Object) -> dict[str, Reading]:
        read = {name: self._meter.read(pid) for name, pid in self._kubelet.processes_of(pod).items()}
        return {name: reading for name, reading in read.items() if reading is not None}

    def _metrics(self, pod: Object, containers: dict[str, Reading]) -> dict[str, Any]:
        metadata = pod["metadata"]
        window = max(reading.window_seconds for reading in containers.values())
        return {
            "kind": POD_METRICS.kind,
            "apiVersion": POD_METRICS.api_version,
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "creationTimestamp": timestamp(self._clock()),
                "labels": metadata.get("labels", {}),
            },
            "timestamp": timestamp(self._clock()),
            "window": f"{window:.3f}s",
            "containers": [{"name": name, "usage": _usage(reading)} for name, reading in containers.items()],
        }


def _usage(reading: Reading) -> dict[str, str]:
    return {"cpu": f"{round(reading.cores * 1e9)}n", "memory": f"{reading.memory_bytes // 1024}Ki"}
