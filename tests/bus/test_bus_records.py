"""Records that nobody alters, and reading a log from an instant on, or up to where it is now."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.log import LogReader
from atoll.federation.errors import AtollError

FULL_BYTES = 10_000


@pytest.fixture
async def records(bus: Bus) -> Bus:
    """A bus with a stream of records."""
    await bus.ensure_records("RECORDS", "records", max_bytes=FULL_BYTES, max_age_seconds=3600)
    return bus


async def _read(bus: Bus, after: int | datetime, through: int, subjects: str = "records.>") -> list[bytes]:
    reader = LogReader(bus, "RECORDS", subjects)
    async with asyncio.timeout(5):
        return [entry.payload async for batch in reader.read(after, through=through) for entry in batch]


async def test_a_reader_stops_where_it_is_told_to_or_where_nothing_is_left(records: Bus) -> None:
    assert await _read(records, 0, 10) == [], "an empty log has nothing left"
    for number in range(6):
        await records.store("records.b" if number == 5 else "records.a", b"%d" % number)
    assert await _read(records, 0, 3) == [b"0", b"1", b"2"]
    assert await _read(records, 2, 6) == [b"2", b"3", b"4", b"5"]
    assert await _read(records, 0, 6, "records.a") == [b"0", b"1", b"2", b"3", b"4"], "the last is of another subject"
    assert await _read(records, 4, 4) == []


async def test_a_reader_begins_at_an_instant(records: Bus) -> None:
    await records.store("records.a", b"before")
    await asyncio.sleep(0.02)
    middle = datetime.now(UTC)
    await records.store("records.a", b"after")
    assert await _read(records, middle, 2) == [b"after"]
    assert await _read(records, middle - timedelta(hours=1), 2) == [b"before", b"after"]
    assert await _read(records, middle + timedelta(hours=1), 2) == []


async def test_a_full_stream_of_records_drops_the_oldest_and_refuses_nothing(records: Bus) -> None:
    last = 0
    for number in range(60):
        last = await records.store("records.a", b"%03d" % number + b"." * 400)
    kept = await _read(records, 0, last)
    assert kept[-1].startswith(b"059")
    assert not kept[0].startswith(b"000")


async def test_the_server_refuses_to_delete_and_to_purge_records(records: Bus) -> None:
    last = await records.store("records.a", b"kept")
    with pytest.raises(AtollError):
        await records.purge("RECORDS", "records.a", before=last + 1)
    with pytest.raises(AtollError):
        await records.api("STREAM.MSG.DELETE.RECORDS", {"seq": last})
    with pytest.raises(AtollError):  # a stream that forgets is no longer a stream of records
        await records.ensure_log("RECORDS", "records", max_bytes=FULL_BYTES)
    assert await _read(records, 0, last) == [b"kept"]
