"""The file system that forgets: what POSIX promises stays, and only that is sure to."""

import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rig.forgetful_disk import ForgetfulDisk, why_not
from rig.forgetful_tree import CUTS, Cut, File, Folder, Tree


def file_in(tree: Tree, name: str, content: bytes, *, is_synced: bool) -> File:
    """Make a file in the root, and sync all of it or nothing."""
    file = File()
    tree.change((tree.root, name, file))
    tree.write(file, 0, content)
    if is_synced:
        tree.sync(file)
        tree.sync(tree.root)
    return file


def contents(tree: Tree) -> dict[str, bytes]:
    return {name: bytes(node.now) for name, node in tree.root.now.items() if isinstance(node, File)}


@pytest.mark.parametrize("how", CUTS)
def test_what_was_synced_outlives_every_power_cut(how: Cut) -> None:
    for seed in range(50):
        tree = Tree()
        file = file_in(tree, "kept", b"x" * 5000, is_synced=True)
        tree.write(file, 5000, b"y" * 5000)
        tree.cut(how, random.Random(seed))
        assert contents(tree)["kept"][:5000] == b"x" * 5000


def test_a_synced_file_in_a_folder_that_was_not_is_gone() -> None:
    tree, file = Tree(), File()
    tree.change((tree.root, "name", file))
    tree.write(file, 0, b"content")
    tree.sync(file)
    tree.cut("everything", random.Random(1))
    assert contents(tree) == {}


def test_where_names_follow_a_synced_file_keeps_its_name_and_its_folders() -> None:
    tree, folder, file = Tree(names_follow=True), Folder(), File()
    tree.change((tree.root, "folder", folder))
    tree.change((folder, "name", file))
    tree.write(file, 0, b"content")
    tree.sync(file)
    tree.cut("everything", random.Random(1))
    assert folder.now == {"name": file}
    assert tree.root.now == {"folder": folder}


def test_a_rename_is_kept_whole_or_not_at_all() -> None:
    seen = set()
    for seed in range(100):
        tree = Tree()
        file_in(tree, "old", b"1", is_synced=True)
        new = file_in(tree, "new", b"2", is_synced=True)
        tree.change((tree.root, "new", None), (tree.root, "old", new))
        tree.cut("the latest", random.Random(seed))
        seen.add(tuple(sorted(contents(tree).items())))
    assert seen == {(("new", b"2"), ("old", b"1")), (("old", b"2"),)}


def test_later_writes_may_stay_when_earlier_ones_are_gone_within_a_file_and_between_files() -> None:
    within, between = set(), set()
    for seed in range(200):
        tree = Tree()
        first = file_in(tree, "first", bytes(2048), is_synced=True)
        second = file_in(tree, "second", bytes(512), is_synced=True)
        for place in range(0, 2048, 512):
            tree.write(first, place, b"x" * 512)
        tree.write(second, 0, b"x" * 512)
        tree.cut("anything", random.Random(seed))
        kept = contents(tree)
        within.add(kept["first"][::512])
        between.add((b"x" in kept["first"], b"x" in kept["second"]))
    assert {b"\0xxx", b"x\0xx", b"\0\0\0x"} <= within
    assert len(between) == 4


def test_a_rename_may_outlive_the_content_that_was_written_before_it() -> None:
    """Why a file is synced before it gets its name."""
    seen = set()
    for seed in range(100):
        tree = Tree()
        file_in(tree, "ledger", b"old", is_synced=True)
        new = file_in(tree, "ledger.new", b"new", is_synced=False)
        tree.change((tree.root, "ledger.new", None), (tree.root, "ledger", new))
        tree.cut("anything", random.Random(seed))
        seen.add(contents(tree).get("ledger"))
    assert {b"old", b"new", b""} <= seen


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForgetfulDisk]:
    if why := why_not():
        pytest.skip(why)
    mounted = ForgetfulDisk(tmp_path_factory.mktemp("disk") / "mounted")
    mounted.mount()
    yield mounted
    mounted.unmount()


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare of util-linux")
def test_the_power_can_be_cut_though_a_container_has_a_copy_of_the_mount(disk: ForgetfulDisk) -> None:
    (disk.path / "forgotten").write_bytes(b"x")
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo here; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as container:
        assert container.stdout is not None
        assert container.stdout.readline() == "here\n"
        disk.cut("everything", 1)
        assert not (disk.path / "forgotten").exists()
        assert container.stdin is not None
        container.stdin.close()


def test_a_program_sees_an_ordinary_file_system_until_the_power_is_cut(disk: ForgetfulDisk) -> None:
    here = disk.path / "ordinary"
    (here / "inner").mkdir(parents=True)
    (here / "a").write_bytes(b"1" * 100_000)
    (here / "a").rename(here / "inner" / "b")
    with (here / "inner" / "b").open("r+b") as file:
        file.truncate(10)
        (here / "inner" / "b").unlink()
        assert file.read() == b"1" * 10, "a removed file is there for who has it open"
    with pytest.raises(OSError, match="not empty"):
        here.rmdir()
    assert [path.name for path in here.rglob("*")] == ["inner"]
    disk.cut("everything", 1)
    assert not here.exists()


WAYS: dict[str, tuple[Callable[[Path], None], bool]] = {
    "written": (lambda path: None, False),
    "synced, its folder not": (sync, False),
    "its folder synced, it not": (lambda path: sync(path.parent), True),
    "both synced": (lambda path: (sync(path), sync(path.parent))[0], True),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_there_after_a_power_cut_as_far_as_it_was_synced(disk: ForgetfulDisk, way: str) -> None:
    keep, is_there = WAYS[way]
    path = disk.path / way
    path.write_bytes(b"content")
    keep(path)
    disk.cut("everything", 1)
    assert path.exists() == is_there
    assert not is_there or path.read_bytes() == (b"content" if way == "both synced" else b"")


def test_writes_of_a_file_that_is_opened_to_sync_each_are_kept(disk: ForgetfulDisk) -> None:
    path = disk.path / "each"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    os.write(descriptor, b"content")
    os.close(descriptor)
    sync(disk.path)
    disk.cut("everything", 1)
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize(("synchronous", "is_kept"), [("FULL", True), ("OFF", False)])
@pytest.mark.parametrize("how", CUTS[:2])
def test_a_database_keeps_what_it_committed_if_it_syncs(
    disk: ForgetfulDisk, synchronous: str, is_kept: bool, how: Cut
) -> None:
    """SQLite's, as the gateway's outbox has it: a reader of its own, hundreds of writes, files that come and go."""
    path = disk.path / f"{synchronous}-{how}.db"
    sync(disk.path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")
        for number in range(100):
            db.execute("INSERT INTO t VALUES (?, ?)", (number, bytes(3000)))
    disk.cut(how, 3)
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        kept = db.execute("SELECT count(*) FROM t").fetchone()[0] if found else 0
    assert (kept == 100) == is_kept
