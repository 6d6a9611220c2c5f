"""Virtual time, processes that end as real ones do, stories, and how they are shortened."""

import asyncio
import fcntl
import os
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from twin import lab_story
from twin.disk import Disk, mounted
from twin.machine import Machine, Process, VirtualClock, VirtualLoop
from twin.shrinking import shortened
from twin.story import KINDS, Fault, Story, told


class Stage:
    """A loop on virtual time with one process."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.clock = VirtualClock()
        self.loop = VirtualLoop(self.clock, Random(0))
        self.process = Process("it", machine or Machine("box"))

    def run(self, course: Any) -> None:
        try:
            self.loop.run_until_complete(course)
        finally:
            self.loop.end([self.process])


def test_an_hour_passes_in_no_time() -> None:
    stage = Stage()
    stage.run(asyncio.sleep(3600))
    assert stage.clock.now == 3600


def test_a_loop_in_which_all_wait_for_each_other_says_so() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        Stage().run(wait())


def test_a_slow_clock_sleeps_longer() -> None:
    stage, woken = Stage(Machine("slow", rate=0.5)), []

    async def sleep() -> None:
        await asyncio.sleep(10)
        woken.append(stage.clock.now)

    async def course() -> None:
        await stage.process.start(sleep())

    stage.run(course())
    assert woken == [20.0]


def test_a_killed_process_does_nothing_more_not_even_what_it_does_finally() -> None:
    stage, done = Stage(), []

    async def work() -> None:
        try:
            await asyncio.sleep(5)
            done.append("worked")
        finally:
            done.append(f"cleaned up at {stage.clock.now:g}")

    async def course() -> None:
        stage.process.start(work())
        await asyncio.sleep(1)
        stage.process.kill()
        await asyncio.sleep(100)
        assert done == []

    stage.run(course())


def test_a_frozen_process_goes_on_later_with_what_came_due_meanwhile() -> None:
    stage, done = Stage(), []

    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            done.append(round(stage.clock.now, 2))

    async def course() -> None:
        stage.process.start(work())
        await asyncio.sleep(1.5)
        stage.process.is_frozen = True
        await asyncio.sleep(60)
        stage.loop.thaw(stage.process)
        await asyncio.sleep(5)

    stage.run(course())
    assert done == [1.0, 61.5, 62.5]


def test_a_seed_tells_one_story() -> None:
    assert told(11) == told(11)
    assert len({str(told(seed)) for seed in range(50)}) == 50


def test_stories_tell_of_every_kind_of_fault() -> None:
    assert {fault.kind for seed in range(200) for fault in told(seed).faults} == set(KINDS)


def test_stories_of_readings_tell_of_every_kind_of_fault() -> None:
    assert {fault.kind for seed in range(200) for fault in lab_story.told(seed).faults} == set(lab_story.KINDS)


@pytest.mark.parametrize("steps", range(5))
def test_a_thread_does_no_more_than_it_has_steps_left(steps: int, tmp_path: Path) -> None:
    stage, disk = Stage(), Disk(tmp_path / "disk")

    def write() -> None:
        for number in range(3):
            os.mkdir(disk.root / str(number))  # noqa: PTH102 # as pathlib does

    async def course() -> None:
        stage.process.steps_left = steps
        stage.process.start(asyncio.to_thread(write))
        await asyncio.sleep(1)

    with mounted(disk):
        stage.run(course())
    assert len(list(disk.root.iterdir())) == min(3, max(0, steps - 1))
    assert not stage.process.is_alive


@pytest.mark.parametrize(
    ("syncs", "kept"), [((), {}), (("file",), {}), (("folder",), {"a": b""}), (("file", "folder"), {"a": b"x"})]
)
def test_a_power_cut_leaves_what_was_synced_of_a_file_under_names_that_were(
    syncs: tuple[str, ...], kept: dict[str, bytes], tmp_path: Path
) -> None:
    disk = Disk(tmp_path / "disk")
    with mounted(disk):
        file = os.open(disk.root / "a", os.O_WRONLY | os.O_CREAT)
        os.pwrite(file, b"x", 0)
        folder = os.open(disk.root, os.O_RDONLY)
        for descriptor, name in ((file, "file"), (folder, "folder")):
            if name in syncs:
                os.fsync(descriptor)
            os.close(descriptor)
        disk.cut("everything", Random(0))
    assert {path.name: path.read_bytes() for path in disk.root.iterdir()} == kept


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    stage, disk, place = Stage(), Disk(tmp_path / "disk"), tmp_path / "disk/lock"
    second = Process("another", Machine("box"))
    taken: list[str] = []

    async def lock(name: str) -> None:
        fcntl.flock(os.open(place, os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX | fcntl.LOCK_NB)
        taken.append(name)
        await asyncio.sleep(60)

    async def course() -> None:
        stage.process.start(lock("first"))
        await asyncio.sleep(1)
        with pytest.raises(BlockingIOError):
            await second.start(lock("second"))
        stage.process.kill()
        second.start(lock("third"))
        await asyncio.sleep(1)

    with mounted(disk):
        stage.run(course())
    assert taken == ["first", "third"]


@pytest.mark.parametrize("guilty", [("cut",), ("cut", "kill"), ("lag",)])
def test_shortening_leaves_only_what_is_to_blame(guilty: tuple[str, ...]) -> None:
    harmless = tuple(Fault(at, "slow disk", "nats", 1.0) for at in (1.0, 2.0, 3.0, 4.0))
    blamed = tuple(Fault(10.0 + place, kind, "hub-1", 1.0) for place, kind in enumerate(guilty))
    story = replace(told(3), faults=(*harmless[:2], *blamed, *harmless[2:]))

    def fails(candidate: Story) -> bool:
        return set(guilty) <= {fault.kind for fault in candidate.faults}

    short = shortened(story, fails)
    assert short.faults == blamed
    assert len(short.work) == 1


def test_shortening_gives_up_after_so_many_tries() -> None:
    tries: list[Story] = []
    shortened(told(3), lambda story: bool(tries.append(story)), most_tries=5)
    assert len(tries) == 5
