"""The mesh in Cluster.status: links and own facts as the agent told them, dated by what the hub can believe. Pure.

What many clusters' statuses add up to is federation/mesh's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.bus.inventory_messages import NetworkReport
from atoll.federation.bus.mesh_messages import MeshServicesReport
from atoll.federation.bus.messages import MeshReport
from atoll.federation.resources import Condition, MeshFacts, MeshLink
from atoll.hub.conditions import with_condition

# A status is read by many: this much is some 10 kB of it.
MAX_CIDRS = 512
_CONDITION = "MeshReady"


@dataclass(frozen=True)
class MeshEvidence:
    """What one cluster told of the mesh, and the instant that its newest look at the links proves."""

    report: MeshReport | None = None
    seen_at: datetime | None = None
    network: NetworkReport | None = None
    services: MeshServicesReport | None = None


def links_of(evidence: MeshEvidence) -> tuple[MeshLink, ...]:
    """Give the links, none of them dated later than the report itself can be believed to be."""
    if evidence.report is None:
        return ()
    return tuple(_dated(link, evidence.seen_at) for link in evidence.report.links)


def _dated(link: MeshLink, seen_at: datetime | None) -> MeshLink:
    """Hold back a clock that is ahead."""
    proven_at = link.last_proven_at
    believed = min(proven_at, seen_at) if proven_at is not None and seen_at is not None else None
    return link.model_copy(update={"seen_at": seen_at, "last_proven_at": believed})


def facts_of(evidence: MeshEvidence) -> MeshFacts | None:
    """Put together what the agent told of its own cluster in several reports; None if it told nothing."""
    report, network, services = evidence.report, evidence.network, evidence.services
    if report is None and (services is None or not services.services):
        return None
    facts = (report.facts if report is not None else None) or MeshFacts()
    pods, nodes = (network.pod_cidrs, network.node_cidrs) if network is not None else ((), ())
    kept_pods, kept_nodes = pods[:MAX_CIDRS], nodes[:MAX_CIDRS]
    return facts.model_copy(
        update={
            "pod_cidrs": kept_pods,
            "node_cidrs": kept_nodes,
            "omitted_cidrs": len(pods) + len(nodes) - len(kept_pods) - len(kept_nodes),
            "services": services.services if services is not None else (),
            "omitted_services": services.omitted if services is not None else 0,
            "message": report.message if report is not None else "",
            "seen_at": evidence.seen_at,
        }
    )


def with_mesh_condition(
    conditions: tuple[Condition, ...], evidence: MeshEvidence, now: datetime, *, is_lost: bool
) -> tuple[Condition, ...]:
    """Say in a condition whether all links are ready; a cluster without links has none.

    One that is in the mesh and whose Cilium cannot be asked has links that nobody knows: that is Unknown.
    """
    links, facts = links_of(evidence), facts_of(evidence)
    if links:
        claim, reason, message = _claim(links)
    elif facts is not None and facts.id and facts.message:
        claim, reason, message = None, "AgentsNotSeen", facts.message
    else:
        return tuple(condition for condition in conditions if condition.type != _CONDITION)
    if is_lost:
        claim, reason, message = None, "HeartbeatStale", f"when the cluster was last heard: {message}"
    return with_condition(conditions, _CONDITION, claim, reason=reason, message=message, now=now)


def _claim(links: Sequence[MeshLink]) -> tuple[bool, str, str]:
    broken = sorted(link.peer for link in links if not link.is_ready)
    cut = sorted(link.peer for link in links if link.is_ready and link.reaches_no_node)
    aged = sorted(link.peer for link in links if link.is_ready and link.cache_problem)
    parts = [f"no link to {', '.join(broken)}"] * bool(broken)
    parts += [f"no node of {', '.join(cut)} answers"] * bool(cut)
    parts += [f"only an old cache of {', '.join(aged)}"] * bool(aged)
    reason = "LinksDown" if broken or cut else ("CacheOnly" if aged else "AllLinksReady")
    return not parts, reason, "; ".join(parts) or f"{len(links)} of {len(links)} links are ready"
