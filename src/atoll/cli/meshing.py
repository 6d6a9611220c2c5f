"""What `mesh status` prints: the link matrix, out of each cluster's own report."""

from collections.abc import Iterator
from datetime import UTC, datetime

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.options import Output
from atoll.cli.output import hint, print_objects
from atoll.cli.tables import print_table
from atoll.federation.capacity import format_duration
from atoll.federation.resources import Cluster


def show(api: Api, output: Output) -> bool:
    """Print every directed link; tell whether all of them are ready."""
    ref = kinds.atoll("Cluster")
    answer = api.get(ref.collection())
    clusters = [Cluster.model_validate(item) for item in answer["items"]]
    if output in (Output.JSON, Output.YAML, Output.NAME):
        print_objects(answer, output, ref)
    elif any(cluster.status.links for cluster in clusters):
        print_table(("FROM", "TO", "STATE", "NODES", "FAILURES", "PROVEN", "REASON"), _rows(clusters))
    else:
        hint("no cluster has reported a mesh link")
    return all(link.is_connected and link.is_ready for cluster in clusters for link in cluster.status.links)


def _rows(clusters: list[Cluster]) -> Iterator[tuple[object, ...]]:
    for cluster in sorted(clusters, key=lambda item: item.metadata.name):
        for link in sorted(cluster.status.links, key=lambda item: item.peer):
            state = "connected" if link.is_connected and link.is_ready else "unreachable"
            proven = age(link.last_proven_at or cluster.status.last_proven_at)
            yield cluster.metadata.name, link.peer, state, link.remote_nodes, link.failures, proven, link.reason


def age(instant: datetime | None) -> str:
    """Say how long ago something was, as kubectl does."""
    if instant is None:
        return "never"
    return format_duration(max(0, round((datetime.now(UTC) - instant).total_seconds())))
