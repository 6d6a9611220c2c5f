"""The mover hands out what is committed and nothing else, and brings versions here whole or not at all."""

import asyncio
import contextlib
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.sink.ledger import LEDGER, load, manifest_sha256, save
from atoll.edge.sink.verify import verify
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import ManifestFile, ReadRequest
from atoll.federation.bus.datasets import DatasetReader
from atoll.federation.errors import Internal, InvalidInput, NotFound, Unavailable
from mover.mover_site import Site, make_dataset, until

FILES = {
    "small.txt": b"hello",
    "empty": b"",
    "deep/er/data.bin": random.Random(1).randbytes(3_000_001),
    "exact.bin": random.Random(2).randbytes(512 * 1024),
}
RUNNER = """
import asyncio, pathlib, sys
from atoll.edge.mover.main import run
from atoll.edge.mover.settings import MoverSettings
from atoll.federation.bus.membership import Membership
cluster, namespace, url, root = sys.argv[1:]
asyncio.run(run(MoverSettings(cluster, namespace, Membership(url), pathlib.Path(root))))
"""


def bytes_below(folder: Path) -> int:
    """Count the bytes of the files below a folder, while a mover may put them elsewhere or the folder away."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(parent) / name).stat().st_size
    return total


@pytest.fixture
async def far(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(bus, nats_server.url, tmp_path / "far", "far")
    make_dataset(site.root, FILES)
    site.start()

    async def answers() -> bool:
        with contextlib.suppress(Unavailable):
            await site.reader.manifest("picks", 1)
            return True
        return False

    await until(answers)
    yield site
    await site.stop()


@pytest.fixture
async def near(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(bus, nats_server.url, tmp_path / "near", "near")
    site.start()
    yield site
    await site.stop()


def assert_same(here: Path, there: Path, dataset: str = "picks") -> None:
    assert verify(here, dataset, 1).problems == ()
    assert verify(here, dataset, 1).manifest_sha256 == verify(there, dataset, 1).manifest_sha256
    for path, data in FILES.items():
        assert (here / dataset / "v1" / path).read_bytes() == data


async def test_a_manifest_lists_every_file_with_size_and_hash(far: Site) -> None:
    page = await far.reader.manifest("picks", 1)
    expected = {path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in FILES.items()}
    assert {file.path: (file.bytes, file.sha256) for file in page.files} == expected
    assert (page.complete, page.produced_by, page.total_bytes) == (True, "job-1", sum(map(len, FILES.values())))


async def test_a_manifest_of_very_many_files_comes_in_pages(far: Site) -> None:
    make_dataset(far.root, {f"{'long-name-' * 15}{number}": b"" for number in range(3000)}, "many")
    page = await far.reader.manifest("many", 1)
    assert len({file.path for file in page.files}) == page.total_files == 3000


async def test_one_file_is_found_among_very_many_without_the_others(far: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    make_dataset(far.root, {f"{'long-name-' * 15}{number}": b"%d" % number for number in range(3000)}, "many")
    path = f"{'long-name-' * 15}2999"
    asked, chunk = list[bytes](), far.reader._bus.request

    async def request(subject: str, payload: bytes, **options: Any) -> bytes:
        asked.append(answer := await chunk(subject, payload, **options))
        return answer

    monkeypatch.setattr(far.reader._bus, "request", request)
    found = await far.reader.find("many", 1, path)
    assert (found.path, found.bytes) == (path, 4)
    assert [len(answer) < 1000 for answer in asked] == [True]
    with pytest.raises(NotFound, match="has no file 'deep'"):
        await far.reader.find("many", 1, "deep")


async def test_a_file_is_read_in_order_from_any_place(far: Site) -> None:
    data = FILES["deep/er/data.bin"]
    for start in (0, 1, 262_144, len(data) - 1, len(data)):
        pieces = far.reader.read("picks", 1, "deep/er/data.bin", size=len(data), start=start)
        assert b"".join([piece async for piece in pieces]) == data[start:]


async def test_a_file_that_is_shorter_than_asked_for_is_an_error(far: Site) -> None:
    with pytest.raises(Internal, match="ends at 5 bytes"):
        _ = [piece async for piece in far.reader.read("picks", 1, "small.txt", size=6)]


@pytest.mark.parametrize(
    "file", ["../v1/small.txt", "/etc/passwd", "deep", "deep/er/../er/data.bin", ".atoll/../small.txt", "", "no", "."]
)
async def test_nothing_outside_the_versions_ledger_can_be_read(far: Site, file: str) -> None:
    with pytest.raises(NotFound):
        await far.reader.chunk(ReadRequest(dataset="picks", version=1, file=file, length=10))


@pytest.mark.parametrize("dataset", ["../picks", "PICKS", "a/b", "", "."])
async def test_a_dataset_that_has_no_valid_name_is_refused(far: Site, dataset: str) -> None:
    with pytest.raises(InvalidInput, match="DNS-1123"):
        await far.reader.manifest(dataset, 1)


async def test_what_is_not_there_is_not_found(far: Site) -> None:
    with pytest.raises(NotFound, match="no version 9"):
        await far.reader.manifest("picks", 9)
    with pytest.raises(NotFound):
        await far.reader.verify("picks", 9)


async def test_a_file_that_is_gone_from_the_volume_is_named(far: Site) -> None:
    (far.root / "picks/v1/small.txt").unlink()
    with pytest.raises(Internal, match=r"file 'small\.txt' of dataset picks version 1 is gone from the volume"):
        await far.reader.chunk(ReadRequest(dataset="picks", version=1, file="small.txt", length=5))


async def test_a_cluster_without_a_mover_is_unavailable(bus: Bus) -> None:
    with pytest.raises(Unavailable):
        await DatasetReader(bus, "nowhere", "ns").manifest("picks", 1)


async def test_a_link_that_someone_put_in_a_versions_place_is_not_followed(far: Site) -> None:
    place = far.root / "picks" / "v1" / "small.txt"
    place.unlink()
    place.symlink_to("/etc/hostname")
    with pytest.raises(Internal, match="cannot be read"):
        await far.reader.chunk(ReadRequest(dataset="picks", version=1, file="small.txt", length=10))


async def test_verification_happens_where_the_files_are(far: Site) -> None:
    assert (await far.reader.verify("picks", 1)).problems == ()
    (far.root / "picks" / "v1" / "small.txt").write_bytes(b"jello")
    assert "SHA-256" in (await far.reader.verify("picks", 1)).problems[0]


async def test_a_version_is_copied_and_is_the_same(far: Site, near: Site) -> None:
    await near.order()
    report = await near.outcome("Succeeded")
    assert_same(near.root, far.root)
    assert (report.total_bytes, report.copied_bytes) == (sum(map(len, FILES.values())),) * 2
    assert report.manifest_sha256 == verify(far.root, "picks", 1).manifest_sha256
    assert report.started_at is not None
    assert report.finished_at is not None
    assert not (near.root / ".transfers" / "picks" / "v1").exists()


async def test_a_copy_that_is_here_already_succeeds_at_once(far: Site, near: Site) -> None:
    await near.order()
    await near.outcome("Succeeded")
    await far.stop()
    await near.order("again")
    assert (await near.outcome("Succeeded", "again")).manifest_sha256


async def test_a_transfer_waits_for_a_source_that_is_away(far: Site, near: Site) -> None:
    await far.stop()
    await near.order()
    await asyncio.sleep(1.5)
    assert "answers" in (await near.outcome("Copying")).message
    far.start()
    await near.outcome("Succeeded")
    assert_same(near.root, far.root)


async def test_a_source_whose_files_rotted_is_found_out(far: Site, near: Site) -> None:
    place = far.root / "picks" / "v1" / "exact.bin"
    data = bytearray(place.read_bytes())
    data[1000] ^= 1
    place.write_bytes(data)
    await near.order()
    assert "SHA-256" in (await near.outcome("Failed")).message
    assert not (near.root / "picks").exists()


async def test_a_source_that_names_files_outside_the_version_is_refused(far: Site, near: Site) -> None:
    folder = far.root / "picks" / "v1"
    ledger = load(folder)
    assert ledger is not None
    evil = (*ledger.files, ManifestFile(path="../../../escaped", bytes=5, sha256=hashlib.sha256(b"hello").hexdigest()))
    save(folder, ledger.model_copy(update={"files": evil, "manifest_sha256": manifest_sha256(evil)}))
    await near.order()
    assert "not a path inside" in (await near.outcome("Failed")).message
    assert not list(near.root.parent.rglob("escaped"))


async def test_a_growing_version_is_not_copied(far: Site, near: Site) -> None:
    folder = far.root / "picks" / "v1"
    ledger = load(folder)
    assert ledger is not None
    save(folder, ledger.model_copy(update={"complete": False}))
    await near.order()
    await asyncio.sleep(1)
    assert (await near.outcome("Copying")).copied_bytes == 0
    assert not (near.root / "picks").exists()


@pytest.mark.faults
async def test_a_killed_mover_goes_on_where_it_was(far: Site, bus: Bus, nats_server: Any, tmp_path: Path) -> None:
    """Both ends are killed (-9) again and again; bytes that are here are not fetched again, and the end is the same."""
    big = {f"part-{number}": random.Random(number).randbytes(6_000_000) for number in range(4)}
    make_dataset(far.root, big, "big")
    near = Site(bus, nats_server.url, tmp_path / "near", "near")
    await near.order(dataset="big")
    command = [sys.executable, "-c", RUNNER, "near", "ns", nats_server.url, str(near.root)]
    stage = near.root / ".transfers" / "big" / "v1"

    def here() -> int:
        return bytes_below(stage)

    kept = 0
    for _ in range(3):
        process = subprocess.Popen(command)

        async def further() -> bool:
            return here() > kept + 1_000_000 or (near.root / "big" / "v1").exists()  # noqa: B023

        await until(further, 30)
        process.kill()
        process.wait()
        assert here() >= kept or (near.root / "big" / "v1").exists()
        kept = here()
        await far.stop()
        far.start()
    near.start()
    await near.outcome("Succeeded", seconds=40)
    await near.stop()
    assert verify(near.root, "big", 1).problems == ()
    assert {path: (near.root / "big" / "v1" / path).read_bytes() for path in big} == big
    assert (near.root / "big" / "v1" / LEDGER).is_file()
