"""From a folder to a verified dataset, with real processes that are killed wherever it hurts."""

import asyncio
import contextlib
import functools
import hashlib
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from datapath import (
    CLUSTER,
    GATEWAY,
    NAMESPACE,
    Process,
    Server,
    dataset_report,
    edge_process,
    gateway_report,
    order_streams,
    passing_on_commits,
    until,
)

from atoll.edge.sink.verify import verify
from atoll.federation.bus.chunk_reader import ChunkReader
from atoll.federation.bus.chunks import Upload
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import DatasetReport, StreamOrder
from atoll.federation.bus.subjects import chunks_prefix, chunks_stream, files_prefix
from atoll.federation.errors import Unavailable
from atoll.federation.resources.stream import StreamSpec

DATASET = "run"


def order(**files: Any) -> StreamOrder:
    rule = {"poll": "100ms", "settle": {"quiet": "200ms"}, "endMarker": "END"} | files
    fields = {"gateway": GATEWAY, "dataset": DATASET, "home": CLUSTER, "files": rule}
    return StreamOrder(namespace=NAMESPACE, name="scans", spec=StreamSpec.model_validate(fields))


class FilePath:
    """A gateway with a folder, a sink with a volume."""

    def __init__(self, home: Path, nats: Any, bus: Bus) -> None:
        self.bus, self.nats, self.home = bus, nats, home
        self.folder, self.root = home / "instruments", home / "volume"
        self.folder.mkdir()
        self.root.mkdir()
        self.gateway = edge_process(
            "gateway",
            home,
            gateway=GATEWAY,
            nats_url=nats.url,
            state_dir=home / "state",
            files=[str(self.folder)],
            heartbeat_seconds=0.2,
        )
        self.sink = edge_process("sink", home, cluster=CLUSTER, namespace=NAMESPACE, nats_url=nats.url, root=self.root)

    async def begin(self, rule: StreamOrder, *, room: int = 1 << 28) -> None:
        bus = self.bus
        await bus.ensure_chunks(
            chunks_stream(GATEWAY), files_prefix(GATEWAY), max_bytes=room, taken_in=chunks_prefix(GATEWAY)
        )
        await order_streams(bus, rule)

    def write(self, name: str, size: int) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(size))  # content, no secret
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def contents(self, version: int = 1) -> dict[str, str]:
        """Give the files of a version as plain tools see them."""
        folder = self.root / DATASET / f"v{version}"
        files = [p for p in folder.rglob("*") if p.is_file() and ".atoll" not in p.parts]
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    async def complete(self) -> DatasetReport:
        async def asked() -> Any:
            with contextlib.suppress(Unavailable):
                report = await dataset_report(self.bus, DATASET)
                return report if report is not None and report.complete else None

        found: DatasetReport = await until(asked, 60)
        return found

    async def files(self) -> Any:
        report = await gateway_report(self.bus)
        return report.files[0] if report is not None and report.files else None


@pytest.fixture
async def path(tmp_path: Path, nats_server: Any, bus: Bus) -> AsyncIterator[FilePath]:
    found = FilePath(tmp_path, nats_server, bus)
    async with passing_on_commits(nats_server.url):
        yield found
        found.gateway.end()
        found.sink.end()


def check(path: FilePath, report: DatasetReport, expected: dict[str, str]) -> None:
    assert path.contents(report.version) == expected
    proof = verify(path.root, DATASET, report.version)
    assert (proof.problems, proof.files, proof.received) == ((), len(expected), len(expected))
    assert (proof.gaps, report.ledger.gaps) == (0, 0)


async def test_files_of_all_sizes_become_a_verified_dataset_as_they_were(path: FilePath) -> None:
    """By a gateway that nobody has given a broker: files alone need none, and it says so."""
    await path.begin(order(afterwards="Delete"))
    sizes = {"empty": 0, "raw/small.csv": 100, "raw/deep/edge.bin": 65_536, "edge+1.bin": 65_537, "scan.tif": 3_500_000}
    expected = {name: path.write(name, size) for name, size in sizes.items()}
    path.gateway.start()
    path.sink.start()
    path.write("END", 0)
    report = await path.complete()
    check(path, report, expected)

    async def is_told() -> Any:
        files = await path.files()
        return files is not None and (files.committed, files.waiting, files.sent) == (5, 0, 0)

    await until(is_told)
    told = await gateway_report(path.bus)
    assert told is not None
    assert (told.broker_needed, told.broker_connected) == (False, False)
    assert {p.name for p in path.folder.rglob("*") if p.is_file()} == {"END"}


@pytest.mark.parametrize("seed", [2])
async def test_no_kill_anywhere_loses_or_repeats_a_file(path: FilePath, seed: int) -> None:
    await path.begin(order(bytesPerSecond=4_000_000))
    expected = {f"scan-{n}": path.write(f"scan-{n}", 1_200_000) for n in range(4)}
    expected |= {f"note-{n}": path.write(f"note-{n}", 500) for n in range(6)}
    moments = random.Random(seed)  # a test's choice
    victims: list[Process] = [path.gateway, path.sink, Server(path.nats)]
    path.gateway.start()
    path.sink.start()
    for _ in range(6):
        victim = moments.choice(victims)
        await asyncio.sleep(moments.uniform(0.05, 0.6))  # the moment is what the seed chooses
        victim.end(signal.SIGKILL)
        victim.start()
    path.write("END", 0)
    check(path, await path.complete(), expected)


async def test_a_large_file_comes_whole_though_sink_and_gateway_are_killed_in_its_middle(path: FilePath) -> None:
    await path.begin(order(bytesPerSecond=8_000_000))
    expected = {"scan": path.write("scan", 26_000_000)}
    path.gateway.start()
    path.sink.start()

    async def has_ahead(size: int) -> bool:
        parts = [part for part in (path.root / ".atoll" / "uploads").rglob("*-*") if part.suffix != ".mark"]
        return sum(part.stat().st_size for part in parts) >= size

    for victim, size in ((path.sink, 1), (path.gateway, 12_000_000)):
        await until(functools.partial(has_ahead, size))
        assert path.contents() == {}, "nothing of it shows before all of it is there"
        victim.end(signal.SIGKILL)
        victim.start()
    path.write("END", 0)
    check(path, await path.complete(), expected)
    assert not await has_ahead(1)


async def test_a_file_that_grows_or_is_replaced_while_it_is_read_is_sent_as_it_is_in_the_end(path: FilePath) -> None:
    await path.begin(order(bytesPerSecond=2_000_000))
    path.write("growing", 3_500_000)
    path.gateway.start()
    path.sink.start()

    async def is_sending() -> Any:
        files = await path.files()
        return files is not None and files.sending.startswith("growing")

    await until(is_sending)
    with (path.folder / "growing").open("ab") as file:
        file.write(b"more")
    grown = hashlib.sha256((path.folder / "growing").read_bytes()).hexdigest()
    path.write("END", 0)
    check(path, await path.complete(), {"growing": grown})


async def rot(path: FilePath) -> None:
    """Damage the first chunk of the upload that is there."""
    stream = chunks_stream(GATEWAY)
    info = await path.bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
    subject = min(info["state"]["subjects"])
    _, _, namespace, name, upload, attempt, index = subject.split(".")
    reader = ChunkReader(path.bus, GATEWAY)
    chunk, *_ = [found async for found in reader.read(Upload(namespace, name, upload, int(attempt)))]
    await path.bus.api(f"STREAM.PURGE.{stream}", {"filter": subject})
    rotten = bytes((chunk.content[0] ^ 1,)) + chunk.content[1:]
    written = f"{chunks_prefix(GATEWAY)}.{namespace}.{name}.{upload}.{attempt}.{index}"
    await path.bus.store(written, chunk.digest + rotten)


async def test_what_the_hub_lost_of_a_file_is_sent_again_and_named_if_the_file_is_gone(path: FilePath) -> None:
    async def are_sent(count: int) -> Any:
        files = await path.files()
        return files is not None and files.sent == count

    await path.begin(order())
    path.gateway.start()
    path.write("lost", 2_000_000)
    await until(lambda: are_sent(1))
    await path.bus.api(f"STREAM.PURGE.{chunks_stream(GATEWAY)}", {})
    (path.folder / "lost").unlink()
    expected = {"rotten": path.write("rotten", 3_000_000)}
    await until(lambda: are_sent(2))
    await rot(path)
    path.write("END", 0)
    path.sink.start()
    report = await path.complete()
    assert path.contents() == expected
    assert (report.ledger.received, report.ledger.gaps) == (1, 1)

    async def is_named() -> Any:
        files = await path.files()
        return files is not None and "lost: it was deleted" in files.last_problem

    await until(is_named)


async def test_a_hub_without_room_takes_a_file_when_it_has_room_again(path: FilePath) -> None:
    await path.begin(order(), room=1_500_000)
    expected = {"scan": path.write("scan", 3_000_000), "note": path.write("note", 10)}
    path.gateway.start()
    path.sink.start()

    async def is_said() -> Any:
        files = await path.files()
        return files is not None and "filesBytes" in files.last_problem

    await until(is_said)
    await path.begin(order())
    path.write("END", 0)
    check(path, await path.complete(), expected)
