"""What `job explain` says around the stored decision."""

from typing import Any

import pytest

from atoll.cli.array_tasks import known_as, known_lines, number_of
from atoll.cli.explaining import DECISION_HEADERS, folded, headline, print_decision, standing, undecided
from atoll.cli.slurm.job import ARRAY_ANNOTATION
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Job
from atoll.federation.tasks import Tasks
from hub.support import job_spec

WHY = "GpuModel: it has no A100"
NAMED = {ARRAY_ANNOTATION: "0-5:2"}


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
    scored = [(f"good-{number}", *["1.00"] * 6, "") for number in range(3)]
    out = [(f"bad-{number}", *["-"] * 6, WHY) for number in range(9)]
    assert folded([*scored, *out]) == [*scored, ("bad-0 and 8 more", *["-"] * 6, WHY)]
    assert folded([*scored, *out[:5]]) == [*scored, *out[:5]]
    assert {len(row) for row in folded([*scored, *out])} == {len(DECISION_HEADERS)}


PLACED = {"selected": "onprem", "startsNow": True}
LIMIT = {"message": "queue lab holds 5 GPUs of at most 5", "advice": "1 GPU given back", "resource": "gpus", "held": 5}
HELD_UP = {"queue": LIMIT}


def test_the_headline_of_a_job_that_has_ended_says_so() -> None:
    """What was decided then is no news of now."""
    assert headline("j", PLACED) == "job/j → onprem, starts there now"
    assert headline("j", PLACED, phase="Succeeded") == "job/j → onprem, where it has ended: Succeeded"
    assert headline("j", HELD_UP, phase="Cancelled") == "job/j has ended: Cancelled; the last decision:"


def test_the_largest_holders_are_shown_with_how_much_others_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """One that has ended since is marked, and instants are written in one way."""
    holders = [{"job": f"lab/{n}", "queue": "lab", "amount": 1, "holds": "1 GPU"} for n in "abc"]
    record = {"queue": {**LIMIT, "holders": holders}, "decidedAt": "2026-11-23T11:00:00.123456Z"}
    print_decision(job(phase="Pending", reason="QueueLimit"), record, over={"lab/b"})
    lines = capsys.readouterr().out.splitlines()
    assert "who holds most of it, as of 2026-11-23 11:00:00 UTC:" in lines
    assert [line.split()[0] for line in lines if "has ended since" in line] == ["lab/b"]
    assert "and others: 2 GPUs" in lines


def test_tasks_are_called_as_who_submitted_them_knows_them() -> None:
    """sbatch --array 0-5:2 makes three tasks, which are 0, 2 and 4 to its user."""
    slurms = job(phase="Running").model_copy(deep=True)
    slurms.metadata.annotations[ARRAY_ANNOTATION] = "0-4:2"
    assert [number_of(slurms, task) for task in (0, 2, 4)] == [0, 1, 2]
    assert str(known_as(slurms, Tasks.parse("1-2"))) == "2,4"
    with pytest.raises(InvalidInput, match=r"--task 1: job/j is the array 0-4:2: give one of these"):
        number_of(slurms, 1)
    own = job(phase="Running")
    assert (number_of(own, 7), str(known_as(own, Tasks.parse("7")))) == (7, "7")


def test_what_nothing_was_decided_about_says_why_in_a_sentence() -> None:
    """One that is held, one that has just come, one that ended before its turn."""
    held = job(phase="Pending", reason="Held", message="it is not placed until it is released")
    assert undecided(held) == ["job/j waits (Held): it is not placed until it is released"]
    assert undecided(job(phase="Pending")) == ["job/j waits: nothing was decided about it yet"]
    assert undecided(job(phase="Failed", reason="NoSuchQueue")) == ["job/j is Failed (NoSuchQueue)"]


@pytest.mark.parametrize("size", [1, 5, 100])
def test_the_lines_of_a_log_name_tasks_as_slurm_does(size: int) -> None:
    """However they came, and only where a task stands before the line."""
    made = job()
    array = made.model_copy(update={"metadata": made.metadata.model_copy(update={"annotations": NAMED})})
    text = b"[0] a\n[1] b\r[2] [1] c\nbare\n[9] no such\n[1] open"
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    assert b"".join(known_lines(array, chunks)) == b"[0] a\n[2] b\r[4] [1] c\nbare\n[9] no such\n[2] open"
    assert b"".join(known_lines(made, chunks)) == text
