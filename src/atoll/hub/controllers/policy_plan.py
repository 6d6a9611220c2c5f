"""What a cluster shall hold of a policy set, and what it is said to hold. Pure.

Owns the order's contents and the row of a cluster in PolicySet.status. It never weakens: objects of a file that can no
longer be enforced exactly stay as they were (guarantee G4).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atoll.federation.bus.messages import DriftRecord, PolicyOrder, PolicyReport
from atoll.federation.resources import Cluster, ClusterPolicyStatus, PolicySet
from atoll.federation.resources.policyset import PolicyDrift, PolicyPhase
from atoll.federation.resources.policyset_proof import (
    RUNGS,
    TOP_OF_ENFORCEMENT,
    PolicyProof,
    PolicyRung,
    RungTimes,
)
from atoll.policies.bundle import Bundle
from atoll.policies.compile import Compiled
from atoll.policies.stamp import StampMemory, file_of, stamp, standing_by_key

_REFUSALS_SHOWN = 3


@dataclass(frozen=True)
class ClusterView:
    """One targeted cluster: its order, the rules it cannot enforce, its agent's report, and the row written last."""

    cluster: Cluster
    order: PolicyOrder | None
    refused: tuple[str, ...]
    report: PolicyReport | None
    old: ClusterPolicyStatus | None


def compile_order(
    policyset: PolicySet,
    bundle: Bundle,
    *,
    compiled: Compiled,
    standing: PolicyOrder | None,
    stamps: StampMemory | None = None,
) -> PolicyOrder:
    """Give the order of one cluster: what compiles, and what stands of files that no longer do."""
    name = policyset.metadata.name
    stands = standing.manifests if standing is not None else ()
    stamped = stamp(compiled.manifests, name, bundle.commit, standing=standing_by_key(stands), memory=stamps)
    broken = {item.origin.path for item in compiled.unenforceable}
    kept = [manifest for manifest in stands if file_of(manifest) in broken]
    return PolicyOrder(
        name=name,
        commit=bundle.commit,
        manifests=(*(dict(manifest.body) for manifest in stamped), *kept),
        observe_only=policyset.spec.mode == "ObserveOnly",
    )


def plan_cluster(view: ClusterView) -> ClusterPolicyStatus:
    """Give a cluster's row: Applied only of the commit that was ordered, and only while the cluster is heard."""
    old = view.old or ClusterPolicyStatus(cluster=view.cluster.metadata.name)
    report = view.report
    phase, message = _phase(view)
    if report is None:
        return old.model_copy(update={"phase": phase, "message": message})
    newest = max(report.drifts, key=lambda drift: drift.at, default=None)
    return old.model_copy(
        update={
            "phase": phase,
            "message": message,
            "commit": report.commit,
            "objects": report.objects,
            "drift_healed": report.drift_healed,
            "last_drift": _drift(newest) if newest is not None else old.last_drift,
            "last_drift_at": newest.at if newest is not None else old.last_drift_at,
            "drifts": tuple(map(_shown, report.drifts)),
            "last_proven_at": report.at,
            "proof": _proof(old, report),
            "traffic": report.traffic,
            "widened_by": report.widened_by,
        }
    )


def _proof(old: ClusterPolicyStatus, report: PolicyReport) -> PolicyProof | None:
    """Give what is proven now; a rung that an agent has not proven again since it began keeps its time."""
    if report.proof is None or old.proof is None or old.commit != report.commit:
        return report.proof
    known = old.proof.proven_at.model_dump(exclude_none=True)
    again = report.proof.proven_at.model_dump(exclude_none=True)
    return report.proof.model_copy(update={"proven_at": RungTimes.model_validate(known | again)})


def widened(rows: Sequence[ClusterPolicyStatus]) -> str:
    """Tell, of each cluster, which policies beside the set's may allow what it closes; empty if none does."""
    return "; ".join(f"{row.cluster}: Widened by {', '.join(row.widened_by)}" for row in rows if row.widened_by)


def is_uniform(rows: Sequence[ClusterPolicyStatus], commit: str) -> bool:
    """Tell whether every cluster has proven the same rung of the newest commit.

    What Hubble has shown does not count: it differs with what people do, not with what is enforced.
    """
    rungs = {_enforced(row.proof) for row in rows}
    is_held = all(row.phase == "Applied" and row.commit == commit for row in rows)
    return is_held and len(rungs) == 1 and None not in rungs


def _enforced(proof: PolicyProof | None) -> PolicyRung | None:
    if proof is None or proof.rung is None:
        return None
    return min(proof.rung, TOP_OF_ENFORCEMENT, key=RUNGS.index)


def _phase(view: ClusterView) -> tuple[PolicyPhase, str]:
    status, report, order = view.cluster.status, view.report, view.order
    if status.is_silent:
        why = status.message if status.phase == "Asleep" else "the cluster cannot be heard"
        return "Unreachable", f"{why}; what it held last stays in force there"
    if report is not None and report.phase == "Failed":
        return "Failed", report.message
    if view.refused:
        more = f" and {len(view.refused) - _REFUSALS_SHOWN} more" if len(view.refused) > _REFUSALS_SHOWN else ""
        return "Unenforceable", "; ".join(view.refused[:_REFUSALS_SHOWN]) + more
    if order is None:
        reason = "the cluster's inventory is not known yet" if status.inventory is None else "no commit is ordered yet"
        return "Pending", reason
    if report is None or report.commit != order.commit:
        return "Pending", f"commit {order.commit[:12]} is ordered and not yet reported"
    return report.phase, report.message


def _shown(drift: DriftRecord) -> PolicyDrift:
    return PolicyDrift(
        object=_object(drift), paths=drift.paths, managers=drift.managers, at=drift.at, healed=drift.healed
    )


def _object(drift: DriftRecord) -> str:
    name = f"{drift.namespace}/{drift.name}" if drift.namespace else drift.name
    return f"{drift.kind} {name}"


def _drift(drift: DriftRecord) -> str:
    who = f" by {', '.join(drift.managers)}" if drift.managers else ""
    return f"{_object(drift)}: {', '.join(drift.paths) or 'deleted'}{who}"


def healed(old: Sequence[ClusterPolicyStatus], new: Sequence[ClusterPolicyStatus]) -> Iterator[str]:
    """Tell of each cluster in which drift was put back since the rows were written last."""
    before = {row.cluster: row.drift_healed for row in old}
    for row in new:
        count = row.drift_healed - before.get(row.cluster, 0)
        if count > 0:
            yield f"{row.cluster}: put back {row.last_drift or f'{count} changes'}"
