"""What `job explain` says around the stored decision."""

from typing import Any

from atoll.cli.explaining import DECISION_HEADERS, folded, standing
from atoll.federation.resources import Job
from hub.support import job_spec

WHY = "GpuModel: it has no A100"


def job(**status: Any) -> Job:
    return Job.model_validate({"metadata": {"name": "j", "namespace": "lab"}, "spec": job_spec(), "status": status})


def test_a_placed_job_says_how_it_is_now_and_as_of_when_the_table_is() -> None:
    placed = job(phase="Running", run="j-1", cluster="onprem", reason="ClusterSilent", message="not heard since noon")
    assert standing(placed, {"decidedAt": "2026-11-23T11:00:00.123456Z"}) == [
        "now: Running on onprem: ClusterSilent: not heard since noon",
        "as it was when this was decided, at 2026-11-23 11:00:00 UTC:",
    ]


def test_a_job_that_has_no_run_says_only_as_of_when_the_table_is() -> None:
    assert len(standing(job(phase="Pending", reason="Queued"), {"decidedAt": "2026-11-23T11:00:00Z"})) == 1


def test_clusters_that_are_out_for_one_reason_share_a_row_of_a_long_table() -> None:
    """Those with terms keep rows of their own, and a short table keeps all."""
    scored = [(f"good-{number}", *["1.00"] * 5, "") for number in range(3)]
    out = [(f"bad-{number}", *["-"] * 5, WHY) for number in range(9)]
    assert folded([*scored, *out]) == [*scored, ("bad-0 and 8 more", *["-"] * 5, WHY)]
    assert folded([*scored, *out[:5]]) == [*scored, *out[:5]]
    assert {len(row) for row in folded([*scored, *out])} == {len(DECISION_HEADERS)}
