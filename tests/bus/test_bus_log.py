"""Logs on a real nats-server: once and in order, whatever is killed."""

import asyncio

import pytest
from log_traffic import read_all, write_all

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.log_writer import LogWriter, Resumed
from atoll.federation.errors import NotFound, Unavailable


async def _read(bus: Bus, count: int) -> list[bytes]:
    async with asyncio.timeout(20):
        return await read_all(bus, count)


@pytest.fixture
async def lab(bus: Bus) -> Bus:
    """A bus with the log of one lab."""
    await bus.ensure_log("LAB_a", "lab.a", max_bytes=50_000_000)
    return bus


async def test_entries_come_back_in_order_and_the_writer_resumes_after_the_last(lab: Bus) -> None:
    writer = LogWriter(lab, "LAB_a", ident="one")
    assert await writer.resume() == Resumed(0)
    for number in range(1, 201):
        await writer.append(number, "lab.a.s", b"%d" % number)
    assert await writer.flush() == 200
    assert await _read(lab, 200) == [b"%d" % number for number in range(1, 201)]
    assert (await LogWriter(lab, "LAB_a", ident="one").resume()).number == 200


async def test_a_blind_second_writer_of_the_same_numbers_adds_nothing(lab: Bus) -> None:
    first, second = (LogWriter(lab, "LAB_a", ident="one") for _ in range(2))
    await first.resume()
    await second.resume()
    for number in range(1, 6):
        await first.append(number, "lab.a.s", b"%d" % number)
    await first.flush()
    with pytest.raises(Unavailable):
        for number in range(1, 6):
            await second.append(number, "lab.a.s", b"%d" % number)
        await second.flush()
    assert await _read(lab, 5) == [b"1", b"2", b"3", b"4", b"5"]
    assert (await lab.api("STREAM.INFO.LAB_a"))["state"]["messages"] == 5


async def test_entries_in_any_order_of_numbers_are_chained_and_the_newest_gives_its_note_back(lab: Bus) -> None:
    writer = LogWriter(lab, "LAB_a", ident="one")
    await writer.resume()
    for number, note in ((5, ""), (2, "4;a=5"), (9, "a=5,b=2")):
        await writer.append(number, "lab.a.s", b"%d" % number, note=note)
    assert await writer.flush() == 3
    assert await _read(lab, 3) == [b"5", b"2", b"9"]
    assert await LogWriter(lab, "LAB_a", ident="one").resume() == Resumed(9, "a=5,b=2")


async def test_a_broken_chain_is_refused_until_the_writer_resumes(lab: Bus) -> None:
    writer = LogWriter(lab, "LAB_a", ident="one")
    await writer.resume()
    await writer.append(1, "lab.a.s", b"1")
    await writer.flush()
    intruder = LogWriter(lab, "LAB_a", ident="two")
    assert (await intruder.resume()).number == 0
    await intruder.append(1, "lab.a.s", b"other")
    await intruder.flush()
    with pytest.raises(Unavailable):
        await writer.append(2, "lab.a.s", b"2")
        await writer.flush()


async def test_a_missing_stream_is_told_at_resume(bus: Bus) -> None:
    with pytest.raises(NotFound):
        await LogWriter(bus, "LAB_none", ident="one").resume()


async def test_a_full_log_refuses_and_keeps_what_it_has(bus: Bus) -> None:
    await bus.ensure_log("LAB_a", "lab.a", max_bytes=20_000)
    writer = LogWriter(bus, "LAB_a", ident="one")
    await writer.resume()
    with pytest.raises(Unavailable):
        for number in range(1, 100):
            await writer.append(number, "lab.a.s", b"x" * 1000)
        await writer.flush()
    held = (await writer.resume()).number
    assert 0 < held < 30
    assert len(await _read(bus, held)) == held


async def _write(bus: Bus, *numbers: int, subject: str = "lab.a.s") -> None:
    writer = LogWriter(bus, "LAB_a", ident="one")
    await writer.resume()
    for number in numbers:
        await writer.append(number, subject, b"%d" % number)
    await writer.flush()
    await writer.close()


async def _restart(server, bus: Bus) -> None:
    before = bus.reconnects
    await asyncio.to_thread(server.restart)
    async with asyncio.timeout(20):
        while bus.reconnects == before:
            await asyncio.sleep(0.05)


async def test_a_trim_takes_one_subject_up_to_a_sequence_and_no_other(lab: Bus) -> None:
    await _write(lab, 1, 2, 3, 4)
    await _write(lab, 5, 6, subject="lab.a.t")
    trimmer = LogTrimmer(lab, "LAB_a")
    assert await trimmer.subjects() == ["lab.a.s", "lab.a.t"]
    assert await trimmer.drop("lab.a.s", through=0) == 0
    assert await trimmer.drop("lab.a.s", through=3) == 3
    assert await trimmer.drop("lab.a.s", through=3) == 0
    assert await _read(lab, 3) == [b"4", b"5", b"6"]


async def test_the_newest_entry_outlives_every_trim_and_the_writer_goes_on_from_it_after_a_kill(
    nats_server, lab: Bus
) -> None:
    await _write(lab, *range(1, 11))
    assert await LogTrimmer(lab, "LAB_a").drop("lab.a.s", through=99) == 9
    await _restart(nats_server, lab)
    assert (await LogWriter(lab, "LAB_a", ident="one").resume()).number == 10
    await _write(lab, 11, 12)
    assert await _read(lab, 3) == [b"10", b"11", b"12"]


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_writer_whose_last_entry_was_deleted_goes_on_from_the_newest_that_is_left(
    nats_server, lab: Bus, is_killed: bool
) -> None:
    await _write(lab, 1, 2)
    await lab.api("STREAM.MSG.DELETE.LAB_a", {"seq": 2})
    if is_killed:
        await _restart(nats_server, lab)
    writer, late = (LogWriter(lab, "LAB_a", ident="one") for _ in range(2))
    assert (await late.resume()).number == 1
    assert (await writer.resume()).number == 1
    await writer.append(3, "lab.a.s", b"3")
    await writer.append(4, "lab.a.s", b"4")
    await writer.flush()
    assert await _read(lab, 3) == [b"1", b"3", b"4"]
    with pytest.raises(Unavailable):
        await late.append(9, "lab.a.s", b"it does not know of 3 and 4")
        await late.flush()


async def test_every_entry_arrives_once_and_in_order_while_the_server_is_killed(nats_server, lab: Bus) -> None:
    total = 600

    async def kill() -> None:
        for _ in range(2):
            await asyncio.sleep(0.7)
            await asyncio.to_thread(nats_server.restart)

    reader = asyncio.create_task(read_all(lab, total))
    writing = write_all(lab, total, window=16, deadline_seconds=2, pause_seconds=0.003)
    async with asyncio.timeout(60):
        await asyncio.gather(writing, kill())
        got = await reader
    assert got == [b"%d" % number for number in range(1, total + 1)]
