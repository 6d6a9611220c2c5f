"""Policy sets: hold exactly the ordered objects in the cluster, put back what is changed by hand, name who did it.

Rules:
1. Never less than ordered (G4): new objects are applied before old ones are pruned, and nothing is pruned while one
   could not be applied.
2. Pruned are only objects of the set that Atoll itself has applied: a copy made by hand stays.
3. A difference is drift if the object was applied from the very manifest that is ordered now; else it is the order
   that changed. Drift is put back at once, deletion included, unless the set only observes.
4. Applied is claimed only of what is seen: while the API server cannot be asked the set is Failed and says so. What
   is proven beyond that is proof/'s.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from atoll.edge.member.backoff import Allowance
from atoll.edge.member.desired import POLICYSETS, Orders
from atoll.edge.member.errors import KindNotServed, is_passing
from atoll.edge.member.objects import Kind, ObjectRef, digest_of, with_labels
from atoll.edge.member.policy_objects import PolicyObjects
from atoll.edge.member.proof.standing import Standing, Writes
from atoll.edge.member.records import HeldObject, PolicyRecord, Records, SavedRef
from atoll.edge.member.runs import Reports
from atoll.edge.member.work import DONE, RequeueAfter, Result
from atoll.federation.bus.messages import DriftRecord, PolicyOrder, PolicyReport
from atoll.federation.errors import AtollError, Conflict, Internal
from atoll.policies.drift import Drift
from atoll.policies.manifest import Manifest, Origin
from atoll.policies.stamp import POLICYSET_LABEL, policyset_label

log = structlog.get_logger(__name__)

# A net below the watches: comparing with what the watches hold costs no request.
_RESYNC_SECONDS = 300.0
_KIND_RETRY_SECONDS = 5.0
_NEWEST_DRIFTS = 10
# Another controller that writes the same object would else be fought at full speed, for ever.
_HEALS, _HEALS_SECONDS = 10, 30.0
_PROBLEMS_SHOWN = 3


@dataclass
class _Pass:
    """What one look at a set has found."""

    held: dict[ObjectRef, str] = field(default_factory=dict)
    drifts: list[DriftRecord] = field(default_factory=list)
    errors: list[AtollError] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def fail(self, what: object, error: AtollError) -> None:
        self.errors.append(error)
        self.problems.append(f"{what}: {error}")

    @property
    def message(self) -> str:
        more = len(self.problems) - _PROBLEMS_SHOWN
        return "; ".join(self.problems[:_PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")

    def result(self) -> Result:
        """Tell when to look again; raise what may pass by itself, so that it is tried again soon."""
        for error in self.errors:
            if is_passing(error):
                raise error
        is_waiting = any(isinstance(error, KindNotServed) for error in self.errors)
        return RequeueAfter(_KIND_RETRY_SECONDS if is_waiting else _RESYNC_SECONDS)


class PolicyController:
    """Carries out the policy orders of one cluster."""

    def __init__(
        self,
        objects: PolicyObjects,
        orders: Orders,
        *,
        records: Records[PolicyRecord],
        reports: Reports,
        now: Callable[[], datetime],
    ) -> None:
        self._objects, self._orders, self._records, self._reports = objects, orders, records, reports
        self._now = now
        self._owners: dict[tuple[Kind, str], str] = {}
        self._heals = Allowance(_HEALS, _HEALS_SECONDS)
        self._standings: dict[str, Standing] = {}
        self._standing_handler: Callable[[], None] = lambda: None
        self.writes = Writes(now)

    def owner_of(self, kind: Kind, key: str) -> str | None:
        """Name the set that orders an object."""
        return self._owners.get((kind, key))

    def on_standing(self, handler: Callable[[], None]) -> None:
        """Call a handler when what stands of a set was looked at; it must not block."""
        self._standing_handler = handler

    def standings(self) -> Mapping[str, Standing]:
        """Give what stands of each set just now, by the key of its report."""
        return dict(self._standings)

    async def reconcile(self, name: str) -> Result:
        """Bring one set closer to its order, and report it."""
        raw = self._orders.get(POLICYSETS, name)
        record = self._records.get(name) or PolicyRecord(name=name)
        if raw is None:
            return await self._withdraw(record)
        try:
            order = PolicyOrder.decode(raw)
        except Internal as error:
            self._reports.report(
                _report_key(name),
                PolicyReport(name=name, commit="", phase="Failed", message=str(error), at=self._now()),
            )
            return DONE
        return await (self._observe if order.observe_only else self._hold)(order, record)

    async def _hold(self, order: PolicyOrder, record: PolicyRecord) -> Result:
        done = _Pass()
        policies = tuple(self._policies(order, done))
        record = record.model_copy(update={"kinds": _kinds_of(record, policies)})
        self._records.put(order.name, record)
        known = {entry.object.ref(): entry.digest for entry in record.held}
        for policy in policies:
            await self._hold_one(policy, known, done)
        if not done.problems:
            await self._prune(record, wanted=done.held.keys(), done=done)
        # What could not be brought up to the order is still there from an earlier one.
        held = known | done.held if done.problems else done.held
        healed = sum(drift.healed for drift in done.drifts)
        record = record.model_copy(
            update={
                "held": tuple(HeldObject(object=SavedRef.of(ref), digest=digest) for ref, digest in held.items()),
                "drift_healed": record.drift_healed + healed,
                # What was not put back is found again each time, so only the healed are history.
                "drifts": (*done.drifts, *(drift for drift in record.drifts if drift.healed))[:_NEWEST_DRIFTS],
            }
        )
        self._records.put(order.name, record)
        self._stand(order, policies, done)
        self._report(order, record, done)
        return done.result()

    async def _hold_one(self, policy: Manifest, known: Mapping[ObjectRef, str], done: _Pass) -> None:
        """Hold one object; a failure is noted and stops nothing else."""
        ref, digest = ObjectRef.of(policy.body), digest_of(policy.body)
        drift = None
        try:
            if known.get(ref) == digest:
                drift = await self._objects.drift(policy)
            if drift and not self._heals.take(ref, self._now()):
                raise Conflict(
                    f"changed again and again by {', '.join(drift.managers) or 'someone'}: stop one of the two"
                )
            if drift or known.get(ref) != digest:
                await self._objects.hold(policy)
                self.writes.note(policy, is_repair=drift is not None)
            done.held[ref] = digest
        except AtollError as error:
            done.fail(ref, error)
        if drift:
            healed = ref in done.held
            done.drifts.append(self._record_of(drift, healed=healed))
            log.warning(
                "a policy was changed by hand",
                object=str(ref),
                paths=drift.changed_paths,
                managers=drift.managers,
                healed=healed,
            )

    async def _prune(self, record: PolicyRecord, *, wanted: Collection[ObjectRef], done: _Pass) -> None:
        """Delete what an earlier order of this set applied and this one does not hold."""
        held = {entry.object.ref() for entry in record.held}
        try:
            labelled = await self._objects.labelled(record.name, (Kind(*kind) for kind in record.kinds))
            for ref in sorted((held | labelled) - set(wanted), key=str):
                if await self._objects.prune(ref):
                    log.info("pruned a policy", policyset=record.name, object=str(ref))
        except AtollError as error:
            done.fail("pruning", error)

    async def _observe(self, order: PolicyOrder, record: PolicyRecord) -> Result:
        """Report differences only; a difference keeps the time at which it was first seen."""
        done = _Pass()
        seen = {_identity(drift): drift for drift in record.drifts if not drift.healed}
        policies = tuple(self._policies(order, done))
        for policy in policies:
            ref = ObjectRef.of(policy.body)
            try:
                drift = await self._objects.drift(policy)
                if drift is None:
                    done.held[ref] = ""
                    continue
                found = self._record_of(drift, healed=False)
                done.drifts.append(seen.get(_identity(found), found))
            except AtollError as error:
                done.fail(ref, error)
        record = record.model_copy(update={"drifts": tuple(done.drifts)[:_NEWEST_DRIFTS]})
        self._records.put(order.name, record)
        self._stand(order, policies, done)
        self._report(order, record, done)
        return done.result()

    async def _withdraw(self, record: PolicyRecord) -> Result:
        """Remove all objects of a set whose order has ended."""
        done = _Pass()
        await self._prune(record, wanted=(), done=done)
        if not done.errors:
            self._records.delete(record.name)
            self._owners = {key: name for key, name in self._owners.items() if name != record.name}
            self._standings.pop(_report_key(record.name), None)
            self._reports.forget(_report_key(record.name))
            return DONE
        return done.result()

    def _policies(self, order: PolicyOrder, done: _Pass) -> Iterator[Manifest]:
        """Give the ordered objects as they shall stand in the cluster, and watch their kinds."""
        self._owners = {key: name for key, name in self._owners.items() if name != order.name}
        for manifest in order.manifests:
            try:
                ref = ObjectRef.of(manifest)
            except AtollError as error:
                done.fail("the order", error)
                continue
            self._objects.watch(ref.kind)
            self._owners[ref.kind, ref.key] = order.name
            body = with_labels(manifest, {POLICYSET_LABEL: policyset_label(order.name)})
            yield Manifest(ref.kind.kind, ref.namespace, ref.name, body, Origin(order.commit, 0))

    def _record_of(self, drift: Drift, *, healed: bool) -> DriftRecord:
        return DriftRecord(
            kind=drift.kind,
            namespace=drift.namespace,
            name=drift.name,
            paths=drift.changed_paths,
            managers=drift.managers,
            at=drift.at or self._now(),
            healed=healed,
        )

    def _stand(self, order: PolicyOrder, policies: Sequence[Manifest], done: _Pass) -> None:
        """Note what can be proven from now on."""
        is_drifted = any(not drift.healed for drift in done.drifts)
        why_not = done.message or ("it differs from what was ordered" if is_drifted else "")
        key = _report_key(order.name)
        old = self._standings.get(key)
        # The same objects are kept, since what was read out of them is known by them.
        same = old.policies if old is not None and old.policies == tuple(policies) else tuple(policies)
        self._standings[key] = Standing(order.commit, same, why_not)
        self._standing_handler()

    def _report(self, order: PolicyOrder, record: PolicyRecord, done: _Pass) -> None:
        is_drifted = any(not drift.healed for drift in done.drifts)
        report = PolicyReport(
            name=order.name,
            commit=order.commit,
            phase="Failed" if done.problems else "Drifted" if is_drifted else "Applied",
            message=done.message,
            objects=len(done.held),
            drift_healed=record.drift_healed,
            drifts=record.drifts,
            at=self._now(),
        )
        self._reports.report(_report_key(order.name), report)


def _kinds_of(record: PolicyRecord, policies: tuple[Manifest, ...]) -> tuple[tuple[str, str], ...]:
    kinds = set(record.kinds)
    for policy in policies:
        api_version, kind = ObjectRef.of(policy.body).kind
        kinds.add((api_version, kind))
    return tuple(sorted(kinds))


def _identity(drift: DriftRecord) -> tuple[object, ...]:
    return drift.kind, drift.namespace, drift.name, drift.paths


def _report_key(name: str) -> str:
    return f"{POLICYSETS}/{name}"
