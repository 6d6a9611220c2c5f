"""Faults of what belongs to one place: its files, its disk, its credentials, and the processes in its pods."""

import contextlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from campaign.scene import Scene
from campaign.schedule import Planned
from campaign.whole import Cluster
from exactly_once.disks import Disk
from rig.forgetful_disk import ForgetfulDisk
from rig.forgetful_tree import CUTS as CUTS_OF_POWER

_DAMAGED = 3


@contextmanager
def damage_agent(scene: Scene, fault: Planned) -> Iterator[None]:
    """Let a disk return other bytes than were written, while nobody looks."""
    member, chance = scene.member(fault.place), random.Random(fault.salt)
    member.child.kill()
    files = sorted(member.state_dir.glob("*/*.entry"))
    for path in chance.sample(files, min(_DAMAGED, len(files))):
        content = bytearray(path.read_bytes())
        match chance.choice(("flip", "cut", "zero")):
            case "flip" if content:
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            case "cut":
                content = content[: len(content) // 2]
            case _:
                content = bytearray(len(content))
        path.write_bytes(content)
    try:
        yield
    finally:
        member.child.start()


@contextmanager
def damage_gateway(scene: Scene, fault: Planned) -> Iterator[None]:
    """Leave a torn write behind what a gateway has committed, and files that nobody knows beside it."""
    member, chance = scene.member(fault.place), random.Random(fault.salt)
    member.child.kill()
    for path in member.state_dir.glob("*-wal"):
        with path.open("ab") as file:
            file.write(chance.randbytes(chance.randrange(1, 5000)))
    (member.state_dir / f"lost+found-{fault.salt}").write_bytes(chance.randbytes(100))
    try:
        yield
    finally:
        member.child.start()


@contextmanager
def revoke(scene: Scene, fault: Planned) -> Iterator[None]:
    """Send a member away, and invite it anew."""
    member, federation = scene.member(fault.place), scene.federation
    path = f"/access/members/{member.kind}/{member.name}"
    federation.insist(lambda: federation.ask("DELETE", path), 200, 404)
    try:
        yield
    finally:
        federation.invite(member.kind, member.name, member.token)
        member.child.kill()
        member.child.start()


@contextmanager
def fill_disk(scene: Scene, fault: Planned) -> Iterator[None]:
    disk = scene.member(fault.place).disk
    assert isinstance(disk, Disk)
    disk.fill()
    try:
        yield
    finally:
        disk.free()


@contextmanager
def hang_disk(scene: Scene, fault: Planned) -> Iterator[None]:
    disk = scene.member(fault.place).disk
    assert isinstance(disk, ForgetfulDisk)
    disk.hang()
    try:
        yield
    finally:
        disk.go_on()


@contextmanager
def cut_power(scene: Scene, fault: Planned) -> Iterator[None]:
    member, chance = scene.member(fault.place), random.Random(fault.salt)
    assert isinstance(member.disk, ForgetfulDisk)
    member.child.kill()
    try:
        member.disk.cut(chance.choice(CUTS_OF_POWER), fault.salt)
        yield
    finally:
        member.child.start()


@contextmanager
def kill_data(scene: Scene, fault: Planned) -> Iterator[None]:
    for process in _processes_of(scene.federation.cluster(fault.place), "atoll.cli"):
        process.kill()
    yield


@contextmanager
def kill_work(scene: Scene, fault: Planned) -> Iterator[None]:
    found = _processes_of(scene.federation.cluster(fault.place), "worker.py")
    for process in random.Random(fault.salt).sample(found, min(1, len(found))):
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            scene.jobs.hit(command[[Path(word).name for word in command].index("worker.py") + 2])
            process.kill()
    yield


def _processes_of(cluster: Cluster, word: str) -> list[psutil.Process]:
    """Find the containers' own processes in a simulated cluster, by a word of their command."""
    assert cluster.child.pid is not None
    found = []
    for process in psutil.Process(cluster.child.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if any(word in part for part in command) and not any("contain.py" in part for part in command):
                found.append(process)
    return sorted(found, key=lambda process: process.pid)
