"""PolicySets: a Git folder becomes an order per cluster, and what agents hold becomes PolicySet.status.

Owns PolicyOrder and PolicySet.status. What was read last stays in force, and an unreachable repository is a condition.
Git is read by policy_source.py; the decisions are in policy_plan.py and policy_rollout.py.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from atoll.federation.bus.messages import PolicyOrder, PolicyReport
from atoll.federation.resources import Cluster, ClusterPolicyStatus, PolicySet, PolicySetStatus
from atoll.federation.resources.policyset_rollout import APPROVED_ANNOTATION, RolloutSpec, RolloutStatus
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.policy_plan import ClusterView, compile_order, healed, is_uniform, plan_cluster, widened
from atoll.hub.controllers.policy_rollout import Place, Step, next_step
from atoll.hub.controllers.policy_source import PolicyReader, Reading
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source, own_key
from atoll.hub.members import Path
from atoll.policies.bundle import Bundle
from atoll.policies.compile import Compiled, Target, compile_for
from atoll.policies.targets import target_of


class PolicySetController:
    """Keeps PolicyOrder and PolicySet.status."""

    name = "policysets"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reader = PolicyReader(context)
        self._compiled: dict[tuple[str, str], tuple[str, Target, Compiled]] = {}

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
            self._compiled = {key: value for key, value in self._compiled.items() if key[0] != name}
            await self._withdraw(name, keep=frozenset())
            return DONE
        reading = await self._reader.read(policyset)
        clusters = await context.client.list(Cluster)
        staying = [cluster for cluster in clusters if cluster.metadata.deletion_timestamp is None]
        chosen = [cluster for cluster in staying if policyset.spec.targets.clusters.matches(cluster.metadata.labels)]
        await self._withdraw(name, keep=frozenset(cluster.metadata.name for cluster in chosen))
        step = await self._step(policyset, reading, chosen, clusters)
        commits = step.commits if step is not None else {}
        views = [await self._order(policyset, one, clusters, commits.get(one.metadata.name, "")) for one in chosen]
        self._reader.keep(name, frozenset(view.order.commit for view in views if view.order is not None))
        await self._write_status(policyset, reading, views, step.status if step is not None else None)
        due = self._reader.due_seconds(policyset, reading)
        return RequeueAfter(min(due, step.due_seconds) if step is not None and step.due_seconds is not None else due)

    async def _withdraw(self, name: str, *, keep: frozenset[str]) -> None:
        """Take the set back from clusters that are not meant: their agents prune what it had put there."""
        for path in list(self._context.desired.everywhere("cluster", f"policyset/{name}")):
            if path.member not in keep:
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
        approved = policyset.metadata.annotations.get(APPROVED_ANNOTATION, "")
        commit, now = reading.bundle.commit, self._context.clock()
        return next_step(spec, policyset.status.rollout, commit, places, approved=approved, now=now)

    async def _order(
        self, policyset: PolicySet, cluster: Cluster, clusters: Sequence[Cluster], commit: str
    ) -> ClusterView:
        """Order what a cluster shall hold; with no commit, bundle or inventory, what stands there stays."""
        view = await self._view(policyset, cluster, clusters, commit)
        if view.order is not None:
            path = Path("cluster", cluster.metadata.name, f"policyset/{policyset.metadata.name}")
            await self._context.desired.put(path, view.order)
        return view

    async def _view(
        self, policyset: PolicySet, cluster: Cluster, clusters: Sequence[Cluster], commit: str
    ) -> ClusterView:
        """Give a cluster with the order that it should have: of a commit, or of the one that it was given before."""
        context, name, member = self._context, policyset.metadata.name, cluster.metadata.name
        path = Path("cluster", member, f"policyset/{name}")
        order = context.desired.read(PolicyOrder, path)
        refused: tuple[str, ...] = ()
        bundle = await self._reader.bundle(policyset, commit or (order.commit if order is not None else ""))
        if bundle is not None and cluster.status.inventory is not None:
            compiled = self._compile(name, bundle, target_of(cluster, clusters))
            order = compile_order(policyset, bundle, compiled=compiled, standing=order)
            refused = tuple(str(item) for item in compiled.unenforceable)
        old = next((row for row in policyset.status.clusters if row.cluster == member), None)
        return ClusterView(cluster, order, refused, context.observed.read(PolicyReport, path), old)

    def _compile(self, name: str, bundle: Bundle, target: Target) -> Compiled:
        """Compile once per commit and target: clusters report often, and change seldom."""
        known = self._compiled.get((name, target.cluster))
        if known is not None and known[:2] == (bundle.commit, target):
            return known[2]
        compiled = compile_for(bundle.manifests, target)
        self._compiled[name, target.cluster] = (bundle.commit, target, compiled)
        return compiled

    # --- reporting

    async def _write_status(
        self,
        policyset: PolicySet,
        reading: Reading,
        views: Sequence[ClusterView],
        rollout: RolloutStatus | None,
    ) -> None:
        context, old, bundle = self._context, policyset.status, reading.bundle
        rows = tuple(plan_cluster(view) for view in sorted(views, key=lambda view: view.cluster.metadata.name))
        is_held = bool(rows) and all(row.phase == "Applied" for row in rows)
        conditions = with_condition(
            old.conditions,
            "SourceReady",
            reading.is_fresh,
            reason=reading.reason,
            message=reading.message,
            now=context.clock(),
        )
        conditions = with_condition(
            conditions,
            "Ready",
            is_held and reading.is_fresh,
            reason=_readiness(is_held, reading),
            message=_why_not_ready(rows, reading),
            now=context.clock(),
        )
        conditions = with_condition(
            conditions,
            "Widened",
            bool(widened(rows)),
            reason="PoliciesBeside" if widened(rows) else "NothingFound",
            message=widened(rows),
            now=context.clock(),
        )
        status = old.model_copy(
            update={
                "commit": bundle.commit if bundle is not None else old.commit,
                "committed_at": bundle.committed_at if bundle is not None else old.committed_at,
                "manifests": len(bundle.manifests) if bundle is not None else old.manifests,
                "clusters": rows,
                "uniform": bundle is not None and is_uniform(rows, bundle.commit),
                "rollout": rollout or old.rollout,
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


def _readiness(is_held: bool, reading: Reading) -> str:
    if not reading.is_fresh:
        return reading.reason
    return "Held" if is_held else "NotHeldEverywhere"


def _why_not_ready(rows: Sequence[ClusterPolicyStatus], reading: Reading) -> str:
    """Say what keeps a set from being Ready: its source first, then every cluster that does not hold it."""
    stays = f"; commit {reading.bundle.commit[:12]} stays in force" if reading.bundle is not None else ""
    source = "" if reading.is_fresh else f"{reading.message}{stays}"
    waiting = ", ".join(f"{row.cluster}: {row.phase}" for row in rows if row.phase != "Applied")
    nowhere = "" if rows else "spec.targets matches no cluster"
    return "; ".join(filter(None, (source, waiting, nowhere)))


async def _set_of(path: Path) -> Iterable[Key]:
    is_ours = path.kind == "cluster" and path.topic == "policyset" and len(path.names) == 1
    return [("", path.names[0])] if is_ours else []
