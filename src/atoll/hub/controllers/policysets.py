"""PolicySets: a Git folder becomes an order per cluster, and what agents hold becomes PolicySet.status.

Owns PolicyOrder and PolicySet.status. Reading Git is slow and may fail: what was read last stays in force, and an
unreachable repository is a condition. The decisions are in policy_plan.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from atoll.federation.bus.messages import PolicyOrder, PolicyReport
from atoll.federation.capacity import parse_duration
from atoll.federation.errors import AtollError
from atoll.federation.resources import Cluster, ClusterPolicyStatus, PolicySet, PolicySetStatus
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.policy_plan import ClusterView, compile_order, healed, plan_cluster
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source, own_key
from atoll.hub.members import Path
from atoll.policies.bundle import Bundle, GitSource, SignatureRefused, load_bundle
from atoll.policies.compile import Compiled, Target, compile_for
from atoll.policies.git import NOBODY, Signers
from atoll.policies.targets import target_of

log = structlog.get_logger(__name__)

# Below this, a busy repository is fetched all the time; the interval of a set may not be shorter.
_SHORTEST_POLL_SECONDS = 1.0
_PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class Reading:
    """The newest good bundle of a set, and how the newest attempt to read went."""

    source: GitSource
    bundle: Bundle | None
    read_at: datetime
    reason: str = "Read"
    message: str = ""

    @property
    def is_fresh(self) -> bool:
        """Whether the newest attempt gave the bundle."""
        return self.reason == "Read"


class PolicySetController:
    """Keeps PolicyOrder and PolicySet.status."""

    name = "policysets"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._readings: dict[str, Reading] = {}
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
            self._readings.pop(name, None)
            self._compiled = {key: value for key, value in self._compiled.items() if key[0] != name}
            await self._withdraw(name, keep=frozenset())
            return DONE
        reading = await self._read(policyset)
        clusters = await context.client.list(Cluster)
        staying = [cluster for cluster in clusters if cluster.metadata.deletion_timestamp is None]
        chosen = [cluster for cluster in staying if policyset.spec.targets.clusters.matches(cluster.metadata.labels)]
        await self._withdraw(name, keep=frozenset(cluster.metadata.name for cluster in chosen))
        views = [await self._order(policyset, cluster, clusters, reading.bundle) for cluster in chosen]
        await self._write_status(policyset, reading, views)
        return RequeueAfter(self._due_seconds(policyset, reading))

    async def _withdraw(self, name: str, *, keep: frozenset[str]) -> None:
        """Take the set back from clusters that are not meant: their agents prune what it had put there."""
        for path in list(self._context.desired.everywhere("cluster", f"policyset/{name}")):
            if path.member not in keep:
                await self._context.desired.remove(path)

    # --- reading

    def _due_seconds(self, policyset: PolicySet, reading: Reading) -> float:
        interval = timedelta(seconds=max(_SHORTEST_POLL_SECONDS, parse_duration(policyset.spec.source.interval)))
        return max(0.05, (reading.read_at + interval - self._context.clock()).total_seconds())

    async def _read(self, policyset: PolicySet) -> Reading:
        """Give the last reading while it is young enough, else read again."""
        spec, name = policyset.spec.source, policyset.metadata.name
        signers = Signers(spec.signed_by.ssh_keys, spec.signed_by.gpg_keys) if spec.signed_by is not None else NOBODY
        source = GitSource(spec.repository, spec.revision, spec.path, signers)
        known = self._readings.get(name)
        is_young = known is not None and self._due_seconds(policyset, known) > 0.05
        if known is not None and known.source == source and is_young:
            return known
        last = known.bundle if known is not None and known.source.repository == source.repository else None
        reading = await self._read_again(source, last or await self._remembered(source, policyset))
        self._readings[name] = reading
        return reading

    async def _read_again(self, source: GitSource, last: Bundle | None) -> Reading:
        now = self._context.clock()
        try:
            bundle = await load_bundle(source, self._context.policies_dir)
        except SignatureRefused as error:
            return Reading(source, last, now, error.reason, str(error))
        except AtollError as error:
            log.info("a policy repository could not be read", repository=source.repository, reason=error.reason)
            return Reading(source, last, now, "SourceUnreadable", str(error))
        if not bundle.is_valid:
            shown = "; ".join(str(problem) for problem in bundle.problems[:_PROBLEMS_SHOWN])
            message = f"commit {bundle.commit[:12]} has {len(bundle.problems)} problems and is not rolled out: {shown}"
            return Reading(source, last, now, "InvalidPolicies", message)
        return Reading(source, bundle, now)

    async def _remembered(self, source: GitSource, policyset: PolicySet) -> Bundle | None:
        """After a restart, find the commit that is in force in the mirror on disk; that needs no network."""
        if not policyset.status.commit:
            return None
        try:
            # It was accepted by the signers of its day.
            accepted = replace(source, revision=policyset.status.commit, signers=NOBODY)
            return await load_bundle(accepted, self._context.policies_dir)
        except AtollError:
            return None

    # --- ordering

    async def _order(
        self, policyset: PolicySet, cluster: Cluster, clusters: Sequence[Cluster], bundle: Bundle | None
    ) -> ClusterView:
        """Order what a cluster shall hold; without a bundle or an inventory, what stands there stays."""
        context, name, member = self._context, policyset.metadata.name, cluster.metadata.name
        path = Path("cluster", member, f"policyset/{name}")
        standing = context.desired.read(PolicyOrder, path)
        refused: tuple[str, ...] = ()
        if bundle is not None and cluster.status.inventory is not None:
            compiled = self._compile(name, bundle, target_of(cluster, clusters))
            order = compile_order(policyset, bundle, compiled=compiled, standing=standing)
            await context.desired.put(path, order)
            standing, refused = order, tuple(str(item) for item in compiled.unenforceable)
        old = next((row for row in policyset.status.clusters if row.cluster == member), None)
        return ClusterView(cluster, standing, refused, context.observed.read(PolicyReport, path), old)

    def _compile(self, name: str, bundle: Bundle, target: Target) -> Compiled:
        """Compile once per commit and target: clusters report often, and change seldom."""
        known = self._compiled.get((name, target.cluster))
        if known is not None and known[:2] == (bundle.commit, target):
            return known[2]
        compiled = compile_for(bundle.manifests, target)
        self._compiled[name, target.cluster] = (bundle.commit, target, compiled)
        return compiled

    # --- reporting

    async def _write_status(self, policyset: PolicySet, reading: Reading, views: Sequence[ClusterView]) -> None:
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
        status = old.model_copy(
            update={
                "commit": bundle.commit if bundle is not None else old.commit,
                "committed_at": bundle.committed_at if bundle is not None else old.committed_at,
                "manifests": len(bundle.manifests) if bundle is not None else old.manifests,
                "clusters": rows,
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
        for message in healed(old.clusters, status.clusters):
            await events.record(policyset, "DriftHealed", message, is_warning=True)
        was = next((condition for condition in old.conditions if condition.type == "SourceReady"), None)
        if not reading.is_fresh and (was is None or was.message != reading.message):
            await events.record(policyset, reading.reason, reading.message, is_warning=True)


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
