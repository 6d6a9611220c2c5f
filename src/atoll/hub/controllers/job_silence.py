"""What the silence of its cluster means for a job that was placed there: words for its status. Pure.

Owns reason and message of a job whose run cannot be followed. The phase stays what the run said last; what becomes of
the run itself is fence.py's, and once that has spoken its words stand.
"""

from collections.abc import Mapping

from atoll.federation.resources import Cluster, Job, JobStatus
from atoll.federation.resources.run import DISPLACED_REASONS

CLUSTER_SILENT = "ClusterSilent"
_PLACED = frozenset({"Placed", "Running", "Committing"})
_MEANING: Mapping[str, str] = {
    "Wait": "what runs there goes on, and its end is told when the cluster is heard again",
    "Failover": "it is stopped there when its lease ends, and then placed elsewhere",
    "Duplicate": "another attempt is placed elsewhere, and the newest alone commits",
}


def with_silence(job: Job, status: JobStatus, cluster: Cluster | None) -> JobStatus:
    """Say in a status that the cluster of a job is not heard, since when, and what its lossPolicy makes of that."""
    since = cluster.status.silent_since if cluster is not None else None
    if since is None or status.phase not in _PLACED or status.reason in DISPLACED_REASONS:
        return status
    policy = job.spec.loss_policy
    message = (
        f"cluster {status.cluster} is not heard since {since:%Y-%m-%d %H:%M:%S} UTC; "
        f"lossPolicy {policy}: {_MEANING[policy]}"
    )
    return status.model_copy(update={"reason": CLUSTER_SILENT, "message": message})
