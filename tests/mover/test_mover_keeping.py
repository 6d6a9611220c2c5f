"""A mover tells what is on its volume, and takes off it what is ordered: whole, once, and through kill -9."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.mover.erasing import erase
from atoll.edge.mover.registering import register
from atoll.edge.sink.ledger import Mark, load
from atoll.edge.sink.verify import verify
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.connection import Bus
from atoll.federation.errors import Conflict, InvalidInput, NotFound
from mover.mover_site import Site, feed, make_dataset, until

FILES = {"a.txt": b"hello", "deep/b.bin": random.Random(3).randbytes(70_000)}
MARK = Mark(gateway="lab", stream="s", outbox="o", envelope=7)
RUNNER = """
import asyncio, pathlib, sys
from atoll.edge.mover.main import run
from atoll.edge.mover.settings import MoverSettings
from atoll.federation.bus.membership import Membership
cluster, namespace, url, root = sys.argv[1:]
asyncio.run(run(MoverSettings(cluster, namespace, Membership(url), pathlib.Path(root))))
"""


@pytest.fixture
async def near(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(bus, nats_server.url, tmp_path / "near", "near")
    yield site
    await site.stop()


def said(_count: int) -> None:
    """Hear nothing."""


async def test_every_version_on_the_volume_is_told_with_what_is_in_it(near: Site) -> None:
    make_dataset(near.root, FILES)
    make_dataset(near.root, {"c": b"1"}, version=2)
    near.start()
    report = await near.holds(1, 2)
    whole = report.versions[0]
    assert (whole.complete, whole.files, whole.bytes) == (True, 2, 70_005)
    assert whole.manifest_sha256 == verify(near.root, "picks", 1).manifest_sha256
    make_dataset(near.root, {"d": b"1"}, "others")
    assert len((await near.holds(1, dataset="others")).versions) == 1


async def test_the_volume_is_told_of_after_all_that_is_on_it(near: Site) -> None:
    make_dataset(near.root, FILES)
    near.start()
    volume = await until(near.volume)
    report = await near.held()
    assert report is not None
    assert report.turn == volume.turn
    assert (volume.used_bytes, 0 < volume.free_bytes <= volume.total_bytes) == (70_005, True)


async def test_a_mover_that_takes_over_has_a_later_turn_also_on_a_volume_that_was_made_anew(near: Site) -> None:
    near.start()
    first = await until(near.volume)
    await near.stop()
    near.start()

    async def later() -> Any:
        report = await near.volume()
        return report if report is not None and report.turn > first.turn else None

    second = await until(later)
    assert second.made_at == first.made_at
    await near.stop()
    (near.root / ".atoll" / "volume.json").write_bytes(b"\xffnonsense")
    near.start()

    async def remade() -> Any:
        report = await near.volume()
        return report if report is not None and report.made_at > first.made_at else None

    assert await until(remade)


async def test_versions_are_deleted_as_ordered_and_the_others_stay(near: Site) -> None:
    for version in (1, 2, 3):
        make_dataset(near.root, FILES, version=version)
    near.start()
    await near.keep(erase=(1, 3))
    await near.holds(2)
    assert sorted(path.name for path in (near.root / "picks").iterdir()) == ["v2"]
    assert verify(near.root, "picks", 2).problems == ()


async def test_when_the_last_version_is_gone_nothing_of_the_dataset_is_left_or_told(near: Site) -> None:
    make_dataset(near.root, FILES)
    near.start()
    await near.keep(erase=(1,))
    await near.holds()
    await near.withdraw("dataset/ns/picks")

    async def untold() -> bool:
        return await near.held() is None

    assert await until(untold)
    assert not (near.root / "picks").exists()


async def test_files_that_are_kept_are_where_people_find_them(near: Site) -> None:
    make_dataset(near.root, FILES)
    near.start()
    await near.keep(erase=(1,), keep_files=True)
    await near.holds()
    assert (near.root / "_kept/picks/v1/a.txt").read_bytes() == b"hello"


def test_a_version_that_streams_fed_leaves_how_far_they_were(tmp_path: Path) -> None:
    make_dataset(tmp_path, FILES)
    feed(tmp_path, (MARK,))
    for _ in range(2):  # a crash may have it done again
        erase(Volume(tmp_path), "picks", 1)
        stub = load(tmp_path / "picks/v1")
        assert stub is not None
        assert (stub.marks, stub.files, stub.erased_at is not None) == ((MARK,), (), True)
        assert [path.name for path in (tmp_path / "picks/v1").iterdir()] == [".atoll"]


async def test_an_erased_version_is_neither_told_nor_read_and_may_be_copied_here_again(
    near: Site, bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    make_dataset(near.root, FILES)
    feed(near.root, (MARK,))
    erase(Volume(near.root), "picks", 1)
    far = Site(bus, nats_server.url, tmp_path / "far", "far")
    make_dataset(far.root, FILES)
    far.start()
    near.start()
    try:
        await until(near.volume)
        assert await near.held() is None
        with pytest.raises(NotFound):
            await near.reader.manifest("picks", 1)
        await near.order()
        await near.outcome("Succeeded")
        assert verify(near.root, "picks", 1).problems == ()
        ledger = load(near.root / "picks/v1")
        assert ledger is not None
        assert (ledger.marks, ledger.erased_at) == ((MARK,), None)
    finally:
        await far.stop()


async def test_a_folder_becomes_the_next_version_and_doing_it_again_changes_nothing(near: Site) -> None:
    make_dataset(near.root, FILES)
    folder = near.root / "imports/2019"
    folder.mkdir(parents=True)
    (folder / "x.csv").write_text("1\n")
    near.start()
    await near.keep(register_path="imports/2019")
    report = await near.holds(1, 2)
    assert (report.versions[1].produced_by, report.versions[1].complete) == ("path:imports/2019", True)
    assert verify(near.root, "picks", 2).problems == ()
    assert not folder.exists()
    assert register(Volume(near.root), "picks", "imports/2019", said=said).version == 2


async def test_a_folder_that_is_not_there_is_waited_for_and_named(near: Site) -> None:
    near.start()
    await near.keep(register_path="later")
    assert "no such folder" in await near.complains()
    (near.root / "later").mkdir()
    (near.root / "later/x").write_text("1")
    await near.holds(1)

    async def is_content() -> Any:
        report = await near.held()
        return report is not None and report.problem == ""

    assert await until(is_content)


def test_files_that_were_put_in_a_versions_place_become_that_version(tmp_path: Path) -> None:
    (tmp_path / "old/v4").mkdir(parents=True)
    (tmp_path / "old/v4/x").write_text("1")
    assert register(Volume(tmp_path), "old", "old/v4", said=said).version == 4
    assert verify(tmp_path, "old", 4).problems == ()


REFUSED = ["../out", "/etc", "a/../../b", ".runs/x", "", "a//b", "link", "link/deep", "picks/v1", "picks"]


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_not_a_folder_of_the_volumes_own_is_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    make_dataset(root, FILES)
    (tmp_path / "outside/deep").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises((InvalidInput, NotFound)):
        register(Volume(root), "new", path, said=said)
    assert verify(root, "picks", 1).problems == ()
    assert not (root / "new").exists()


def test_a_folder_with_a_link_in_it_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/leak").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="leak"):
        register(Volume(tmp_path), "new", "in", said=said)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["leak"]


def test_nothing_is_registered_beside_a_version_that_grows(tmp_path: Path) -> None:
    make_dataset(tmp_path, FILES)
    folder = tmp_path / "picks/v1"
    ledger = load(folder)
    assert ledger is not None
    (folder / ".atoll/ledger.json").write_text(
        ledger.model_copy(update={"complete": False}).model_dump_json(by_alias=True)
    )
    (tmp_path / "in").mkdir()
    with pytest.raises(Conflict, match="still grows"):
        register(Volume(tmp_path), "picks", "in", said=said)


@pytest.mark.faults
async def test_deleting_and_registering_go_on_through_kill_9(near: Site, nats_server: Any) -> None:
    """The mover is killed at moments of chance; at the end what is ordered is done and nothing else is touched."""
    many = {f"{number // 100}/{number}": b"x" * 100 for number in range(300)}
    make_dataset(near.root, many)
    make_dataset(near.root, FILES, version=2)
    for path, data in many.items():
        place = near.root / "in" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    await near.keep(erase=(1,), register_path="in")
    command = [sys.executable, "-c", RUNNER, "near", "ns", nats_server.url, str(near.root)]
    chance = random.Random(11)
    for _ in range(2):
        process = subprocess.Popen(command)
        await until(lambda: _has_begun(near), 60)
        await asyncio.sleep(chance.random() * 0.15)
        process.kill()
        process.wait()
    near.start()
    await near.holds(2, 3)
    assert verify(near.root, "picks", 2).problems == ()
    assert (verify(near.root, "picks", 3).problems, verify(near.root, "picks", 3).files) == ((), 300)
    assert not list((near.root / ".trash").glob("*"))


async def _has_begun(site: Site) -> bool:
    """Tell whether the mover that was started has taken the lock, by the turn that it wrote."""
    lock = Volume(site.root).try_lock("mover")
    if lock is None:
        return True
    os.close(lock)
    return False
