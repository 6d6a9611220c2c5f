"""Services that this cluster shares with others: Cilium's global ones and ServiceExports, with their endpoints here.

Follows Services and ServiceExports; endpoints are read for shared services only, since following all EndpointSlices of
a large cluster costs more than the few that are shared are worth.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import structlog

from atoll.edge.member.informer import Informer, Source
from atoll.edge.member.kube import Listing
from atoll.edge.member.objects import Kind, Object, Selection, condition
from atoll.federation.bus.mesh_messages import MeshServicesReport
from atoll.federation.errors import AtollError
from atoll.federation.resources.mesh import MeshService, ServiceAffinity

log = structlog.get_logger(__name__)

T = TypeVar("T")

# So soon the hub hears that endpoints vanished; each shared service costs one small list.
POLL_SECONDS = 5.0
# A status must stay small; more are counted, not told.
MAX_SERVICES = 200
_SERVICE, _SLICE = Kind("v1", "Service"), Kind("discovery.k8s.io/v1", "EndpointSlice")
# The newest first. Cilium uses v1beta1 from 1.20 on.
_EXPORTS = tuple(Kind(f"multicluster.x-k8s.io/{version}", "ServiceExport") for version in ("v1beta1", "v1alpha1"))
_LOOK_AGAIN_SECONDS = 30.0
# Each with its older name (cilium pkg/annotation/k8s.go).
_GLOBAL = ("service.cilium.io/global", "io.cilium/global-service")
_SHARED = ("service.cilium.io/shared", "io.cilium/shared-service")
_AFFINITY = ("service.cilium.io/affinity", "io.cilium/service-affinity")
_AFFINITIES = ("none", "local", "remote")
# Slices that Cilium makes of other clusters' endpoints (operator/pkg/clustermesh/endpointslicesync).
_FOREIGN = "endpointslice.kubernetes.io/managed-by=endpointslice-mesh-controller.cilium.io"


class ServiceFacts(NamedTuple):
    """How a Service is shared by its annotations."""

    is_global: bool
    is_shared: bool
    affinity: ServiceAffinity


class Endpoints(NamedTuple):
    """How many endpoints of a service are in this cluster."""

    ready: int
    unready: int


class Cluster(Source, Protocol):
    """What is needed of an API server: to follow, and to list once."""

    async def list(self, kind: Kind, selection: Selection = ..., *, project: Callable[[Object], T]) -> Listing[T]:
        """Read all objects, each as `project` makes it."""
        ...


class SharedServices:
    """The shared services of one cluster."""

    def __init__(self, kube: Cluster, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._kube, self._poll_seconds = kube, poll_seconds
        self._services = Informer(kube, _SERVICE, project=project_service, keep=lambda obj: project_service(obj)[0])
        self._exports = Informer(
            kube,
            _EXPORTS[0],
            project=project_export,
            alternatives=_EXPORTS[1:],
            look_again_seconds=_LOOK_AGAIN_SECONDS,
        )
        self._endpoints: dict[str, Endpoints] = {}

    async def run(self, tell: Callable[[], None]) -> None:
        """Follow until cancelled; `tell` is called whenever there may be something new."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services.run())
            group.create_task(self._exports.run())
            group.create_task(self._count_again_and_again(tell))

    async def _count_again_and_again(self, tell: Callable[[], None]) -> None:
        await self._services.has_synced.wait()
        while True:
            try:
                self._endpoints = {key: await self._count(key) for key in self._keys()[:MAX_SERVICES]}
            except AtollError as error:  # what was counted last stays told until it can be counted again
                log.info("endpoints of shared services could not be counted", reason=str(error))
            else:
                tell()
            await asyncio.sleep(self._poll_seconds)

    async def _count(self, key: str) -> Endpoints:
        namespace, _, name = key.partition("/")
        selector = f"kubernetes.io/service-name={name},{_FOREIGN.replace('=', '!=')}"
        slices = await self._kube.list(_SLICE, Selection(namespace, selector), project=count_endpoints)
        return Endpoints(sum(each.ready for each in slices.items), sum(each.unready for each in slices.items))

    def _keys(self) -> list[str]:
        return sorted({*self._services.items, *self._exports.items})

    def told(self, at: datetime) -> MeshServicesReport:
        """Give the report as it is now."""
        keys = self._keys()
        services = tuple(self._service(key) for key in keys[:MAX_SERVICES] if key in self._endpoints)
        return MeshServicesReport(services=services, omitted=max(0, len(keys) - MAX_SERVICES), at=at)

    def _service(self, key: str) -> MeshService:
        namespace, _, name = key.partition("/")
        facts, export = self._services.items.get(key), self._exports.items.get(key)
        ready, unready = self._endpoints[key]
        return MeshService(
            namespace=namespace,
            name=name,
            is_global=facts is not None,
            is_exported=export is not None,
            is_shared=facts is None or facts.is_shared or export is not None,
            affinity=facts.affinity if facts is not None else "none",
            endpoints=ready,
            unready_endpoints=unready,
            problem=export or "",
        )


def project_service(obj: Object) -> ServiceFacts:
    """Read a Service's annotations."""
    annotations = obj["metadata"].get("annotations") or {}
    affinity = _first(annotations, _AFFINITY).lower()
    return ServiceFacts(
        is_global=_first(annotations, _GLOBAL).lower() == "true",
        is_shared=_first(annotations, _SHARED).lower() != "false",
        affinity=cast(ServiceAffinity, affinity) if affinity in _AFFINITIES else "none",
    )


def project_export(obj: Object) -> str:
    """Say why an export does not hold, in the words of its conditions; empty if it does.

    A conflict is settled for the oldest export, and still told: the other ones are not what their owners wrote.
    """
    for kind, bad in (("Valid", "False"), ("Ready", "False"), ("Conflict", "True")):
        found = condition(obj, kind)
        if found.get("status") == bad:
            return str(found.get("message") or found.get("reason") or kind)
    return ""


def count_endpoints(obj: Object) -> Endpoints:
    """Count a slice's endpoints; `ready` unset means ready (discovery.k8s.io/v1)."""
    endpoints: Iterable[Mapping[str, Any]] = obj.get("endpoints") or ()
    states = [(endpoint.get("conditions") or {}).get("ready") is not False for endpoint in endpoints]
    return Endpoints(sum(states), len(states) - sum(states))


def _first(annotations: Mapping[str, str], names: Iterable[str]) -> str:
    return next((str(annotations[name]) for name in names if name in annotations), "")
