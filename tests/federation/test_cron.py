"""Cron expressions: which instants they mean, over clock changes and gaps; and what is no expression."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.cron import check_expression, due, next_after
from atoll.federation.resources import BY_NAME, GROUP_VERSION
from atoll.federation.resources.validation import parse

BERLIN = "Europe/Berlin"
JOB = {
    "name": "nightly",
    "spec": {
        "queue": "q",
        "workload": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"template": {"spec": {"containers": [{"name": "m", "image": "x"}]}}},
        },
    },
}


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_instants_after_one_and_up_to_another_included() -> None:
    found = due("*/15 * * * *", "UTC", after=at("2026-11-23 10:00"), until=at("2026-11-23 10:45"), most=9)
    assert found == (at("2026-11-23 10:15"), at("2026-11-23 10:30"), at("2026-11-23 10:45"))


def test_of_too_many_the_newest_are_given() -> None:
    found = due("* * * * *", "UTC", after=at("2020-01-01 00:00"), until=at("2026-01-01 00:00"), most=3)
    assert found == (at("2025-12-31 23:58"), at("2025-12-31 23:59"), at("2026-01-01 00:00"))


def test_an_hour_that_the_clock_skips_is_made_up_for_and_one_that_comes_twice_counts_once() -> None:
    spring = due("30 2 * * *", BERLIN, after=at("2026-03-28 12:00"), until=at("2026-03-30 12:00"), most=9)
    assert spring == (at("2026-03-29 03:00", BERLIN), at("2026-03-30 02:30", BERLIN))
    autumn = due("30 2 * * *", BERLIN, after=at("2026-10-24 12:00"), until=at("2026-10-26 12:00"), most=9)
    assert len(autumn) == 2


@given(
    st.sampled_from(["*/7 * * * *", "0 3 * * 1-5", "15,45 */6 1 * *", "30 2 * * *"]),
    st.sampled_from(["UTC", BERLIN, "America/New_York", "Asia/Kolkata"]),
    st.integers(min_value=0, max_value=365 * 24 * 60),
)
def test_forwards_and_backwards_mean_the_same_instants(expression: str, zone: str, minutes: int) -> None:
    start = at("2026-01-01 00:00") + timedelta(minutes=minutes)
    ahead = next_after(expression, zone, start)
    assert ahead is not None
    assert due(expression, zone, after=start, until=ahead, most=5) == (ahead,)
    assert due(expression, zone, after=start, until=ahead - timedelta(seconds=1), most=5) == ()


@pytest.mark.parametrize("bad", ["", "* * * *", "* * * * * *", "61 * * * *", "a b c d e", "0 0 31 2 *"])
def test_what_is_no_expression_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_expression(bad)


REFUSED = {
    "no cron expression": ({"schedule": {"cron": "every day"}}, "write five fields"),
    "a zone that is none": ({"schedule": {"cron": "0 3 * * *", "timeZone": "Mars"}}, "time zone"),
    "both a schedule and datasets": (
        {"schedule": {"cron": "0 3 * * *"}, "on": {"name": "a*"}}, "on and schedule: give one of them",
    ),
    "a dataset in the template of a schedule": (
        {"schedule": {"cron": "0 3 * * *"}, "job": {**JOB, "name": "p-{dataset}"}}, "{dataset} has no meaning",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_trigger_is_refused_with(name: str) -> None:
    spec, message = REFUSED[name]
    manifest = {
        "apiVersion": GROUP_VERSION, "kind": "Trigger", "metadata": {"name": "t"}, "spec": {"job": JOB, **spec},
    }  # fmt: skip
    resource, problems = parse(BY_NAME["Trigger"], manifest)
    assert resource is None
    assert message in "; ".join(problem.message for problem in problems)
