"""Which jobs a command means: by name, or by what they are, and what is asked before many are changed."""

import io

import pytest

from atoll.cli.job_choosing import Choice, PhaseChoice, Wanted
from atoll.cli.job_matching import confirm, fields_of, phases_of
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import GROUP_VERSION, Job

WORKLOAD = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {"containers": [{"name": "m"}]}}}}


def job(name: str, phase: str = "Pending") -> Job:
    return Job.model_validate(
        {
            "apiVersion": GROUP_VERSION,
            "kind": "Job",
            "metadata": {"name": name, "namespace": "lab"},
            "spec": {"queue": "lab", "workload": WORKLOAD},
            "status": {"phase": phase},
        }
    )


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        (Wanted(), ""),
        (Wanted(selector="a=b", user="ann"), ""),
        (Wanted(queue="lab"), "spec.queue=lab"),
        (
            Wanted(queue="lab", phase=[PhaseChoice.ACTIVE]),
            "spec.queue=lab,status.phase!=Cancelled,status.phase!=Failed,status.phase!=Succeeded",
        ),
        (Wanted(phase=[PhaseChoice.ACTIVE, PhaseChoice.ENDED]), ""),
    ],
    ids=["everything", "labels and a user", "a queue", "what has not ended", "both halves"],
)
def test_a_choice_is_asked_of_the_hub_as_a_field_selector(wanted: Wanted, fields: str) -> None:
    """A phase is one of those that are left when the others are excluded: field selectors know no `or`."""
    assert fields_of(wanted) == fields


def test_phases_that_are_named_are_meant_together() -> None:
    """Once for each; a half counts for all in it."""
    assert phases_of(Wanted(phase=[PhaseChoice.FAILED, PhaseChoice.CANCELLED])) == {"Failed", "Cancelled"}
    assert phases_of(Wanted(phase=[PhaseChoice.ENDED, PhaseChoice.PENDING])) == {
        "Succeeded",
        "Failed",
        "Cancelled",
        "Pending",
    }


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (Choice(), "which job"),
        (Choice(names=["a"], queue="lab"), "not both"),
        (Choice(names=["a"], all_namespaces=True), "use -n instead of -A"),
        (Choice(phase=[PhaseChoice.FAILED], names=["a"]), "not both"),
    ],
    ids=["nothing", "a name and a queue", "a name anywhere", "a name and a phase"],
)
def test_jobs_are_chosen_in_one_way(choice: Choice, told: str) -> None:
    """Nothing is changed by a command that could have meant either."""
    with pytest.raises(InvalidInput, match=told):
        choice.check()


def test_many_jobs_are_not_changed_where_nobody_can_be_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are shown, as far as that helps, and what to write is said; one job needs no question."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    many = [job(f"j{number}") for number in range(12)]
    with pytest.raises(InvalidInput, match="12 jobs match: with --yes"):
        confirm("cancel", many, is_sure=False)
    told = capsys.readouterr().err
    assert "  lab/j0 Pending\n" in told
    assert "  and 2 more\n" in told
    assert confirm("cancel", many, is_sure=True)
    assert confirm("cancel", many[:1], is_sure=False)
