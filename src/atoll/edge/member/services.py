"""Data services: apply the volume claim and the Deployment of a namespace's sink and mover, tell when they serve.

A service whose order ends is stopped; its volume claim and its namespace stay, because they hold the datasets.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from atoll.edge.member import namespaces
from atoll.edge.member.data_credentials import SECRET, DataCredentials
from atoll.edge.member.desired import SERVICES, Orders
from atoll.edge.member.errors import is_passing
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Kind, Object, ObjectRef, condition
from atoll.edge.member.records import Records, ServiceRecord, saved
from atoll.edge.member.runs import Reports
from atoll.edge.member.work import DONE, RequeueAfter, Result
from atoll.federation.bus.admission import CREDENTIALS_SECRET
from atoll.federation.bus.messages import ServiceOrder, ServiceReport
from atoll.federation.errors import AtollError

DEPLOYMENT = Kind("apps/v1", "Deployment")
CLAIM = Kind("v1", "PersistentVolumeClaim")
SERVICE_SELECTOR = "app.kubernetes.io/name=atoll-data"
_STAYS = frozenset({CLAIM, namespaces.NAMESPACE})
_UNTIL_READY_SECONDS = 2.0
_RESYNC_SECONDS = 60.0


class ServiceController:
    """Carries out the service orders of one cluster."""

    def __init__(
        self,
        kube: Kube,
        orders: Orders,
        *,
        records: Records[ServiceRecord],
        reports: Reports,
        now: Callable[[], datetime],
        credentials: DataCredentials | None = None,
    ) -> None:
        """Without `credentials` NATS asks for none."""
        self._kube, self._orders, self._records, self._reports, self._now = kube, orders, records, reports, now
        self._credentials = credentials

    async def reconcile(self, namespace: str) -> Result:
        """Bring the service of one namespace closer to its order, and report it."""
        raw, record = self._orders.get(SERVICES, namespace), self._records.get(namespace)
        if raw is None:
            return await self._end(namespace, record)
        try:
            problem = await self._apply(ServiceOrder.decode(raw))
        except AtollError as error:
            self._report(namespace, problem=f"{error.reason}: {error}")
            if is_passing(error):
                raise
            return DONE
        self._report(namespace, problem=problem)
        return RequeueAfter(_UNTIL_READY_SECONDS if problem else _RESYNC_SECONDS)

    async def _apply(self, order: ServiceOrder) -> str:
        """Apply all, which changes nothing where all is as ordered; say why it is not ready, empty if it is."""
        refs = [ObjectRef.of(manifest) for manifest in order.manifests]
        self._records.put(order.namespace, ServiceRecord(namespace=order.namespace, objects=saved(refs)))
        objects = [await namespaces.apply(self._kube, manifest) for manifest in order.manifests]
        if self._credentials is not None:  # after the namespace that they are in; the pods wait for them
            await self._credentials.ensure(order.namespace)
        problems = (why_not_ready(ref, obj) for ref, obj in zip(refs, objects, strict=True))
        return next(filter(None, problems), "")

    async def _end(self, namespace: str, record: ServiceRecord | None) -> Result:
        for entry in record.objects if record else ():
            if entry.ref().kind not in _STAYS:
                await self._kube.delete(entry.ref())
        if self._credentials is not None:
            await self._kube.delete(ObjectRef(SECRET, namespace, CREDENTIALS_SECRET))
        self._records.delete(namespace)
        self._reports.forget(f"{SERVICES}/{namespace}")
        return DONE

    def _report(self, namespace: str, *, problem: str) -> None:
        report = ServiceReport(namespace=namespace, ready=not problem, message=problem, at=self._now())
        self._reports.report(f"{SERVICES}/{namespace}", report)


def why_not_ready(ref: ObjectRef, obj: Object) -> str:
    """Say why one object of a service cannot serve yet; empty if it can."""
    status: Mapping[str, Any] = obj.get("status") or {}
    if ref.kind == CLAIM and status.get("phase") == "Lost":
        return f"{ref} has lost its volume"
    if ref.kind != DEPLOYMENT:
        return ""
    wanted = (obj.get("spec") or {}).get("replicas", 1)
    is_current = int(status.get("observedGeneration", 0)) >= int(obj["metadata"].get("generation", 0))
    if is_current and int(status.get("availableReplicas", 0)) >= wanted:
        return ""
    reason = condition(obj, "ReplicaFailure").get("message") or condition(obj, "Available").get("message")
    return f"{ref} has {status.get('availableReplicas', 0)} of {wanted} replicas available" + (
        f": {reason}" if reason else ""
    )
