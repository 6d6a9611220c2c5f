"""The time of a reading: from the payload or a user property, believed only within bounds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packers import NOON_NS, SECOND_NS, Bench, message

from atoll.edge.gateway.times import TimeReader
from atoll.federation.resources.stream_reading import TimeSpec

NOON = NOON_NS // SECOND_NS
DAY_NS = 86_400 * SECOND_NS


def read(value: Any, *, is_historical: bool = False, **spec: Any) -> int | None:
    clock = TimeReader(TimeSpec.model_validate({"from": "Payload", "field": "t"} | spec))
    return clock.read({"t": value}, (), arrived_ns=NOON_NS, is_historical=is_historical)


@pytest.mark.parametrize(
    ("value", "spec", "expected_ns"),
    [
        ("2026-11-22T12:00:00Z", {}, NOON_NS),
        ("2026-11-22T13:00:00+01:00", {}, NOON_NS),
        ("2026-11-22 12:00:00.25", {}, NOON_NS + SECOND_NS // 4),
        (NOON, {"unit": "Seconds"}, NOON_NS),
        (str(NOON) + ".000000001", {"unit": "Seconds"}, NOON_NS + 1),
        (NOON + 0.5, {"unit": "Seconds"}, NOON_NS + SECOND_NS // 2),
        (NOON * 1000 + 1, {"unit": "Milliseconds"}, NOON_NS + 1_000_000),
        (NOON_NS + 7, {"unit": "Nanoseconds"}, NOON_NS + 7),
        ("22.11.2026 12:00:00", {"format": "%d.%m.%Y %H:%M:%S"}, NOON_NS),
        ("22.11.2026 13:00 +0100", {"format": "%d.%m.%Y %H:%M %z"}, NOON_NS),
    ],
)
def test_a_time_is_read_in_its_unit(value: Any, spec: dict[str, Any], expected_ns: int) -> None:
    assert read(value, **spec) == expected_ns


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        (None, {}),
        ("yesterday", {}),
        (12, {}),
        ({"t": 1}, {}),
        (True, {"unit": "Seconds"}),
        ("1e999999999", {"unit": "Seconds"}),
        (10**400, {"unit": "Seconds"}),
        (float("nan"), {"unit": "Seconds"}),
        (float("inf"), {"unit": "Seconds"}),
        (-5, {"unit": "Seconds"}),
        ("0001-01-01T00:00:00+14:00", {}),
        ("x", {"format": "%Y"}),
    ],
)
def test_what_is_no_time_is_none(value: Any, spec: dict[str, Any]) -> None:
    assert read(value, **spec) is None


@pytest.mark.parametrize(
    ("shift_ns", "is_believed"), [(9 * 60, True), (11 * 60, False), (-29 * 86_400, True), (-31 * 86_400, False)]
)
def test_a_time_is_believed_within_its_bounds(shift_ns: int, is_believed: bool) -> None:
    assert (read(NOON + shift_ns, unit="Seconds") is not None) == is_believed


def test_what_is_said_to_be_historical_may_be_as_old_as_it_likes() -> None:
    assert read(5, unit="Seconds", is_historical=True) == 5 * SECOND_NS


@given(
    st.text() | st.integers() | st.floats() | st.none() | st.lists(st.integers()),
    st.sampled_from(["RFC3339", "Seconds"]),
)
def test_any_value_is_a_time_within_the_bounds_or_none(value: Any, unit: str) -> None:
    at = read(value, unit=unit)
    assert at is None or NOON_NS - 30 * DAY_NS <= at <= NOON_NS + 600 * SECOND_NS


def test_a_user_property_may_have_the_time() -> None:
    bench = Bench(time={"from": "UserProperty", "field": "ts", "unit": "Milliseconds"})
    packed = bench.take(
        message("lab/a/data", properties={"x": "y", "ts": str(NOON * 1000 - 5)}), message("lab/a/data", b"2")
    )
    assert [reading.at_ns for reading in packed.drafts[0].readings] == [NOON_NS - 5_000_000, None]
    assert bench.tally.clock_fallbacks == 1


def test_a_reading_whose_payload_is_broken_is_stored_with_its_arrival() -> None:
    bench = Bench(payload={"format": "CBOR"}, time={"from": "Payload", "field": "t", "unit": "Seconds"})
    packed = bench.take(message("lab/a/data", b"\xff\xff"))
    assert [(reading.payload, reading.at_ns) for reading in packed.drafts[0].readings] == [(b"\xff\xff", None)]
    assert (bench.tally.malformed, bench.tally.clock_fallbacks) == (1, 1)
