"""Priorities: what is urgent overtakes a backlog, each Stream keeps its order, and nothing comes twice or is left."""

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outbox_worlds import Hub, Told, order_of, readings, rules

from atoll.edge.gateway.bandwidth import Allowance, rate_at
from atoll.edge.gateway.lanes import Positions, SendOrder
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox
from atoll.edge.gateway.uplink import Uplink
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.envelope import decode
from atoll.federation.bus.log import LogReader
from atoll.federation.bus.subjects import lab_prefix, lab_stream, uplink_prefix
from atoll.federation.errors import Internal
from atoll.federation.resources.uplink import UplinkSpec

NAMES = ("low", "mid", "high")
KEYS = [StreamKey("ns", name) for name in NAMES]


@given(st.lists(st.sampled_from(KEYS), max_size=60), st.lists(st.integers(0, 2), min_size=3, max_size=3), st.data())
def test_wherever_sending_stops_the_newest_envelope_says_exactly_what_was_sent(
    stored: list[StreamKey], levels: list[int], data: st.DataObject
) -> None:
    """Sessions of any length, each begun from nothing but what the newest one that arrived says."""
    numbers = {key: [n for n, other in enumerate(stored, 1) if other == key] for key in KEYS}
    priorities = dict(zip(KEYS, levels, strict=True))
    sent: list[tuple[StreamKey, int]] = []
    newest = Positions()
    while len(sent) < len(stored):
        order = SendOrder(lambda key, after, limit: [n for n in numbers[key] if n > after][:limit])
        order.begin(newest, {key: values[-1] for key, values in numbers.items() if values})
        for _ in range(data.draw(st.integers(1, 10))):
            following = order.next(priorities)
            if following is None:
                break
            sent.append((following.stream, following.number))
            newest = Positions.parse(following.number, following.sent.text())
    assert sorted(number for _, number in sent) == list(range(1, len(stored) + 1))
    for key, values in numbers.items():
        assert [number for stream, number in sent if stream == key] == values
    if len(set(levels)) == 1:
        assert [number for _, number in sent] == list(range(1, len(stored) + 1))


def test_the_urgent_one_goes_first_and_equals_go_by_age() -> None:
    numbers = {KEYS[0]: [1, 2, 5], KEYS[1]: [3], KEYS[2]: [4]}
    order = SendOrder(lambda key, after, limit: [n for n in numbers[key] if n > after][:limit])
    order.begin(Positions(), {key: values[-1] for key, values in numbers.items()})
    priorities = {KEYS[2]: 10}
    assert [order.next(priorities).number for _ in range(5)] == [4, 1, 2, 3, 5]  # type: ignore[union-attr]
    assert order.next(priorities) is None


def test_in_order_of_arrival_a_message_needs_no_positions() -> None:
    numbers = {KEYS[0]: [1, 3], KEYS[1]: [2]}
    order = SendOrder(lambda key, after, limit: [n for n in numbers[key] if n > after][:limit])
    order.begin(Positions(), {KEYS[0]: 3, KEYS[1]: 2})
    assert [order.next({}).sent.text() for _ in range(3)] == ["", "", ""]  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["x", "1;a", "1;a/b", "1;a=3", "x;a/b=3", "1;a/b/c=3"])
def test_positions_that_are_not_ours_are_refused(text: str) -> None:
    with pytest.raises(Internal, match="positions"):
        Positions.parse(1, text)


def test_a_session_that_is_over_takes_nothing_from_the_next_one(tmp_path: Path) -> None:
    """Its thread may have waited for the lock meanwhile; what it took would never be sent."""
    outbox = Outbox(tmp_path / "outbox.db", gateway="lab")
    outbox.store(readings("low", b"1"), now=0)
    late = outbox.outgoing.begin(Positions())
    outbox.outgoing.stop()
    session = outbox.outgoing.begin(Positions())
    assert outbox.outgoing.take(late, limit=10) == []
    assert [stored.number for stored in outbox.outgoing.take(session, limit=10)] == [1]
    outbox.close()


async def test_urgent_readings_overtake_a_backlog_and_all_arrive_once_over_broken_sessions(
    bus: Bus, tmp_path: Path
) -> None:
    stream, prefix = lab_stream("lab"), lab_prefix("lab")
    await bus.ensure_log(stream, prefix, max_bytes=10_000_000, taken_in=uplink_prefix("lab"))
    outbox = Outbox(tmp_path / "outbox.db", gateway="lab")
    outbox.follow(rules(order_of("low"), order_of("high", priority=10)))
    chooser = random.Random(3)
    for number in range(60):
        outbox.store(readings("low", b"low %d" % number), now=0)
    sent = {"low": 60, "high": 0}
    for _ in range(6):
        for _ in range(5):
            outbox.store(readings("high", b"high %d" % sent["high"]), now=0)
            sent["high"] += 1
        uplink = Uplink(outbox, gateway="lab")
        uplink.allowance.uplink = UplinkSpec(bytes_per_second=20_000)
        running = asyncio.create_task(uplink.run(bus))
        await asyncio.sleep(chooser.uniform(0.02, 0.15))
        running.cancel()  # with envelopes under way: what arrived is known to the hub alone
        await asyncio.wait({running})
    uplink = Uplink(outbox, gateway="lab")
    running = asyncio.create_task(uplink.run(bus))
    hub = Hub()
    order: list[str] = []
    async with asyncio.timeout(30):
        async for batch in LogReader(bus, stream, f"{prefix}.>").read(0):
            for entry in batch:
                envelope = decode(entry.payload)
                order.append(envelope.stream)
                hub.streams.setdefault(envelope.stream, Told()).take(envelope)
            if len(order) == sum(sent.values()):
                break
    running.cancel()
    await asyncio.wait({running})
    for name, count in sent.items():
        told = hub.streams[name]
        assert list(told.payloads.values()) == [b"%s %d" % (name.encode(), n) for n in range(count)]
        assert told.gaps == set()
    assert order[0] == "high"
    outbox.close()


WEEK = UplinkSpec.model_validate(
    {
        "bytesPerSecond": 1_000_000,
        "timeZone": "Europe/Berlin",
        "windows": [
            {"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "08:00", "to": "18:00", "bytesPerSecond": 10_000},
            {"days": ["Fri"], "from": "22:00", "to": "06:00", "bytesPerSecond": 0},
            {"days": ["Sun"], "from": "00:00", "to": "24:00"},
        ],
    }
)


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        (datetime(2026, 11, 23, 6, 59, tzinfo=UTC), 1_000_000),  # Monday 07:59 in Berlin
        (datetime(2026, 11, 23, 7, 0, tzinfo=UTC), 10_000),
        (datetime(2026, 11, 23, 16, 59, tzinfo=UTC), 10_000),
        (datetime(2026, 11, 23, 17, 0, tzinfo=UTC), 1_000_000),
        (datetime(2026, 7, 20, 6, 0, tzinfo=UTC), 10_000),  # 08:00 in summer
        (datetime(2026, 11, 27, 21, 30, tzinfo=UTC), 0),  # Friday night
        (datetime(2026, 11, 28, 4, 59, tzinfo=UTC), 0),  # and until 06:00 on Saturday
        (datetime(2026, 11, 28, 5, 0, tzinfo=UTC), 1_000_000),
        (datetime(2026, 11, 29, 12, 0, tzinfo=UTC), None),  # Sunday
    ],
)
def test_the_limit_is_that_of_the_hour_in_the_zone_of_the_windows(at: datetime, rate: int | None) -> None:
    assert rate_at(WEEK, at) == rate


def test_over_a_minute_no_more_is_sent_than_allowed_however_large_the_envelopes() -> None:
    now = [0.0]
    allowance = Allowance(monotonic=lambda: now[0])
    allowance.uplink = UplinkSpec(bytes_per_second=10_000)
    sent = 0
    while now[0] < 60:
        seconds = allowance.wait_seconds()
        now[0] += seconds
        if not seconds:
            allowance.spend(50_000)
            sent += 50_000
    assert 550_000 <= sent <= 660_000


def test_nothing_is_sent_in_hours_that_allow_nothing_and_all_at_once_without_a_limit() -> None:
    allowance = Allowance(monotonic=lambda: 0.0)
    allowance.uplink = UplinkSpec(bytes_per_second=0)
    assert allowance.wait_seconds() > 0
    assert allowance.wait_seconds() > 0
    allowance.uplink = UplinkSpec()
    allowance.spend(10**9)
    assert allowance.wait_seconds() == 0


@pytest.mark.parametrize(
    "spec", [{"bytesPerSecond": 10}, {"timeZone": "Mars"}, {"windows": [{"from": "8", "to": "9"}]}]
)
def test_a_limit_that_cannot_be_kept_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"bytesPerSecond|timeZone|windows"):
        UplinkSpec.model_validate(spec)
