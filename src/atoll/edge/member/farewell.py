"""The cluster's leave: once every order has ended, remove what else Atoll has put there, and tell what stays and why.

Rules:
1. Nothing is removed while an order stands or an earlier one is not undone yet: that is its own controller's work.
2. Only objects that Atoll itself applied are removed: a label can be copied.
3. Volumes with datasets stay unless the order says so, and so does a namespace with anything in it.
4. It is done again from the start after any crash; what was removed is then simply not there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from atoll.edge.member import namespaces
from atoll.edge.member.data_credentials import SECRET
from atoll.edge.member.desired import POLICYSETS, RUNS, SERVICES, Orders
from atoll.edge.member.errors import KindNotServed, Refused
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import FIELD_MANAGER, RUN_LABEL, Kind, Object, ObjectRef, Selection, was_labelled_by
from atoll.edge.member.runs import Reports
from atoll.edge.member.services import CLAIM, DEPLOYMENT, SERVICE_SELECTOR
from atoll.edge.member.work import DONE, RequeueAfter, Result
from atoll.federation.bus.admission import CREDENTIALS_SECRET
from atoll.federation.bus.farewell import FAREWELL, FAREWELL_KEY, FarewellOrder, FarewellReport, Leftover
from atoll.federation.resources import DATASET_CLAIM
from atoll.federation.workloads import known_kinds
from atoll.policies.stamp import POLICYSET_LABEL

log = structlog.get_logger(__name__)

_MANAGED = "app.kubernetes.io/managed-by=atoll"
_AGAIN_SECONDS = 0.5
_TOLD = 50
_NAMES = {RUNS: "run", POLICYSETS: "policy set", SERVICES: "data service of namespace"}
# What an agent that lost its disk may have left behind, by the label that all of it carries.
_SWEPT: Sequence[tuple[Kind, str]] = (
    *((Kind(*kind), RUN_LABEL) for kind in known_kinds()),
    (DEPLOYMENT, SERVICE_SELECTOR),
    (Kind("networking.k8s.io/v1", "NetworkPolicy"), POLICYSET_LABEL),
    (Kind("cilium.io/v2", "CiliumNetworkPolicy"), POLICYSET_LABEL),
    (Kind("cilium.io/v2", "CiliumClusterwideNetworkPolicy"), POLICYSET_LABEL),
    (Kind("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"), POLICYSET_LABEL),
)


@dataclass
class _Pass:
    """What one look at the cluster has found and done."""

    going: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[Leftover] = field(default_factory=list)

    def keep(self, ref: ObjectRef, why: str) -> None:
        self.kept.append(Leftover(what=str(ref), why=why))


class FarewellController:
    """Carries out the one farewell order of a cluster. `standing` names what its controllers have not undone yet."""

    def __init__(
        self,
        kube: Kube,
        orders: Orders,
        *,
        standing: Callable[[], Iterable[str]],
        reports: Reports,
        now: Callable[[], datetime],
    ) -> None:
        self._kube, self._orders, self._standing = kube, orders, standing
        self._reports, self._now = reports, now
        self._removed: dict[str, None] = {}

    async def reconcile(self, key: str) -> Result:
        """Bring the leave closer to its end, and report it."""
        raw = self._orders.get(FAREWELL, key)
        if raw is None:
            self._removed.clear()
            self._reports.forget(_report_key())
            return DONE
        order = FarewellOrder.decode(raw)
        if waiting := tuple(self._standing()):
            self._report(order, waiting_for=waiting)
            return RequeueAfter(_AGAIN_SECONDS)
        done = await self._clear(order)
        self._removed |= dict.fromkeys(done.removed)
        if done.going:
            self._report(order, waiting_for=tuple(done.going))
            return RequeueAfter(_AGAIN_SECONDS)
        self._report(order, is_done=True, kept=tuple(done.kept[:_TOLD]))
        log.info("cleared the cluster", removed=len(self._removed), kept=len(done.kept))
        return DONE

    async def _clear(self, order: FarewellOrder) -> _Pass:
        done = _Pass()
        for kind, label in _SWEPT:
            for ref in await self._ours(kind, label, done):
                await self._remove(ref, done)
                if kind == DEPLOYMENT and ref.namespace:
                    await self._kube.delete(ObjectRef(SECRET, ref.namespace, CREDENTIALS_SECRET))
        for claim in await self._ours(CLAIM, _MANAGED, done):
            if claim.name != DATASET_CLAIM:  # the agent's own state goes with its namespace
                continue
            if order.delete_data:
                await self._remove(claim, done)
            else:
                done.keep(claim, "it holds datasets: --delete-data deletes it too")
        if not done.going:
            await self._give_up_namespaces(done)
        return done

    async def _ours(self, kind: Kind, label: str, done: _Pass) -> list[ObjectRef]:
        """Name the objects of a kind that bear a label and that Atoll has given it to."""
        key = label.partition("=")[0]

        def project(obj: Object) -> ObjectRef | None:
            return ObjectRef.of(obj) if was_labelled_by(obj, FIELD_MANAGER, key) else None

        try:
            found = await self._kube.list(kind, Selection(label_selector=label), project=project)
        except KindNotServed:
            return []
        except Refused as refused:
            done.kept.append(Leftover(what=f"every {kind.kind} labelled {label}", why=str(refused)))
            return []
        return [ref for ref in found.items if ref is not None]

    async def _remove(self, ref: ObjectRef, done: _Pass) -> None:
        """Delete an object; it counts as going until it has gone."""
        try:
            await self._kube.delete(ref, propagation="Foreground")
        except Refused as refused:
            done.keep(ref, str(refused))
            return
        done.removed.append(str(ref))
        done.going.append(str(ref))

    async def _give_up_namespaces(self, done: _Pass) -> None:
        try:
            found = await namespaces.made(self._kube)
        except Refused as refused:
            done.kept.append(Leftover(what="namespaces that Atoll made", why=str(refused)))
            return
        for namespace in found:
            if why := await namespaces.give_up(self._kube, namespace):
                done.keep(namespace, why)
            else:
                done.removed.append(str(namespace))

    def _report(
        self,
        order: FarewellOrder,
        *,
        waiting_for: tuple[str, ...] = (),
        is_done: bool = False,
        kept: tuple[Leftover, ...] = (),
    ) -> None:
        report = FarewellReport(
            id=order.id,
            is_done=is_done,
            waiting_for=waiting_for[:_TOLD],
            removed=tuple(self._removed)[:_TOLD],
            kept=kept,
            at=self._now(),
        )
        self._reports.report(_report_key(), report)


def standing(orders: Orders, records: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """Name every order that holds, and every one that has ended and is not undone; `records` are by kind of order."""
    for kind, kept in records.items():
        for key in sorted({*orders.keys(kind), *kept}):
            yield f"{_NAMES[kind]} {key}"


def _report_key() -> str:
    return f"{FAREWELL}/{FAREWELL_KEY}"
