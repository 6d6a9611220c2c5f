"""PolicySets: a Git folder becomes an order per cluster, and what agents hold becomes PolicySet.status.

Owns PolicyOrder and PolicySet.status. What was read last stays in force, and an unreachable repository is a condition.
Git is read by policy_source.py; the decisions are in policy_plan.py and policy_rollout.py.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.bus.messages import PolicyOrder, PolicyOrderHead, PolicyReport
from atoll.federation.resources import Cluster, PolicySet, PolicySetStatus
from atoll.federation.resources.policyset_plan import PolicyPlan
from atoll.federation.resources.policyset_rollout import APPROVED_ANNOTATION, RolloutSpec, RolloutStatus
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.policy_conditions import conditions_of
from atoll.hub.controllers.policy_orders import OrderBook
from atoll.hub.controllers.policy_plan import ClusterView, healed, is_uniform, plan_cluster
from atoll.hub.controllers.policy_preview import LOOK_SECONDS, PolicyPreview, Sight
from atoll.hub.controllers.policy_rollout import Candidate, Place, Step, next_step
from atoll.hub.controllers.policy_source import PolicyReader, Reading
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source, own_key
from atoll.hub.members import Path
from atoll.hub.workloads import Workloads
from atoll.policies.bundle import Bundle
from atoll.policies.targets import features_of_any, target_of


@dataclass(frozen=True)
class PolicyMemory:
    """What was read and compiled, which stays true whoever leads: a hub that loses its turn need not begin again."""

    reader: PolicyReader
    book: OrderBook

    @classmethod
    def of(cls, context: Context) -> "PolicyMemory":
        """Begin with nothing."""
        return cls(PolicyReader(context), OrderBook())


class PolicySetController:
    """Keeps PolicyOrder and PolicySet.status."""

    name = "policysets"

    def __init__(self, context: Context, memory: PolicyMemory | None = None) -> None:
        """Lead from now on; `memory` is of earlier turns of this hub."""
        self._context = context
        memory = memory or PolicyMemory.of(context)
        self._reader, self._book = memory.reader, memory.book
        self._book.begin()
        self._written: dict[Path, tuple[PolicyOrder, int]] = {}
        self._preview, self._workloads = PolicyPreview(context.clock, self._book.compile), Workloads(context.observed)

    def sources(self) -> Sequence[Source]:
        """Watch policy sets, clusters, and what agents hold."""
        context = self._context
        return (
            Objects(context.client, PolicySet, own_key),
            Objects(context.client, Cluster, self._all_sets),
            Messages(context.observed, _set_of),
            Messages(context.desired, _set_of),
        )

    async def _all_sets(self, _cluster: Cluster) -> Iterable[Key]:
        return [("", item.metadata.name) for item in await self._context.client.list(PolicySet)]

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one set's orders and status up to date."""
        context, name = self._context, key[1]
        policyset = await context.client.get(PolicySet, None, name)
        if policyset is None:
            self._reader.forget(name)
            self._preview.forget(name)
            self._book.forget(name)
            await self._withdraw(name, keep=frozenset())
            return DONE
        clusters = await context.client.list(Cluster)
        reading = await self._reader.read(policyset, features_of_any(clusters))
        staying = [cluster for cluster in clusters if cluster.metadata.deletion_timestamp is None]
        chosen = [cluster for cluster in staying if policyset.spec.targets.clusters.matches(cluster.metadata.labels)]
        await self._withdraw(name, keep=frozenset(cluster.metadata.name for cluster in chosen))
        step = await self._step(policyset, reading, chosen, clusters)
        commits = step.commits if step is not None else {}
        views = [await self._order(policyset, one, clusters, commits.get(one.metadata.name, "")) for one in chosen]
        in_force = {view.order.commit for view in views if view.order is not None}
        self._reader.keep(name, frozenset(in_force | ({step.status.good} if step is not None else set())))
        plan = await self._plan(policyset, reading, chosen, clusters)
        await self._write_status(policyset, reading, views, step.status if step is not None else None, plan)
        due = self._reader.due_seconds(policyset, reading)
        due = min(due, step.due_seconds) if step is not None and step.due_seconds is not None else due
        return RequeueAfter(min(due, LOOK_SECONDS) if self._preview.is_making(name) else due)

    async def _withdraw(self, name: str, *, keep: frozenset[str]) -> None:
        """Take the set back from clusters that are not meant: their agents prune what it had put there."""
        for path in list(self._context.desired.everywhere("cluster", f"policyset/{name}")):
            if path.member not in keep:
                self._written.pop(path, None)
                await self._context.desired.remove(path)

    # --- ordering

    async def _step(
        self, policyset: PolicySet, reading: Reading, chosen: Sequence[Cluster], clusters: Sequence[Cluster]
    ) -> Step | None:
        """Decide how far the newest commit goes now; None before anything was read."""
        if reading.bundle is None:
            return None
        # What somebody has pinned is in force everywhere at once: a rollback must not wait for waves.
        spec = policyset.spec.rollout if policyset.spec.pinned_commit is None else RolloutSpec()
        places = []
        for cluster in chosen:
            row = plan_cluster(await self._view(policyset, cluster, clusters, ""))
            places.append(Place(cluster.metadata.name, cluster.metadata.labels, _heard_since(cluster), row))
        looks_at_tests = bool(spec.waves) and spec.halt_when.policy_tests and reading.bundle.scenarios
        candidate = Candidate(
            reading.bundle.commit,
            approved=policyset.metadata.annotations.get(APPROVED_ANNOTATION, ""),
            failures=await self._failures(policyset, reading.bundle, chosen, clusters) if looks_at_tests else (),
        )
        return next_step(spec, policyset.status.rollout, candidate, places, now=self._context.clock())

    async def _failures(
        self, policyset: PolicySet, bundle: Bundle, chosen: Sequence[Cluster], clusters: Sequence[Cluster]
    ) -> tuple[str, ...]:
        """Run the policy tests of a commit that is under way on what runs; give what fails that does not fail now."""
        rollout = policyset.status.rollout or RolloutStatus()
        if bundle.commit in (rollout.good, rollout.refused):
            return ()
        good = await self._reader.bundle(policyset, rollout.good)
        sight = self._sight(chosen, clusters)
        return tuple(map(str, await self._preview.failures(policyset.metadata.name, bundle, good, sight)))

    def _sight(self, chosen: Sequence[Cluster], clusters: Sequence[Cluster]) -> Sight:
        """Give clusters as the compiler sees them, and what runs there, as far as their agents have told it."""
        targets, running = {}, {}
        for cluster in chosen:
            if cluster.status.inventory is not None:
                target = target_of(cluster, clusters)
                targets[target.cluster] = target
                if (found := self._workloads.of(cluster.metadata.name)) is not None:
                    running[target.cluster] = found
        return Sight(targets, running)

    async def _plan(
        self, policyset: PolicySet, reading: Reading, chosen: Sequence[Cluster], clusters: Sequence[Cluster]
    ) -> PolicyPlan | None:
        """Give what the newest commit does to what runs, compared with what was complete before it."""
        bundle, known = reading.bundle, policyset.status.plan
        if bundle is None or not chosen or (known is not None and known.commit == bundle.commit):
            return known
        name, rollout = policyset.metadata.name, policyset.status.rollout or RolloutStatus()
        if not self._preview.is_making(name, bundle.commit):
            before = rollout.good if rollout.good != bundle.commit else rollout.previous
            old = await self._reader.bundle(policyset, before)
            self._preview.begin(name, bundle, old, self._sight(chosen, clusters))
        return self._preview.made(name) or known

    async def _order(
        self, policyset: PolicySet, cluster: Cluster, clusters: Sequence[Cluster], commit: str
    ) -> ClusterView:
        """Order what a cluster shall hold; with no commit, bundle or inventory, what stands there stays."""
        view = await self._view(policyset, cluster, clusters, commit)
        if view.order is not None:
            path = Path("cluster", cluster.metadata.name, f"policyset/{policyset.metadata.name}")
            await self._put(path, view.order)
        return view

    async def _put(self, path: Path, order: PolicyOrder) -> None:
        """Write an order, unless it is the very one that was written here and stands."""
        if self._written_here(path) is not order:
            await self._context.desired.put(path, order)
            held = self._context.desired.held(path)
            self._written[path] = order, held.revision if held is not None else 0

    async def _view(
        self, policyset: PolicySet, cluster: Cluster, clusters: Sequence[Cluster], commit: str
    ) -> ClusterView:
        """Give a cluster with the order that it should have: of a commit, or of the one that it was given before."""
        context, name, member = self._context, policyset.metadata.name, cluster.metadata.name
        path = Path("cluster", member, f"policyset/{name}")
        standing_commit = self._commit_of(path)
        order: PolicyOrder | None = None
        refused: tuple[str, ...] = ()
        bundle = await self._reader.bundle(policyset, commit or standing_commit)
        if bundle is not None and cluster.status.inventory is not None:
            target = target_of(cluster, clusters)
            # In a thread: thousands of policies take seconds, in which this hub would lose its leadership.
            order = await asyncio.to_thread(self._book.order, policyset, bundle, target, lambda: self._standing(path))
            compiled = await asyncio.to_thread(self._book.compile, name, bundle, target)
            refused = tuple(map(str, compiled.unenforceable))
        elif standing_commit:
            order = self._standing(path)
        old = next((row for row in policyset.status.clusters if row.cluster == member), None)
        return ClusterView(cluster, order, refused, context.observed.read(PolicyReport, path), old)

    def _commit_of(self, path: Path) -> str:
        """Give the commit of the order that stands; empty if none does."""
        if (written := self._written_here(path)) is not None:
            return written.commit
        head = self._context.desired.read(PolicyOrderHead, path)
        return head.commit if head is not None else ""

    def _standing(self, path: Path) -> PolicyOrder | None:
        """Give the order that stands: the one that was written here, or else megabytes are read."""
        held = self._context.desired.held(path)
        return self._written_here(path) or (PolicyOrder.decode(held.value) if held is not None else None)

    def _written_here(self, path: Path) -> PolicyOrder | None:
        """Give the order that stands if this hub wrote it."""
        held = self._context.desired.held(path)
        order, revision = self._written.get(path, (None, 0))
        return order if held is not None and revision == held.revision else None

    # --- reporting

    async def _write_status(
        self,
        policyset: PolicySet,
        reading: Reading,
        views: Sequence[ClusterView],
        rollout: RolloutStatus | None,
        plan: PolicyPlan | None,
    ) -> None:
        context, old, bundle = self._context, policyset.status, reading.bundle
        rows = tuple(plan_cluster(view) for view in sorted(views, key=lambda view: view.cluster.metadata.name))
        rollout, now = rollout or old.rollout, context.clock()
        conditions = conditions_of(old.conditions, rows, reading=reading, rollout=rollout, now=now)
        status = old.model_copy(
            update={
                "commit": bundle.commit if bundle is not None else old.commit,
                "committed_at": bundle.committed_at if bundle is not None else old.committed_at,
                "manifests": len(bundle.manifests) if bundle is not None else old.manifests,
                "clusters": rows,
                "uniform": bundle is not None and is_uniform(rows, bundle.commit),
                "rollout": rollout,
                "plan": plan,
                "conditions": conditions,
                "observed_generation": policyset.metadata.generation,
            }
        )
        await context.client.update_status(policyset.model_copy(update={"status": status}))
        await self._tell(policyset, status, reading)

    async def _tell(self, policyset: PolicySet, status: PolicySetStatus, reading: Reading) -> None:
        """Record a new commit, drift that was put back, and a repository that has become unreadable."""
        events, old = self._context.events, policyset.status
        if status.commit != old.commit:
            await events.record(policyset, "CommitRead", f"commit {status.commit[:12]}: {status.manifests} manifests")
        if (news := _rollout_news(old.rollout, status.rollout)) is not None:
            is_warning = news.phase != "AwaitingApproval"
            await events.record(policyset, f"Rollout{news.phase}", news.message, is_warning=is_warning)
        for message in healed(old.clusters, status.clusters):
            await events.record(policyset, "DriftHealed", message, is_warning=True)
        was = next((condition for condition in old.conditions if condition.type == "SourceReady"), None)
        if not reading.is_fresh and (was is None or was.message != reading.message):
            await events.record(policyset, reading.reason, reading.message, is_warning=True)


def _rollout_news(old: RolloutStatus | None, new: RolloutStatus | None) -> RolloutStatus | None:
    """Give what somebody must hear of: a commit that waits for a person, has halted or was taken back."""
    if new is None or new.phase not in ("Halted", "RolledBack", "AwaitingApproval"):
        return None
    return new if old is None or (old.phase, old.message) != (new.phase, new.message) else None


def _heard_since(cluster: Cluster) -> datetime | None:
    """Tell since when a cluster is heard; None while it is not, or sleeps."""
    if cluster.status.is_silent:
        return None
    ready = next((one for one in cluster.status.conditions if one.type == "Ready" and one.status == "True"), None)
    return ready.last_transition_time if ready is not None else None


async def _set_of(path: Path) -> Iterable[Key]:
    is_ours = path.kind == "cluster" and path.topic == "policyset" and len(path.names) == 1
    return [("", path.names[0])] if is_ours else []
