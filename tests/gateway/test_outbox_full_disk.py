"""Disks that take no writes: full to the last byte, read-only, locked, broken. What was stored stays, what is wrong is
said as it is, and taking in goes on when it is over.
"""

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from outbox_worlds import KEY, Hub, order_of, readings, rules

from atoll.edge.gateway import database
from atoll.edge.gateway.buffers import Rules
from atoll.edge.gateway.database import DiskFailing, OutboxLocked, OutboxReadOnly
from atoll.edge.gateway.drafts import Message
from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.mqtt import Batch
from atoll.edge.gateway.outbox import Outbox, OutboxFull
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import RecentPackets
from atoll.federation.bus.envelope import MAX_PAYLOAD_BYTES
from rig.forgetful_disk import ForgetfulDisk, why_not


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A filesystem of 6 MB whose last byte may be used."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    # Below any room that there is: what is tried is the disk that refuses, not the reserve that keeps away from it.
    monkeypatch.setattr(database, "RESERVED_FREE_BYTES", -(1 << 40))
    monkeypatch.setattr(database, "_LEAST_FREE_BYTES", -(1 << 40))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return filler


def test_a_commit_that_finds_no_room_changes_nothing_and_succeeds_when_there_is_some(small_disk: Path) -> None:
    box = Outbox(small_disk / "outbox.db", gateway="lab")
    box.follow(rules(order_of("anmo")), is_compressed=False)
    box.store(readings("anmo", b"1"), now=0)
    filler = fill(small_disk)
    batch = readings("anmo", b"2" * MAX_PAYLOAD_BYTES)
    for _ in range(3):
        with pytest.raises(OutboxFull, match="the disk is full; make room on it"):
            box.store(batch, now=0)
    assert (box.readings, box.last_number) == (1, 1)
    filler.unlink()
    box.store(batch, now=0)
    box.close()
    again = Outbox(small_disk / "outbox.db", gateway="lab")
    hub = Hub()
    hub.drain(again)
    assert [len(payload) for payload in hub.streams["anmo"].payloads.values()] == [1, MAX_PAYLOAD_BYTES]
    again.close()


def test_what_keeps_an_outbox_from_being_written_is_told_apart(small_disk: Path, tmp_path: Path) -> None:
    box = Outbox(small_disk / "outbox.db", gateway="lab")
    box.follow(rules(order_of("anmo")), is_compressed=False)
    box._database.run("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(small_disk / "outbox.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutboxLocked, match="another program has it locked; end that one"):
            box.store(readings("anmo", b"1"), now=0)
    box.store(readings("anmo", b"1"), now=0)
    box.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutboxReadOnly, match="mounted read-only"):
        Outbox(small_disk / "outbox.db", gateway="lab")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    again = Outbox(small_disk / "outbox.db", gateway="lab")
    assert again.readings == 1
    again.close()


def test_a_disk_that_breaks_is_not_called_full(tmp_path: Path) -> None:
    if why := why_not():
        pytest.skip(why)
    disk = ForgetfulDisk(tmp_path / "disk")
    disk.mount()
    box = Outbox(disk.path / "outbox.db", gateway="lab")
    box.follow(rules(order_of("anmo")), is_compressed=False)
    box.store(readings("anmo", b"1"), now=0)
    disk.fail()
    for _ in range(2):
        with pytest.raises(DiskFailing, match=r"reports errors .* replace the disk"):
            box.store(readings("anmo", b"2"), now=0)
    box.close()
    disk.unmount()


def test_a_trim_that_finds_no_room_is_done_later(small_disk: Path) -> None:
    box = Outbox(small_disk / "outbox.db", gateway="lab")
    box.follow(rules(order_of("anmo")), is_compressed=False)
    for number in range(4):
        box.store(readings("anmo", b"%d" % number * 400_000), now=0)
    filler = fill(small_disk)
    with pytest.raises(OutboxFull):
        for number in range(1, 5):
            box.trim(KEY, number=number, sequence=number)
    left = box.readings
    filler.unlink()
    box.tidy()
    assert box.readings < left
    box.close()


class Broker:
    """Gives one batch and remembers what was acknowledged."""

    is_subscribed = True

    def __init__(self, *batches: list[Message]) -> None:
        self._batches = list(batches)
        self.acknowledged: list[int] = []

    async def receive(self) -> Batch:
        if not self._batches:
            await asyncio.Event().wait()
        return Batch(self._batches.pop(0))

    def acknowledge(self, messages: list[Message]) -> None:
        self.acknowledged += [message.packet_id for message in messages]

    def publish(self, topic: str, payload: bytes) -> None:
        raise AssertionError(f"{topic} {payload!r}")


async def test_nothing_is_acknowledged_while_the_disk_is_full_and_all_of_it_after(small_disk: Path) -> None:
    box = Outbox(small_disk / "outbox.db", gateway="lab")
    order = order_of("anmo")
    box.follow(rules(order), is_compressed=False)
    filler = fill(small_disk)
    packer = Packer((order,), recent=RecentPackets())
    broker = Broker([Message(1, 7, "anmo/x", b"x" * 400_000, False, False, 1)])
    intake = Intake(box, packer, on_stored=lambda: None, on_files=lambda packed: None)
    running = asyncio.create_task(intake.run(broker))
    async with asyncio.timeout(20):
        while not intake.problem:
            await asyncio.sleep(0.02)
        assert "the disk is full" in intake.problem
        assert intake.reason == "OutboxFull"
        assert broker.acknowledged == []
        await asyncio.to_thread(filler.unlink)
        while not broker.acknowledged:
            await asyncio.sleep(0.02)
    assert (broker.acknowledged, box.readings, intake.problem) == ([7], 1, "")
    running.cancel()
    await asyncio.wait({running})
    box.close()


def test_room_inside_the_file_is_room_when_the_disk_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage the file is large and empty: the disk has no free byte, and the outbox has plenty."""
    box = Outbox(tmp_path / "outbox.db", gateway="lab")
    box.follow(Rules(), is_compressed=False)
    for number in range(30):
        box.store(readings("anmo", bytes([number]) * 500_000), now=0)
    box.trim(KEY, number=30, sequence=30)
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(database, "RESERVED_FREE_BYTES", free + 1_000_000)
    box.store(readings("anmo", b"more"), now=0)
    assert box.readings == 1
    box.close()
