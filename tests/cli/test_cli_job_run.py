"""`atoll job run`: what its options become, and what is said of values that cannot be meant."""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest
from clitool import Cli

from atoll.cli import job_logs
from atoll.cli.api import Api
from atoll.cli.submitting import Request, job_manifest
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Job

ASKED = Request(
    name="fit", queue="lab", command=("true",), inputs=(), outputs=(), gpus=0, gpu_models=(), cpu="100m",
    memory="128Mi", expected=None, priority=0, image="i",
)  # fmt: skip


def job_of(**options: object) -> Job:
    return Job.model_validate(job_manifest(replace(ASKED, **options), "default", {"HOME": "/here"}))


def test_variables_dependencies_limits_and_holds_become_fields_of_the_job() -> None:
    """A variable without a value is the one of here, one with an empty value is empty."""
    asked = job_of(
        variables=("SEED=7", "EXPR=a=b", "EMPTY=", "HOME"),
        depends_on=("count", "other/sweep:Finished"),
        time_limit="2h",
        is_held=True,
    )
    env = asked.spec.workload.spec["template"]["spec"]["containers"][0]["env"]
    assert {each["name"]: each["value"] for each in env} == {"SEED": "7", "EXPR": "a=b", "EMPTY": "", "HOME": "/here"}
    after = [(each.job, each.condition) for each in asked.spec.depends_on]
    assert after == [("count", "Succeeded"), ("other/sweep", "Finished")]
    assert (asked.spec.time_limit, asked.spec.held) == ("2h", True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"variables": ("=7",)}, "--env =7: should be NAME=VALUE"),
        ({"variables": ("NOWHERE",)}, "--env NOWHERE: it is not set here: write NOWHERE=VALUE"),
        ({"depends_on": ("count:failed",)}, "--depends-on count:failed: .* one of Succeeded, Failed, Finished"),
        ({"depends_on": (":Failed",)}, "--depends-on :Failed: should be JOB or JOB:END"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_meant_is_refused_by_its_name(options: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        job_of(**options)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--loss-policy", "never"), "'never' is not one of 'wait', 'failover', 'duplicate'"),
        (("--gpus", "many"), "'--gpus': 'many': must be a whole number"),
        (("--retries", "-1"), "'--retries': '-1': input should be greater than or equal to 0"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_read_is_named_with_what_it_should_be(
    cli: Cli, words: tuple[str, ...], told: str
) -> None:
    done = cli("job", "run", "--queue", "lab", *words, "--", "true")
    assert done.returncode == 2
    assert told in done.stderr
    assert "Value error" not in done.stderr


class OneJob:
    """What a hub says of one job, look by look; its log is the name of the run that it has then."""

    def __init__(self, *looks: dict[str, object]) -> None:
        self._looks, self._now = list(looks), looks[0]

    def get(self, _path: str) -> dict[str, object]:
        self._now = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        return {**job_manifest(ASKED, "default"), "status": self._now}

    def chunks(self, _path: str, _query: dict[str, str]) -> Iterator[bytes]:
        yield f"{self._now['run']}\n".encode()


FIRST = {"phase": "Running", "run": "fit-1", "cluster": "onprem"}
AGAIN = {"phase": "Pending", "reason": "Requeued"}
SECOND = {"phase": "Running", "run": "fit-2", "cluster": "cloud"}
DONE = {"phase": "Succeeded", "run": "fit-2", "cluster": "cloud"}


def test_a_log_that_is_followed_goes_on_from_attempt_to_attempt(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """What had to leave one cluster is followed to the next, until the job has ended."""
    looks = OneJob(FIRST, FIRST, AGAIN, SECOND, DONE)
    job_logs.print_log(cast(Api, looks), "default", "fit", job_logs.Wish(follow=True))
    told = capsysbinary.readouterr()
    assert told.out == b"fit-1\nfit-2\n"
    assert b"run fit-2 on cloud follows:" in told.err


def test_the_end_of_a_job_that_was_quick_is_told_after_its_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    told = job_logs.follow_log(cast(Api, OneJob(DONE)), "default", "fit")
    assert (told, *capsysbinary.readouterr()) == ("", b"fit-2\n", b"")
