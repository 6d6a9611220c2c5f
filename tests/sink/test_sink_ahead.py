"""Files that grow on the volume while their chunks still arrive: nothing of it counts before it is proven."""

import asyncio
import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from atoll.edge.sink import part as parts
from atoll.edge.sink.ahead import ReadAhead
from atoll.edge.sink.landing import Landing
from atoll.edge.sink.part import Part
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.chunk_reader import ChunkReader
from atoll.federation.bus.chunks import Chunk, ChunkTrimmer, ChunkWriter, Upload
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.bus.file_messages import FileManifest
from atoll.federation.bus.subjects import chunks_prefix, chunks_stream, files_prefix

STEP, COUNT = 100, 12
CONTENT = bytes(range(256)) * 5
CONTENT = CONTENT[: STEP * (COUNT - 1) + 37]
UPLOAD = Upload("ns", "s", "ab-1", 0)


def manifest(content: bytes = CONTENT, *, name: str = UPLOAD.name, step: int = STEP) -> FileManifest:
    return FileManifest(
        number=1,
        path="raw/a.tif",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        modified_at=datetime(2026, 11, 22, tzinfo=UTC),
        upload=name,
        chunk_bytes=step,
    )


def chunks(content: bytes = CONTENT, *, attempt: int = 0, first: int = 1) -> list[Chunk]:
    return [
        Chunk(first + n, attempt, n, hashlib.sha256(content[: at + STEP]).digest(), content[at : at + STEP])
        for n, at in enumerate(range(0, len(content), STEP))
    ]


class Event(NamedTuple):
    """What happens to a part before its manifest comes: a chunk of an attempt, perhaps spoilt, or a kill."""

    index: int
    attempt: int
    how: str


EVENTS = some.lists(
    some.builds(
        Event,
        some.integers(0, COUNT),
        some.integers(0, 1),
        some.sampled_from(["right", "right", "right", "rotten", "cut", "long", "lie", "kill"]),
    ),
    max_size=30,
)


def happened(event: Event, sequence: int) -> Chunk:
    right = [*chunks(attempt=event.attempt), Chunk(0, event.attempt, COUNT, b"x" * 32, b"beyond")][event.index]
    content = bytes(right.content)
    spoilt = {
        "rotten": replace(right, content=bytes((content[0] ^ 1,)) + content[1:]),
        "cut": replace(right, content=content[:-1]),
        "long": replace(right, content=content + b"x"),
        "lie": replace(right, digest=b"y" * 32),
    }
    return replace(spoilt.get(event.how, right), sequence=sequence)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, in_order=some.integers(0, COUNT))
def test_whatever_came_ahead_a_file_is_never_whole_with_another_content_and_always_comes(
    events: list[Event], in_order: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_MARK_BYTES", 3 * STEP)
        place, done, log = Path(folder) / "ab-1", Path(folder) / "done", chunks()[:in_order]
        part = Part.open(place)
        for chunk in log:
            part.take(chunk)
        for event in events:
            if event.how == "kill":
                part.close()
                part = Part.open(place)
                continue
            log.append(happened(event, len(log) + 1))
            part.take(log[-1])
        part.expect(manifest())
        whole = part.is_whole
        # What the sink asks for in the end: all that is stored behind the place where it is, and a new attempt.
        for chunk in [chunk for chunk in log if chunk.sequence > part.sequence]:
            part.take(chunk)
        if not part.is_whole:
            assert not whole
            for chunk in chunks(attempt=part.attempt + 1, first=1000):
                part.take(chunk)
        assert part.is_whole
        part.finish(done)
        part.close()
        assert done.read_bytes() == CONTENT
        assert [path.name for path in Path(folder).iterdir()] == ["done"]


def test_what_came_ahead_in_order_is_all_there_when_the_manifest_comes(tmp_path: Path) -> None:
    with contextlib.closing(Part.open(tmp_path / "p")) as part:
        for chunk in chunks():
            part.take(chunk)
        assert not part.is_whole
        assert part.expect(manifest())
        assert part.is_whole


@pytest.mark.parametrize("expected", [manifest(CONTENT + b"more"), manifest(CONTENT[:-1]), manifest(step=STEP + 1)])
def test_what_came_ahead_of_another_size_or_step_is_dropped(tmp_path: Path, expected: FileManifest) -> None:
    with contextlib.closing(Part.open(tmp_path / "p")) as part:
        for chunk in chunks():
            part.take(chunk)
        part.expect(expected)
        assert not part.is_whole


def test_a_part_that_is_closed_writes_nothing_into_a_file_that_has_got_its_number(tmp_path: Path) -> None:
    part = Part.open(tmp_path / "p")
    part.close()
    with (tmp_path / "other").open("w+b") as other:
        with pytest.raises(OSError, match="Bad file descriptor"):
            part.take(chunks()[0])
        assert other.read() == b""


class World:
    """A lab's chunks on a real server, and who reads them ahead."""

    def __init__(self, bus: Bus, volume: Path) -> None:
        self.bus, self.volume = bus, volume
        self.wanted: list[Any] = []
        self.begin()

    def begin(self) -> None:
        """Be a sink that has just started."""
        self.landing = Landing(self.bus, Volume(self.volume), lambda _, uploads: self.wanted.append(uploads))
        self.ahead = self.landing.ahead("lab", "ns", "s")

    @property
    def folder(self) -> Path:
        return self.volume / ".atoll" / "uploads" / "lab" / "s"

    async def send(self, given: Iterable[Chunk], *, name: str = UPLOAD.name) -> None:
        writer = ChunkWriter(self.bus, "lab")
        async with writer.session():
            for chunk in given:
                upload = Upload("ns", "s", name, chunk.attempt)
                await writer.send(upload, chunk.index, chunk.digest + bytes(chunk.content))
            await writer.flush()

    async def until_ahead(self, size: int, name: str = UPLOAD.name) -> None:
        """Wait until so much of an upload is on the volume."""
        place = self.folder / name
        await until(lambda: place.is_file() and place.stat().st_size >= size)

    async def land(self, name: str = UPLOAD.name, content: bytes = CONTENT) -> bytes:
        reading = Reading(0, "raw/a.tif", manifest(content, name=name).pack())
        (found,) = await self.landing.bring(Envelope("a" * 32, "lab", "ns", "s", "run", 1, 1, (reading,), False, True))
        assert found.part is not None
        return found.part.read_bytes()


async def until(is_so: Any) -> None:
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def reading(ahead: ReadAhead) -> AsyncIterator[None]:
    task = asyncio.create_task(ahead.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
async def world(nats_server: Any, tmp_path: Path) -> AsyncIterator[World]:
    bus = await Bus.connect(nats_server.url, name="ahead")
    await bus.ensure_chunks(chunks_stream("lab"), files_prefix("lab"), max_bytes=1 << 26, taken_in=chunks_prefix("lab"))
    (tmp_path / "volume").mkdir()
    yield World(bus, tmp_path / "volume")
    await bus.close()


async def test_content_is_on_the_volume_before_the_rest_was_sent_and_is_not_read_again(world: World) -> None:
    async with reading(world.ahead):
        await world.send(chunks()[:8])
        await world.until_ahead(8 * STEP)
        await world.send(chunks()[8:])
        await world.until_ahead(len(CONTENT))
        await ChunkTrimmer(world.bus, "lab").drop(UPLOAD.name)  # so that nobody could read it again
        assert await world.land() == CONTENT
    assert world.wanted == [()]


async def test_a_sink_that_ended_in_the_middle_of_a_file_goes_on_from_what_it_had(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_MARK_BYTES", 4 * STEP)
    async with reading(world.ahead):
        await world.send(chunks()[:8])
        await world.until_ahead(8 * STEP)
        await until((world.folder / "ab-1.mark").exists)
    world.begin()
    with contextlib.closing(Part.open(world.folder / UPLOAD.name)) as part:
        assert part.sequence >= 4
    async with reading(world.ahead):
        await world.send(chunks()[8:])
        assert await world.land() == CONTENT
    assert world.wanted == [()]


async def test_a_chunk_that_rotted_ahead_is_wanted_again_and_the_file_comes(world: World) -> None:
    rotten = replace(chunks()[3], content=b"z" * STEP)
    async with reading(world.ahead):
        await world.send([*chunks()[:3], rotten, *chunks()[4:]])
        await world.until_ahead(3 * STEP)
        landing = asyncio.create_task(world.land())
        await until(lambda: any(world.wanted))
        assert [(one.upload, one.attempt) for one in world.wanted[0]] == [("ab-1", 0)]
        await world.send(chunks(attempt=1))
        assert await landing == CONTENT


async def test_what_its_gateway_began_and_the_hub_has_dropped_leaves_the_volume(world: World) -> None:
    async with reading(world.ahead):
        await world.send(chunks()[:8])
        await world.until_ahead(8 * STEP)
        await ChunkTrimmer(world.bus, "lab").drop(UPLOAD.name)
        await world.send(chunks()[:8], name="ab-2")
        await world.until_ahead(8 * STEP, "ab-2")
        await until(lambda: [path.name for path in world.folder.iterdir()] == ["ab-2"])
    await ChunkTrimmer(world.bus, "lab").drop("ab-2")
    world.begin()
    async with reading(world.ahead):
        await until(lambda: not list(world.folder.iterdir()))


async def test_uploads_that_wait_for_their_envelopes_take_a_bounded_part_of_the_volume(world: World) -> None:
    names = [f"ab-{n}" for n in range(1, 7)]
    async with reading(world.ahead):
        for name in names[:4]:
            await world.send(chunks()[:8], name=name)
            await world.until_ahead(8 * STEP, name)
        for name in names[4:]:
            await world.send(chunks()[:8], name=name)
        for name in names:
            assert len(list(world.folder.iterdir())) <= 4
            await world.send(chunks()[8:], name=name)
            assert await world.land(name) == CONTENT


async def test_a_volume_without_room_for_what_comes_ahead_takes_the_file_when_it_is_wanted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = parts.write_at, [3]

    def write_at(descriptor: int, data: bytes, offset: int) -> None:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= 1
        real(descriptor, data, offset)

    monkeypatch.setattr(parts, "write_at", write_at)
    async with reading(world.ahead):
        await world.send(chunks())
        await until(lambda: not room[0])
        await until(lambda: not list(world.folder.iterdir()))  # it gives back what it took
        room[0] = 1000
        assert await world.land() == CONTENT


async def test_an_upload_whose_name_is_a_path_makes_no_file(world: World) -> None:
    prefix = f"{chunks_prefix('lab')}.ns.s"
    for name in ("/tmp/x-1", "%2e%2e/x-1", "AB-1"):
        await world.bus.store(f"{prefix}.{name}.0.4", os.urandom(40))
    await world.send(chunks()[:8])
    seen = [upload.name async for upload in first(ChunkReader(world.bus, "lab"))]
    assert seen == [UPLOAD.name]


async def first(reader: ChunkReader) -> AsyncIterator[Upload]:
    async with contextlib.aclosing(reader.begun("ns", "s")) as uploads:
        async for upload in uploads:
            yield upload
            return
