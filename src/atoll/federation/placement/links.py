"""The mesh as placement sees it: the state of the link between any two clusters, judged when it is asked for.

And what moves over it: measured rates, and copies that are under way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from atoll.federation.estimates import NO_TRAFFIC, Traffic
from atoll.federation.mesh import Link, LinkState, LinkView, link
from atoll.federation.placement.views import ClusterView

Pair = frozenset[str]


@dataclass(frozen=True)
class Links:
    """Every cluster's views of its peers at one moment; links in `supposed` count as ready, to ask what if."""

    seen: Mapping[str, Mapping[str, LinkView]]
    now: datetime
    supposed: frozenset[Pair] = frozenset()
    traffic: Traffic = NO_TRAFFIC

    @classmethod
    def of(cls, views: Sequence[ClusterView], now: datetime, traffic: Traffic = NO_TRAFFIC) -> "Links":
        """Collect the link views of clusters, each under the name that its peer has in the federation."""
        called = {view.mesh_name: view.name for view in views if view.mesh_name not in ("", view.name)}
        if not called:
            return cls({view.name: view.links for view in views}, now, traffic=traffic)
        return cls(
            {view.name: {called.get(peer, peer): link for peer, link in view.links.items()} for view in views},
            now,
            traffic=traffic,
        )

    def between(self, cluster: str, peer: str) -> Link:
        """Judge one link from both sides. A cluster always reaches itself."""
        if cluster == peer or Pair((cluster, peer)) in self.supposed:
            return Link((min(cluster, peer), max(cluster, peer)), LinkState.READY, "", self.now)
        ours, theirs = self.seen.get(cluster, {}).get(peer), self.seen.get(peer, {}).get(cluster)
        return link((cluster, ours), (peer, theirs), now=self.now)

    def supposing(self, cluster: str, peer: str) -> "Links":
        """See the mesh as if two clusters had a ready link."""
        return replace(self, supposed=self.supposed | {Pair((cluster, peer))})
