"""What the live copy of the cluster tells of its room, for gangs."""

from atoll.edge.member.gangs import Sight
from atoll.edge.member.inventory.summary import open_shapes
from atoll.edge.member.inventory.view import ClusterView


def sight_of(view: ClusterView) -> Sight:
    """Give the sight of a view; it cannot be relied on before nodes and pods have been read once."""

    def problem() -> str:
        has_seen = view.nodes.has_synced.is_set() and view.pods.has_synced.is_set()
        return view.problem if has_seen else "nodes and pods are being read"

    return Sight(lambda: open_shapes(view.facts(runs=())), view.placed, problem)
