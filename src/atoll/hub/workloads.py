"""What runs in each cluster as policies see it, put together from the chunks that its agent reports.

Owns the memory of what was put together. It must not judge anything.
"""

from collections.abc import Mapping

from atoll.federation.bus.inventory_messages import WorkloadsReport
from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.hub.members import Observed, Path

_TOPIC = "inventory/workloads"
# An agent tells fewer chunks; numbers that are not there cost a look-up.
_MOST_CHUNKS = 16


class Workloads:
    """The label sets of all clusters."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._known: dict[str, tuple[tuple[int, ...], ClusterWorkloads]] = {}

    def of(self, cluster: str) -> ClusterWorkloads | None:
        """Give what runs in a cluster; None if its agent has told nothing, as agents older than this do."""
        paths = [Path("cluster", cluster, f"{_TOPIC}/{number}") for number in range(_MOST_CHUNKS)]
        held = [self._observed.held(path) for path in paths]
        revisions = tuple(one.revision if one is not None else 0 for one in held)
        if not any(revisions):
            self._known.pop(cluster, None)
            return None
        known = self._known.get(cluster)
        if known is None or known[0] != revisions:
            chunks = [self._observed.read(WorkloadsReport, path) for path in paths]
            found = joined([chunk for chunk in chunks if chunk is not None])
            known = self._known[cluster] = (revisions, found)
        return known[1]


def joined(chunks: list[WorkloadsReport]) -> ClusterWorkloads:
    """Put the chunks of one cluster together. Pure."""
    namespaces: dict[str, dict[str, str]] = {}
    for chunk in chunks:
        namespaces |= chunk.namespaces
    return ClusterWorkloads(
        namespaces=namespaces,
        sets=tuple(one for chunk in chunks for one in chunk.sets),
        omitted_sets=sum(chunk.omitted_sets for chunk in chunks),
        omitted_pods=sum(chunk.omitted_pods for chunk in chunks),
        seen_at=max((chunk.at for chunk in chunks), default=None),
    )


def revision_of(workloads: Mapping[str, ClusterWorkloads]) -> object:
    """Give what tells two states apart: values that were put together once are the same objects until they change."""
    return tuple((name, id(running)) for name, running in sorted(workloads.items()))
