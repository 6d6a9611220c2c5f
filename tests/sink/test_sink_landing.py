"""Files on their way to a volume: checked chunk by chunk, gone on with after a kill, filed under safe names."""

import asyncio
import contextlib
import errno
import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.sink import part as parts
from atoll.edge.sink.filing import BroughtFile, Filed, place
from atoll.edge.sink.landing import Landing
from atoll.edge.sink.part import Part
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.chunks import Chunk, ChunkWriter, Upload
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.bus.file_messages import FileManifest, WantedUpload
from atoll.federation.bus.subjects import chunks_prefix, chunks_stream, files_prefix

STEP = 1000


def manifest(content: bytes, **changes: Any) -> FileManifest:
    fields = {
        "number": 1,
        "path": "raw/a.tif",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "modifiedAt": "2026-11-22T08:00:00Z",
        "upload": "ab-1",
        "chunkBytes": STEP,
    }
    return FileManifest.model_validate(fields | changes)


def chunks(content: bytes, *, attempt: int = 0, first: int = 1) -> list[Chunk]:
    starts = range(0, len(content), STEP)
    return [
        Chunk(first + n, attempt, n, hashlib.sha256(content[: at + STEP]).digest(), content[at : at + STEP])
        for n, at in enumerate(starts)
    ]


@contextlib.contextmanager
def opened(place: Path, expected: FileManifest | None = None) -> Iterator[Part]:
    with contextlib.closing(Part.open(place)) as part:
        if expected is not None:
            part.expect(expected)
        yield part


def take(place: Path, content: bytes, given: Iterable[Chunk]) -> bool:
    with opened(place, manifest(content)) as part:
        for chunk in given:
            part.take(chunk)
        if part.is_whole:
            part.finish(place)
        return part.is_whole


CONTENT = os.urandom(10 * STEP + 7)


def test_a_file_of_chunks_is_whole_and_has_its_time(tmp_path: Path) -> None:
    assert take(tmp_path / "p", CONTENT, chunks(CONTENT))
    assert (tmp_path / "p").read_bytes() == CONTENT
    assert (tmp_path / "p").stat().st_mtime == manifest(CONTENT).modified_at.timestamp()


@pytest.mark.parametrize("order", ["backwards", "a hole that is filled", "twice"])
def test_the_order_of_chunks_does_not_matter(tmp_path: Path, order: str) -> None:
    given = chunks(CONTENT)
    moved = {
        "backwards": given[::-1],
        "a hole that is filled": given[:2] + given[4:] + given[2:4],
        "twice": given + given,
    }[order]
    assert take(tmp_path / "p", CONTENT, moved)
    assert (tmp_path / "p").read_bytes() == CONTENT


def damaged(given: list[Chunk], how: str) -> list[Chunk]:
    one = given[3]
    other = {
        "a bit": Chunk(one.sequence, 0, 3, one.digest, bytes((one.content[0] ^ 1,)) + one.content[1:]),
        "its digest": Chunk(one.sequence, 0, 3, os.urandom(32), one.content),
        "cut": Chunk(one.sequence, 0, 3, one.digest, one.content[:-1]),
        "too long": Chunk(one.sequence, 0, 3, one.digest, one.content + b"x"),
        "beyond the end": Chunk(one.sequence, 0, 99, one.digest, one.content),
    }[how]
    return [*given[:3], other, *given[4:]]


@pytest.mark.parametrize("how", ["a bit", "its digest", "cut", "too long", "beyond the end"])
def test_a_damaged_chunk_never_becomes_part_of_a_whole_file_and_a_new_attempt_does(tmp_path: Path, how: str) -> None:
    bad, again = damaged(chunks(CONTENT), how), chunks(CONTENT, attempt=1, first=100)
    assert not take(tmp_path / "p", CONTENT, bad)
    assert take(tmp_path / "p", CONTENT, [*bad, *again])
    assert (tmp_path / "p").read_bytes() == CONTENT


def test_chunks_of_another_content_are_never_whole(tmp_path: Path) -> None:
    assert not take(tmp_path / "p", CONTENT, chunks(os.urandom(len(CONTENT))))


def test_a_kill_costs_only_what_was_not_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_MARK_BYTES", 4 * STEP)
    given = chunks(CONTENT)
    assert not take(tmp_path / "p", CONTENT, given[:6])
    with opened(tmp_path / "p", manifest(CONTENT)) as part:
        assert part.sequence == 4
    assert take(tmp_path / "p", CONTENT, given[4:])
    assert (tmp_path / "p").read_bytes() == CONTENT
    assert not (tmp_path / "p.mark").exists()


@pytest.mark.parametrize("what", ["p", "p.mark"])
def test_a_mark_that_is_not_true_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(parts, "_MARK_BYTES", 4 * STEP)
    take(tmp_path / "p", CONTENT, chunks(CONTENT)[:6])
    (tmp_path / what).write_bytes(b"x" * 4000)
    with opened(tmp_path / "p", manifest(CONTENT)) as part:
        assert part.sequence == 0
    assert take(tmp_path / "p", CONTENT, chunks(CONTENT))


def test_the_memory_for_a_file_does_not_grow_with_it(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        piece, digest, size = bytes(64 * STEP), hashlib.sha256(), count * 64 * STEP
        whole = FileManifest.model_validate(manifest(b"").model_dump() | {"size": size, "chunk_bytes": len(piece)})
        tracemalloc.start()
        with opened(tmp_path / f"p{count}", whole) as part:
            for index in range(count):
                digest.update(piece)
                part.take(Chunk(index + 1, 0, index, digest.digest(), piece))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(400) < 2 * peak(20)


def brought(folder: Path, source: str, content: bytes) -> BroughtFile:
    part = folder / f"part-{hashlib.sha256(source.encode(errors='surrogateescape') + content).hexdigest()[:8]}"
    part.write_bytes(content)
    return BroughtFile(source, part, len(content), hashlib.sha256(content).hexdigest(), 0.0)


def paths(filed: Iterable[Filed]) -> list[str]:
    return [item.file.path for item in filed if item.file is not None]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["a.tif", "raw/b.tif"], ["a.tif", "raw/b.tif"]),
        (["a.tif", "a.tif"], ["a.tif", "a~2.tif"]),
        (["a.tif", "A.TIF"], ["a.tif", "A~2.TIF"]),
        (["a", "a/b"], ["a", "a~2/b"]),
        (["a/b", "a"], ["a/b", "a~2"]),
        (["../x", "/x", ".atoll/ledger.json"], ["%2E%2E/x", "%/x", "%2Eatoll/ledger.json"]),
        (["a\0b", "a\nb"], ["a%00b", "a%0Ab"]),
    ],
)
def test_files_get_their_own_names_or_safe_ones_and_never_each_others(
    tmp_path: Path, sources: list[str], expected: list[str]
) -> None:
    version = tmp_path / "v1"
    version.mkdir()
    items = [brought(tmp_path, source, b"%d" % n) for n, source in enumerate(sources)]
    filed = place(version, items, {})
    assert paths(filed) == expected
    assert [(version / path).read_bytes() for path in expected] == [b"%d" % n for n in range(len(sources))]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v1"]


def test_a_content_that_the_version_has_under_its_name_is_repeated_and_nothing_is_written(tmp_path: Path) -> None:
    version = tmp_path / "v1"
    version.mkdir()
    known = place(version, [brought(tmp_path, "a", b"1"), brought(tmp_path, "a", b"2")], {})
    taken = {item.file.path: item.file for item in known if item.file is not None}
    again = place(version, [brought(tmp_path, "a", b"1"), brought(tmp_path, "a", b"2")], taken)
    assert [(item.file and item.file.path, item.is_repeated) for item in again] == [("a", True), ("a~2", True)]
    assert [item.is_repeated for item in known] == [False, False]


def test_what_a_crash_left_in_the_folder_is_written_over_and_what_the_ledger_has_is_not(tmp_path: Path) -> None:
    version = tmp_path / "v1"
    version.mkdir()
    (version / "a").write_text("left of a crash")
    (version / "b").write_text("kept")
    taken = {"b": ManifestFile(path="b", bytes=4, sha256=hashlib.sha256(b"kept").hexdigest())}
    items = [brought(tmp_path, "a", b"new"), brought(tmp_path, "b", b"other")]
    assert paths(place(version, items, taken)) == ["a", "b~2"]
    assert paths(place(version, items, taken)) == ["a", "b~2"], "an attempt that is repeated finds its own work"
    assert ((version / "a").read_text(), (version / "b").read_text()) == ("new", "kept")


def test_a_file_that_will_never_come_takes_no_name(tmp_path: Path) -> None:
    assert place(tmp_path, [BroughtFile("a", None, 0, "", 0.0, "deleted")], {}) == [Filed("a", None)]


@pytest.fixture
async def landing(nats_server: Any, tmp_path: Path) -> AsyncIterator[tuple[Bus, Landing, list[Any]]]:
    bus = await Bus.connect(nats_server.url, name="landing")
    await bus.ensure_chunks(chunks_stream("lab"), files_prefix("lab"), max_bytes=1 << 26, taken_in=chunks_prefix("lab"))
    (tmp_path / "volume").mkdir()
    wanted: list[Any] = []
    yield bus, Landing(bus, Volume(tmp_path / "volume"), lambda _, uploads: wanted.append(uploads)), wanted
    await bus.close()


async def send(bus: Bus, given: Iterable[Chunk]) -> None:
    writer = ChunkWriter(bus, "lab")
    async with writer.session():
        for chunk in given:
            await writer.send(Upload("ns", "s", "ab-1", chunk.attempt), chunk.index, chunk.digest + chunk.content)
        await writer.flush()


def envelope(*payloads: bytes) -> Envelope:
    readings = tuple(Reading(0, "raw/a.tif", payload) for payload in payloads)
    return Envelope("a" * 32, "lab", "ns", "s", "run", 1, 1, readings, holds_files=True)


async def test_a_sink_says_what_it_lacks_and_goes_on_when_it_has_come(landing: tuple[Bus, Landing, list[Any]]) -> None:
    bus, lander, wanted = landing
    await send(bus, damaged(chunks(CONTENT), "a bit"))
    small = manifest(b"small", path="b", upload=None, chunkBytes=None).pack(b"small")
    bringing = asyncio.create_task(lander.bring(envelope(manifest(CONTENT).pack(), small)))
    async with asyncio.timeout(30):
        while not wanted:
            await asyncio.sleep(0.05)
        assert wanted[0] == (WantedUpload(stream="s", upload="ab-1", attempt=0),)
        await send(bus, chunks(CONTENT, attempt=1))
        large, other = await bringing
    assert large.part is not None
    assert other.part is not None
    assert (large.part.read_bytes(), other.part.read_bytes()) == (CONTENT, b"small")
    assert wanted[-1] == ()


async def test_what_was_given_up_or_is_no_manifest_is_lost_and_named(landing: tuple[Bus, Landing, list[Any]]) -> None:
    bus, lander, _ = landing
    await ChunkWriter(bus, "lab").give_up(Upload("ns", "s", "ab-1", 0), "it was deleted")
    lie = manifest(b"x", upload=None, chunkBytes=None).pack(b"y")
    found = await lander.bring(envelope(manifest(CONTENT).pack(), b"{}", lie))
    assert [item.part for item in found] == [None, None, None]
    assert [bool(item.lost) for item in found] == [True, True, True]
    assert found[0].lost == "it was deleted"


async def test_a_full_volume_is_said_and_the_file_comes_when_it_has_room(
    landing: tuple[Bus, Landing, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, lander, _ = landing
    await send(bus, chunks(CONTENT))
    real, left = parts.write_at, [3]

    def write_at(descriptor: int, data: bytes, offset: int) -> None:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        real(descriptor, data, offset)

    monkeypatch.setattr(parts, "write_at", write_at)
    said: list[str] = []

    def told(problem: str) -> None:
        said.append(problem)
        left[0] = 1000

    async with asyncio.timeout(30):
        (found,) = await lander.insist(envelope(manifest(CONTENT).pack()), told)
    assert said == ["[Errno 28] No space left on device"]
    assert found.part is not None
    assert found.part.read_bytes() == CONTENT
