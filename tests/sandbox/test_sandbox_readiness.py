"""What keeps a federation from being Ready, cluster by cluster."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.sandbox.readiness import Awaited

START = datetime(2026, 1, 1, tzinfo=UTC)


def cluster(*, leaving: bool = False, seconds: float = 1.0, **status: Any) -> dict[str, Any]:
    proven = (START + timedelta(seconds=seconds)).isoformat()
    gone = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if leaving else {}
    return {
        "apiVersion": "atoll.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "a", **gone},
        "spec": {},
        "status": {"phase": "Ready", "lastProvenAt": proven, **status},
    }


# narrative: the object, how many clusters are awaited → what it lacks
CASES: dict[str, tuple[dict[str, Any] | None, int, str]] = {
    "alone and Ready": (cluster(), 1, ""),
    "deleted": (None, 1, "has left"),
    "leaving": (cluster(leaving=True), 1, "is leaving"),
    "never heard": (
        cluster(phase="Pending", reason="NeverHeard", message="no agent"),
        1,
        "is Pending (NeverHeard: no agent)",
    ),
    "without a reason": (cluster(phase="Unreachable"), 1, "is Unreachable"),
    "Ready in an earlier life": (cluster(seconds=-1), 1, "was not heard since this start"),
    "without its links": (cluster(), 3, "sees 0 of 2 other clusters"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_cluster_lacks_is_said(case: str) -> None:
    """By its phase and the hub's reason, or by the links that are missing."""
    item, count, expected = CASES[case]
    awaited = Awaited(tuple("abcd"[:count]), "", since=START)
    assert awaited.lacks(item) == expected
