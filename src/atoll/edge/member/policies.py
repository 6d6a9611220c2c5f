"""Policy sets: hold exactly the ordered objects in the cluster, put back what is changed by hand, name who did it.

Rules:
1. Never less than ordered (G4): new objects are applied before old ones are pruned, and nothing is pruned while one
   could not be applied.
2. Pruned are only objects of the set that Atoll itself has applied: a copy made by hand stays.
3. A difference is drift if the object was applied from the very manifest that is ordered now; else it is the order
   that changed. Drift is put back at once, deletion included, unless the set only observes.
4. Applied is claimed only of what is seen: while the API server cannot be asked the set is Failed and says so. What
   is proven beyond that is proof/'s.
5. One object that changes is looked at by itself and at once: a look at the whole set takes as long as it has objects,
   and follows within a second. Both are under the set's lock.
6. An object is held by one set: the first that orders it keeps it, another says Conflict and does not write.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

import structlog

from atoll.edge.member.backoff import Allowance
from atoll.edge.member.desired import POLICYSETS, Orders
from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.policy_objects import PolicyObjects
from atoll.edge.member.policy_owners import Owners
from atoll.edge.member.policy_pass import (
    NEWEST_DRIFTS,
    HeldSet,
    Pass,
    Wanted,
    entry_of,
    identity_of,
    kinds_of,
    record_of,
    ref_of,
    report_key,
    with_drifts,
)
from atoll.edge.member.policy_reading import OrderReader, Reading
from atoll.edge.member.proof.standing import Standing, Writes
from atoll.edge.member.records import DriftsRecord, PolicyRecord, Records
from atoll.edge.member.runs import Reports
from atoll.edge.member.work import DONE, Result
from atoll.federation.bus.messages import PolicyOrder, PolicyReport
from atoll.federation.errors import AtollError, Conflict, Internal

log = structlog.get_logger(__name__)

# Another controller that writes the same object would else be fought at full speed, for ever.
_HEALS, _HEALS_SECONDS = 10, 30.0
# How soon after an object has changed its whole set is looked at: soon enough for what is told of it.
WHOLE_SET_SECONDS = 1.0
_OBSERVES = "the agent was started with --observe-only and puts nothing right"


class PolicyController:
    """Carries out the policy orders of one cluster."""

    def __init__(
        self,
        objects: PolicyObjects,
        orders: Orders,
        *,
        records: Records[PolicyRecord],
        drifts: Records[DriftsRecord],
        reports: Reports,
        now: Callable[[], datetime],
        observe_only: bool = False,
    ) -> None:
        """Carry out orders; `observe_only` says that nothing of this cluster is ever to be touched."""
        self._observe_only = observe_only
        self._objects, self._orders, self._records, self._reports = objects, orders, records, reports
        self._drifts, self._now = drifts, now
        self._owners = Owners(filter(None, map(records.get, records)))
        self._reader = OrderReader()
        self._heals = Allowance(_HEALS, _HEALS_SECONDS)
        self._held: dict[str, HeldSet] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._standings: dict[str, Standing] = {}
        self._standing_handler: Callable[[], None] = lambda: None
        self._handover_handler: Callable[[str], None] = lambda _name: None
        self.writes = Writes(now)

    def owner_of(self, kind: Kind, key: str) -> str | None:
        """Name the set that holds an object, or failing that one that observes it."""
        return self._owners.concerned(kind, key)

    def on_standing(self, handler: Callable[[], None]) -> None:
        """Call a handler when what stands of a set was looked at; it must not block."""
        self._standing_handler = handler

    def on_handover(self, handler: Callable[[str], None]) -> None:
        """Call a handler with each set that has got an object of another one; it must not block."""
        self._handover_handler = handler

    def _hand_over(self, heirs: Iterable[str]) -> None:
        for name in heirs:
            self._handover_handler(name)

    def standings(self) -> Mapping[str, Standing]:
        """Give what stands of each set just now, by the key of its report."""
        return dict(self._standings)

    async def reconcile(self, name: str) -> Result:
        """Bring one set closer to its order, and report it."""
        async with self._locks[name]:
            return await self._reconcile(name)

    async def heal(self, key: str) -> Result:
        """Put one object back that has changed, if it was held as it is ordered now; the whole set follows later."""
        ref = ref_of(key)
        name = self._owners.concerned(ref.kind, ref.key) or ""
        async with self._locks[name]:
            held = self._held.get(name)
            one = held.wanted.get(ref) if held is not None else None
            if held is None or one is None or self._orders.get(POLICYSETS, name) is not held.raw:
                return DONE
            done = Pass()
            await self._hold_one(one, {ref: one.digest}, done)
            if done.drifts and not done.problems:
                known = with_drifts(self._known_drifts(name), done)
                self._drifts.put(name, known)
                update = {"drift_healed": known.healed, "drifts": known.newest, "at": self._now()}
                self._reports.report(report_key(name), held.report.model_copy(update=update))
                self._standing_handler()
        return DONE

    def _record(self, name: str) -> PolicyRecord:
        return self._records.get(name) or PolicyRecord(name=name)

    def _known_drifts(self, name: str) -> DriftsRecord:
        before = self._record(name)
        return self._drifts.get(name) or DriftsRecord(healed=before.drift_healed, newest=before.drifts)

    async def _reconcile(self, name: str) -> Result:
        raw = self._orders.get(POLICYSETS, name)
        record = self._record(name)
        self._held.pop(name, None)
        if raw is None:
            return await self._withdraw(record)
        try:
            reading = self._reader.read(name, raw)
        except Internal as error:
            self._reports.report(
                report_key(name),
                PolicyReport(name=name, commit="", phase="Failed", message=str(error), at=self._now()),
            )
            return DONE
        if reading.order.observe_only or self._observe_only:
            return await self._observe(reading)
        return await self._hold(reading, record)

    async def _hold(self, reading: Reading, record: PolicyRecord) -> Result:
        done, order = Pass(), reading.order
        wanted = self._wanted(reading, done)
        self._hand_over(self._owners.order(order.name, {one.ref for one in wanted}))
        record = record.model_copy(update={"kinds": kinds_of(record, wanted)})
        self._records.put(order.name, record)
        entries = {entry.object.ref(): entry for entry in record.held}
        known = {ref: entry.digest for ref, entry in entries.items()}
        # What the order changes goes first: it waits for nothing else.
        for one in sorted(wanted, key=lambda one: known.get(one.ref) == one.digest):
            if self._owners.may_touch(order.name, one.ref):
                await self._hold_one(one, known, done)
        for holder, refs in self._owners.contested(order.name).items():
            done.refuse(holder, refs)
        if not done.problems:
            await self._prune(record, wanted=done.held.keys(), done=done)
        # What could not be brought up to the order is still there from an earlier one.
        left = {ref: digest for ref, digest in known.items() if self._owners.may_touch(order.name, ref)}
        held = left | done.held if done.problems else done.held
        saved = tuple(entry_of(ref, digest, entries.get(ref)) for ref, digest in held.items())
        self._records.put(order.name, record.model_copy(update={"held": saved}))
        self._stand(order, wanted, done)
        report = self._report(order, with_drifts(self._known_drifts(order.name), done), done)
        self._held[order.name] = HeldSet(reading.raw, {one.ref: one for one in wanted if one.ref in done.held}, report)
        return done.result()

    async def _hold_one(self, one: Wanted, known: Mapping[ObjectRef, str], done: Pass) -> None:
        """Hold one object; a failure is noted and stops nothing else."""
        ref, digest, policy = one.ref, one.digest, one.policy
        drift = None
        try:
            if known.get(ref) == digest:
                drift = await self._objects.drift(policy, digest)
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
            done.drifts.append(record_of(drift, healed=healed, now=self._now()))
            log.warning(
                "a policy was changed by hand",
                object=str(ref),
                paths=drift.changed_paths,
                managers=drift.managers,
                healed=healed,
            )

    async def _prune(self, record: PolicyRecord, *, wanted: Collection[ObjectRef], done: Pass) -> None:
        """Delete what an earlier order of this set applied and this one does not hold."""
        held = {entry.object.ref() for entry in record.held}
        try:
            labelled = await self._objects.labelled(record.name, (Kind(*kind) for kind in record.kinds))
            for ref in sorted((held | labelled) - set(wanted), key=str):
                if self._owners.may_touch(record.name, ref) and await self._objects.prune(ref):
                    log.info("pruned a policy", policyset=record.name, object=str(ref))
        except AtollError as error:
            done.fail("pruning", error)

    async def _observe(self, reading: Reading) -> Result:
        """Report differences only; a difference keeps the time at which it was first seen."""
        done, order = Pass(), reading.order
        known = self._known_drifts(order.name)
        seen = {identity_of(drift): drift for drift in known.newest if not drift.healed}
        wanted = self._wanted(reading, done)
        self._hand_over(self._owners.observe(order.name, {one.ref for one in wanted}))
        for one in wanted:
            ref = one.ref
            try:
                drift = await self._objects.drift(one.policy, one.digest)
                if drift is None:
                    done.held[ref] = ""
                    continue
                found = record_of(drift, healed=False, now=self._now())
                done.drifts.append(seen.get(identity_of(found), found))
            except AtollError as error:
                done.fail(ref, error)
        self._stand(order, wanted, done)
        self._report(order, known.model_copy(update={"newest": tuple(done.drifts)[:NEWEST_DRIFTS]}), done)
        return done.result()

    async def _withdraw(self, record: PolicyRecord) -> Result:
        """Remove all objects of a set whose order has ended."""
        done = Pass()
        self._hand_over(self._owners.end(record.name))
        if not self._observe_only:
            await self._prune(record, wanted=(), done=done)
        if not done.errors:
            self._records.delete(record.name)
            self._drifts.delete(record.name)
            self._standings.pop(report_key(record.name), None)
            self._reader.forget(record.name)
            self._reports.forget(report_key(record.name))
            return DONE
        return done.result()

    def _wanted(self, reading: Reading, done: Pass) -> tuple[Wanted, ...]:
        """Give the ordered objects as they shall stand in the cluster, and watch their kinds."""
        for problem in reading.problems:
            done.fail("the order", problem)
        wanted = reading.wanted
        for kind in {one.ref.kind for one in wanted}:
            self._objects.watch(kind)
        return wanted

    def _stand(self, order: PolicyOrder, wanted: Sequence[Wanted], done: Pass) -> None:
        """Note what can be proven from now on."""
        is_drifted = any(not drift.healed for drift in done.drifts)
        why_not = done.message or ("it differs from what was ordered" if is_drifted else "")
        key = report_key(order.name)
        self._standings[key] = Standing(order.commit, tuple(one.policy for one in wanted), why_not)
        self._standing_handler()

    def _report(self, order: PolicyOrder, drifts: DriftsRecord, done: Pass) -> PolicyReport:
        """Write down what was changed by hand, and report the set."""
        self._drifts.put(order.name, drifts)
        is_drifted = any(not drift.healed for drift in done.drifts)
        report = PolicyReport(
            name=order.name,
            commit=order.commit,
            phase="Failed" if done.problems else "Drifted" if is_drifted else "Applied",
            message=done.message or (_OBSERVES if self._observe_only and is_drifted else ""),
            objects=len(done.held),
            drift_healed=drifts.healed,
            drifts=drifts.newest,
            at=self._now(),
        )
        self._reports.report(report_key(order.name), report)
        return report
