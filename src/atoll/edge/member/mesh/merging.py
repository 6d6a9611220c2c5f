"""Puts what several nodes' agents see into one view of each peer. Pure.

A link is ready when every agent that was asked says so: pods on the other nodes would not notice the difference.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.edge.member.mesh.health import Probe, reach_of
from atoll.edge.member.mesh.reading import AgentStatus, RemoteView
from atoll.federation.resources.mesh import MeshLink

_UNLISTED = "no agent lists this peer: the Secret cilium-clustermesh names it, the agents have not read it yet"
_OFF = "Cluster Mesh is not enabled in this cluster's Cilium"


@dataclass(frozen=True)
class Look:
    """What was seen at one moment: the agents' statuses by node, the probes, and KVStoreMesh's own view.

    `cache` is None where KVStoreMesh could not be asked. `problems` tell who could not be asked, and why.
    """

    statuses: Mapping[str, AgentStatus]
    probes: tuple[Probe, ...] = ()
    cache: tuple[RemoteView, ...] | None = None
    problems: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The version of one of the agents."""
        return next((status.version for status in self.statuses.values() if status.version), "")

    @property
    def message(self) -> str:
        """Say why there are no links; empty if there may be."""
        if not self.statuses:
            return "; ".join(self.problems) or "no Cilium agent could be asked"
        return _OFF if all(status.views is None for status in self.statuses.values()) else ""


def links_of(look: Look, expected: Sequence[str] | None, at: datetime) -> tuple[MeshLink, ...]:
    """Give one link for each peer that an agent lists or the cluster is configured to have."""
    views: dict[str, list[RemoteView]] = {}
    for status in look.statuses.values():
        for view in status.views or ():
            views.setdefault(view.peer, []).append(view)
    if not views and look.message:
        return ()
    asked = sum(status.views is not None for status in look.statuses.values())
    links = (_link(peer, views.get(peer, ()), asked, at) for peer in sorted(views.keys() | set(expected or ())))
    reach, cache = reach_of(look.probes), {view.peer: view for view in look.cache or ()}
    return tuple(
        link.model_copy(
            update={
                "is_expected": None if expected is None else link.peer in expected,
                "cache_problem": _cache_problem(link, cache, is_known=look.cache is not None),
                **(vars(reach[link.peer]) if link.peer in reach else {}),
            }
        )
        for link in links
    )


def _link(peer: str, views: Sequence[RemoteView], asked: int, at: datetime) -> MeshLink:
    missing = asked - len(views)
    bad = next((view for view in views if not view.is_ready), None)
    is_ready = bool(views) and bad is None and not missing
    failures = [view.last_failure_at for view in views if view.last_failure_at is not None]
    return MeshLink(
        peer=peer,
        is_connected=bool(views) and all(view.is_connected for view in views) and not missing,
        is_ready=is_ready,
        reason="" if is_ready else _reason(bad, views, asked),
        failures=max((view.failures for view in views), default=0),
        remote_nodes=max((view.nodes for view in views), default=0),
        last_proven_at=at if is_ready else None,
        seen_at=at,
        last_failure_at=max(failures, default=None),
        peer_id=next((view.peer_id for view in views if view.peer_id), 0),
        agents_asked=asked,
        agents_ready=sum(view.is_ready for view in views),
        is_cached=any(view.is_cached for view in views) if views else None,
    )


def _reason(bad: RemoteView | None, views: Iterable[RemoteView], asked: int) -> str:
    why = bad.reason if bad is not None else _UNLISTED
    ready = sum(view.is_ready for view in views)
    return f"{why} ({ready} of {asked} nodes are ready)" if asked > 1 and ready else why


def _cache_problem(link: MeshLink, cache: Mapping[str, RemoteView], *, is_known: bool) -> str:
    """Say why KVStoreMesh, through which agents read the peer, does not reach it itself."""
    if not is_known or not link.is_cached:
        return ""
    view = cache.get(link.peer)
    if view is None:
        return "it does not list this peer"
    return "" if view.is_ready else view.reason
