"""Weekly schedules: which instants they mean, over midnights, clock changes and overlaps; and what may be written."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.resources import BY_NAME, GROUP_VERSION
from atoll.federation.resources.schedule import WEEKDAYS, Schedule
from atoll.federation.resources.validation import parse
from atoll.federation.schedule import Hours, hours_at, local_time

BERLIN = "Europe/Berlin"


def schedule(*windows, zone="UTC"):
    """Make a schedule of windows `from-until`, or `from-until Mon,Tue`."""
    awake = []
    for window in windows:
        times, _, days = window.partition(" ")
        start, _, end = times.partition("-")
        awake.append({"from": start, "until": end, **({"days": days.split(",")} if days else {})})
    return Schedule.model_validate({"timeZone": zone, "awake": awake})


def at(text, zone="UTC"):
    """Read a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


OFFICE = schedule("07:00-19:00 Mon,Tue,Wed,Thu,Fri", zone=BERLIN)
NIGHTS = schedule("22:00-06:00 Fri,Sat")
# (schedule, instant, is awake, since, until); 2026-11-23 is a Monday, clocks change on 2026-03-29 and 2026-10-25
HOURS = {
    "before the week": (
        OFFICE, at("2026-11-23 06:59", BERLIN), False, at("2026-11-20 19:00", BERLIN), at("2026-11-23 07:00", BERLIN),
    ),
    "the first moment": (
        OFFICE, at("2026-11-23 07:00", BERLIN), True, at("2026-11-23 07:00", BERLIN), at("2026-11-23 19:00", BERLIN),
    ),
    "the last moment is over": (
        OFFICE, at("2026-11-23 19:00", BERLIN), False, at("2026-11-23 19:00", BERLIN), at("2026-11-24 07:00", BERLIN),
    ),
    "after midnight of the day before": (
        NIGHTS, at("2026-11-22 03:00"), True, at("2026-11-21 22:00"), at("2026-11-22 06:00"),
    ),
    "after midnight of a day that has no window": (
        NIGHTS, at("2026-11-23 03:00"), False, at("2026-11-22 06:00"), at("2026-11-27 22:00"),
    ),
    "windows that touch at midnight are one": (
        schedule("20:00-24:00 Sun", "00:00-04:00 Mon"),
        at("2026-11-23 00:00"), True, at("2026-11-22 20:00"), at("2026-11-23 04:00"),
    ),
    "windows that overlap are one": (
        schedule("08:00-12:00", "10:00-14:00"),
        at("2026-11-23 11:00"), True, at("2026-11-23 08:00"), at("2026-11-23 14:00"),
    ),
    "a window as long as a day": (
        schedule("09:00-09:00 Mon"), at("2026-11-24 08:59"), True, at("2026-11-23 09:00"), at("2026-11-24 09:00"),
    ),
    "always": (schedule("00:00-24:00"), at("2026-11-23 12:00"), True, None, None),
    "always, by windows of a day": (schedule("09:00-09:00"), at("2026-11-23 12:00"), True, None, None),
    "the day that has 23 hours": (
        schedule("00:00-06:00", zone=BERLIN),
        at("2026-03-29 04:00", BERLIN), True, at("2026-03-28 23:00"), at("2026-03-29 04:00"),
    ),
    "the day that has 25 hours": (
        schedule("00:00-06:00", zone=BERLIN),
        at("2026-10-25 04:00", BERLIN), True, at("2026-10-24 22:00"), at("2026-10-25 05:00"),
    ),
    "a beginning that comes twice": (
        schedule("02:30-05:00", zone=BERLIN),
        at("2026-10-25 00:30"), True, at("2026-10-25 00:30"), at("2026-10-25 04:00"),
    ),
    "an end that comes twice": (
        schedule("00:00-02:30", zone=BERLIN),
        at("2026-10-25 01:29"), True, at("2026-10-24 22:00"), at("2026-10-25 01:30"),
    ),
    "a beginning that is skipped": (
        schedule("02:30-05:00", zone=BERLIN),
        at("2026-03-29 01:30"), True, at("2026-03-29 01:30"), at("2026-03-29 03:00"),
    ),
    "a window that is skipped": (
        schedule("02:30-03:00 Sun", zone=BERLIN),
        at("2026-03-29 01:30"), False, at("2026-03-22 02:00"), at("2026-04-05 00:30"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOURS)
def test_hours_are_told_for(name):
    """Awake or not, since when, until when."""
    given_schedule, instant, is_awake, since, until = HOURS[name]
    assert hours_at(given_schedule, instant) == Hours(is_awake, since, until)


def test_people_read_times_of_the_zone_that_they_wrote():
    """Not of the hub's machine, and not UTC."""
    assert local_time(OFFICE, at("2026-11-23 06:00")) == "Mon 2026-11-23 07:00 Europe/Berlin"


_times = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from([0, 1, 30, 59]))
_windows = st.lists(
    st.fixed_dictionaries(
        {"from": _times, "until": _times | st.just("24:00")},
        optional={"days": st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True)},
    ),
    min_size=1,
    max_size=4,
)
_schedules = st.builds(
    lambda zone, awake: Schedule.model_validate({"timeZone": zone, "awake": awake}),
    st.sampled_from(["UTC", BERLIN, "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    _windows,
)
_instants = st.integers(0, 700 * 86400).map(
    lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(_schedules, _instants)
def test_the_state_holds_from_its_beginning_to_its_end_and_no_longer(which, instant):
    """The answer is the same all the way to the foreseen change, and the opposite on both sides of it."""
    hours = hours_at(which, instant)
    tick = timedelta(microseconds=1)
    if hours.until is not None:
        assert hours.until > instant
        assert hours_at(which, hours.until).is_awake is not hours.is_awake
        assert hours_at(which, hours.until - tick) == hours
    if hours.since is not None:
        assert hours.since <= instant
        assert hours_at(which, hours.since) == hours
        assert hours_at(which, hours.since - tick).is_awake is not hours.is_awake
    assert hours.is_awake or hours.until is not None, "a schedule has a window every fortnight"


@given(_schedules, _instants)
def test_on_days_of_24_hours_a_schedule_means_what_the_clock_on_the_wall_says(which, instant):
    """A plain model: look at the clock, and at the windows of today and yesterday."""
    zone = ZoneInfo(which.time_zone)
    local = instant.astimezone(zone)
    offsets = {(local + timedelta(days=days)).utcoffset() for days in range(-2, 3)}
    if len(offsets) > 1:
        return
    clock, today = f"{local:%H:%M}", WEEKDAYS[local.weekday()]
    yesterday = WEEKDAYS[local.weekday() - 1]

    def holds(window):
        if window.until > window.starts:
            return today in window.days and window.starts <= clock < window.until
        return (today in window.days and clock >= window.starts) or (yesterday in window.days and clock < window.until)

    assert hours_at(which, instant).is_awake is any(holds(window) for window in which.awake)


WRONG = {
    "an unknown zone": ({"timeZone": "Mars/Base"}, "spec.schedule.timeZone", "IANA name"),
    "a folder of zones": ({"timeZone": "Europe"}, "spec.schedule.timeZone", "IANA name"),
    "a path": ({"timeZone": "../../etc/passwd"}, "spec.schedule.timeZone", "IANA name"),
    "no zone": ({"timeZone": ""}, "spec.schedule.timeZone", "IANA name"),
    "no window": ({"awake": []}, "spec.schedule.awake", "at least 1"),
    "a day in full": ({"awake": [{"days": ["Monday"]}]}, "spec.schedule.awake[0].days[0]", "'Mon'"),
    "no days": ({"awake": [{"days": []}]}, "spec.schedule.awake[0].days", "at least 1"),
    "an hour of one digit": ({"awake": [{"from": "7:00"}]}, "spec.schedule.awake[0].from", 'such as "07:00"'),
    "a beginning at 24:00": ({"awake": [{"from": "24:00"}]}, "spec.schedule.awake[0].from", 'such as "07:00"'),
    "an end that YAML reads as a number": ({"awake": [{"until": 1140}]}, "spec.schedule.awake[0].until", "quote it"),
    "a misspelt field": ({"awake": [{"to": "19:00"}]}, "spec.schedule.awake[0].to", "unknown field"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_schedule_is_refused_and_the_field_named_for(name):
    """Bad input changes nothing and says where it is bad (G7)."""
    changes, field, words = WRONG[name]
    windows = [{"from": "07:00", "until": "19:00", **window} for window in changes.get("awake", [{}])]
    manifest = {"timeZone": BERLIN, **changes, "awake": windows}
    cluster = {
        "apiVersion": GROUP_VERSION, "kind": "Cluster", "metadata": {"name": "lab"}, "spec": {"schedule": manifest},
    }  # fmt: skip
    _, problems = parse(BY_NAME["Cluster"], cluster)
    assert [problem.field for problem in problems] == [field]
    assert words in problems[0].message
