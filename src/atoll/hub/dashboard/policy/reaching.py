"""The page of who may talk to whom: what it reads of a cluster's orders, and how it is drawn.

Owns the choice of the cluster. What is drawn is what the cluster was ordered to hold of all sets that the user may see.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.federation.resources import Cluster
from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.hub.dashboard.actions import path_of
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.fleet.clusters import CLUSTERS
from atoll.hub.dashboard.policy.figure import NARROW, WIDE, Figure, draw_reach
from atoll.hub.dashboard.policy.reach import Held, Link, Reachability, groups_in, reach_in
from atoll.hub.dashboard.policy.shelves import SETS
from atoll.hub.dashboard.sources import Sources
from atoll.policies.manifest import Manifest, Origin
from atoll.policies.stamp import ORIGIN_ANNOTATION
from atoll.policies.targets import target_of

# Clusters whose own policies are judged, too, because the first one's name their pods.
_MOST_OTHERS = 3


@dataclass(frozen=True)
class ReachScope:
    """What was judged; `reach` is None where no policy is ordered."""

    clusters: tuple[str, ...]
    cluster: str
    sets: tuple[str, ...]
    reach: Reachability | None


@dataclass(frozen=True)
class LinkLine:
    """One connection as a line of the table."""

    source: str
    destination: str
    link: Link


@dataclass(frozen=True)
class ReachPage:
    """The page; `figures` are the same drawing for a wide and a narrow screen."""

    clusters: tuple[str, ...]
    cluster: str
    sets: tuple[str, ...]
    focus: str
    text: str
    reach: Reachability | None
    figures: tuple[Figure, ...]
    lines: Sequence[LinkLine]


async def fetch_reach(sources: Sources, ask: Ask) -> ReachScope:
    """Read the orders of the cluster that is asked for, else of the first, and judge them in a thread."""
    sees = ask.rights.sees("policysets") and ask.rights.sees("clusters")
    sets = tuple(sorted(await sources.rows(SETS))) if sees else ()
    meshed = {row.mesh_name: row.name for row in (await sources.rows(CLUSTERS)).values()} if sees else {}
    names = tuple(sorted(meshed.values()))
    ordered = [name for name in names if any(sources.policy_order(name, each) is not None for each in sets)]
    wanted = ask.text("cluster")
    cluster = wanted if wanted in names else next(iter(ordered or names), "")
    ordering = tuple(each for each in sets if sources.policy_order(cluster, each) is not None)
    held = await _held(sources, cluster, ordering) if ordering else None
    if held is None:
        return ReachScope(names, cluster, ordering, None)
    far = sorted({group.cluster for group in groups_in(held).groups} - {"", held.target.cluster})
    others = [await _held(sources, meshed[name], sets) for name in far[:_MOST_OTHERS] if name in meshed]
    running = await _running(sources, ask, cluster)
    known = [other for other in others if other is not None]
    reach = await asyncio.to_thread(reach_in, held, known, running=running, text=ask.text("q"))
    return ReachScope(names, cluster, ordering, reach)


def view_reach(scope: ReachScope, ask: Ask) -> ReachPage:
    """Draw it; with a focus the table has only what begins or ends there."""
    reach, focus = scope.reach, ask.text("focus")
    names = [party.group.name for party in reach.parties] if reach is not None else []
    focus = focus if focus in names else ""
    lines = [
        LinkLine(names[link.source], names[link.destination], link)
        for link in (reach.links if reach is not None else ())
        if not focus or focus in (names[link.source], names[link.destination])
    ]
    widths = (WIDE, NARROW)
    figures = tuple(draw_reach(reach, width=width, focus=focus) for width in widths) if reach is not None else ()
    return ReachPage(scope.clusters, scope.cluster, scope.sets, focus, ask.text("q"), reach, figures, lines)


async def _held(sources: Sources, name: str, sets: Sequence[str]) -> Held | None:
    cluster = await sources.get(Cluster, None, name)
    if cluster is None:
        return None
    orders = [order for each in sets if (order := sources.policy_order(name, each)) is not None]
    manifests = tuple(manifest_of(body) for order in orders for body in order.manifests)
    return Held(target_of(cluster, [cluster]), manifests)


async def _running(sources: Sources, ask: Ask, cluster: str) -> ClusterWorkloads | None:
    """Ask what runs in a cluster, as the user: it tells of all namespaces. None if nobody says."""
    path = f"{path_of('clusters', '', cluster)}/workloads"
    answer = await sources.ask(ask.credential, path)
    found = ClusterWorkloads.model_validate(answer.json) if answer.is_good else None
    return found if found is not None and found.sets else None


def manifest_of(body: Mapping[str, Any]) -> Manifest:
    """Read an ordered object; its stamp says which file of the set it comes from."""
    metadata = body["metadata"]
    path, _, line = metadata.get("annotations", {}).get(ORIGIN_ANNOTATION, "").rpartition(":")
    origin = Origin(path, int(line) if line.isdigit() else 1)
    return Manifest(body["kind"], metadata.get("namespace"), metadata["name"], body, origin)
