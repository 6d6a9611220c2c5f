"""Chunks of large files: sent once however often, refused when there is no room, dropped when nobody needs them."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from atoll.federation.bus.chunk_reader import ChunkReader
from atoll.federation.bus.chunks import Chunk, ChunkTrimmer, ChunkWriter, Upload
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import chunks_prefix, chunks_stream, files_prefix
from atoll.federation.errors import InvalidInput, NotFound, Unavailable

UPLOAD = Upload("ns", "s", "ab-1", 0)


async def make_room(bus: Bus, lab: str, size: int = 1 << 26) -> None:
    await bus.ensure_chunks(chunks_stream(lab), files_prefix(lab), max_bytes=size, taken_in=chunks_prefix(lab))


@pytest.fixture
async def lab(shared_nats_server: Any, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Bus, str]]:
    connection = await Bus.connect(shared_nats_server.url, name="chunks")
    name = f"lab-{abs(hash(request.node.name)) % 10**8}"
    await make_room(connection, name)
    yield connection, name
    await connection.api(f"STREAM.DELETE.{chunks_stream(name)}")
    await connection.close()


async def stored(bus: Bus, lab: str, upload: Upload = UPLOAD, after: int = 0) -> list[Chunk]:
    return [chunk async for chunk in ChunkReader(bus, lab).read(upload, after=after)]


async def send(bus: Bus, lab: str, *indexes: int, upload: Upload = UPLOAD, size: int = 1000) -> None:
    writer = ChunkWriter(bus, lab)
    async with writer.session():
        for index in indexes:
            await writer.send(upload, index, hashlib.sha256(b"%d" % index).digest() + b"%d" % index * size)
        await writer.flush()


async def test_what_is_sent_twice_is_stored_once_and_what_is_there_is_told(lab: tuple[Bus, str]) -> None:
    bus, name = lab
    await send(bus, name, 0, 1, 2)
    assert await ChunkWriter(bus, name).present(UPLOAD, size=5000) == {0, 1, 2}
    await send(bus, name, *range(5))
    chunks = await stored(bus, name)
    assert [(chunk.index, chunk.content[:1]) for chunk in chunks] == [(n, b"%d" % n) for n in range(5)]
    assert chunks[3].digest == hashlib.sha256(b"3").digest()
    assert [chunk.index for chunk in await stored(bus, name, after=chunks[2].sequence)] == [3, 4]
    assert await stored(bus, name, UPLOAD._replace(name="ab-2")) == []


async def test_attempts_lie_beside_each_other_and_an_upload_that_was_given_up_says_why(lab: tuple[Bus, str]) -> None:
    bus, name = lab
    await send(bus, name, 0)
    await send(bus, name, 0, upload=UPLOAD._replace(attempt=1))
    for _ in range(2):
        await ChunkWriter(bus, name).give_up(UPLOAD, "it was deleted")
    found = await stored(bus, name)
    assert [(chunk.attempt, chunk.gone) for chunk in found] == [(0, ""), (1, ""), (0, "it was deleted")]
    assert await ChunkWriter(bus, name).present(UPLOAD, size=1) == {0}


async def test_a_full_room_refuses_and_takes_the_rest_when_it_has_room(lab: tuple[Bus, str]) -> None:
    bus, name = lab
    await make_room(bus, name, 1 << 20)
    with pytest.raises(Unavailable, match="maximum bytes"):
        await send(bus, name, *range(30), size=100_000 // 2)
    present = await ChunkWriter(bus, name).present(UPLOAD, size=1000)
    assert 0 < len(present) < 30
    await make_room(bus, name)
    await send(bus, name, *(set(range(30)) - present), size=100_000 // 2)
    assert len(await stored(bus, name)) == 30


async def test_a_file_that_could_never_fit_is_refused_with_what_to_change(lab: tuple[Bus, str]) -> None:
    bus, name = lab
    with pytest.raises(InvalidInput, match="filesBytes"):
        await ChunkWriter(bus, name).present(UPLOAD, size=1 << 40)


async def test_without_a_room_nothing_is_taken_for_stored(lab: tuple[Bus, str]) -> None:
    bus, _ = lab
    with pytest.raises(NotFound):
        await ChunkWriter(bus, "nobody").present(UPLOAD, size=1)
    with pytest.raises(Unavailable):
        await send(bus, "nobody", 0)


async def test_dropping_an_upload_leaves_the_others(lab: tuple[Bus, str]) -> None:
    bus, name = lab
    other = UPLOAD._replace(stream="t", name="ab-2")
    await send(bus, name, 0, 1)
    await send(bus, name, 0, upload=other)
    trimmer = ChunkTrimmer(bus, name)
    assert await trimmer.uploads() == {(f"files.{name}.ns.s", "ab-1"), (f"files.{name}.ns.t", "ab-2")}
    await trimmer.drop("ab-1")
    await trimmer.drop("ab-1")
    assert await trimmer.uploads() == {(f"files.{name}.ns.t", "ab-2")}
