"""A file from a folder on the gateway to a dataset on the home's volume, beside `cp` and fsync of the same file.

    python benchmarks/ingest/files.py [--megabytes 400] [--runs 3] [--small 2000] [--rate MB] [--folder FOLDER]

Real processes as the hub starts them: a nats-server that syncs before it acknowledges, a gateway, a sink. The copy runs
right before and after each file on the same disk; two of them are what the file goes through, the hub's disk and the
volume's. Time is from the moment at which the file has its name to that at which its ledger is on the volume, less the
quiet time. CPU is user and system time of each process per megabyte; memory is the most that each had.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from nats_process import Server
from processes import GATEWAY, MEGABYTE, Running, make_room_for_files, order, passing_on_commits, prepare

from atoll.edge.sink.ledger import load
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import chunks_stream

_QUIET_SECONDS = 0.2
_DATASET = "run"


class World:
    """The processes of one data path, and where their files are."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder, self.root = home / "instruments", home / "volume"
        for folder in (self.folder, self.root, home / "other"):
            folder.mkdir()
        server = Server.launch(home / "nats")
        self.url = server.url
        self.parts = {"nats": Running(server.process)}

    def start(self) -> None:
        """Start the gateway and the sink."""
        places = {"gateway": self.home / "state", "sink": self.root}
        for part, folder in places.items():
            log = self.home / f"{part}.log"
            self.parts[part] = Running.start(part, log, nats=self.url, folder=folder, files=[str(self.folder)])

    def stop(self) -> None:
        """End all."""
        for part in reversed(self.parts.values()):
            part.end()

    async def prepare(self, bus: Bus, room: int, *, rate: int | None = None) -> None:
        """Do what the hub does for a gateway with files, which sends so many bytes a second at most."""
        await prepare(bus)
        await make_room_for_files(bus, room)
        rule = {"poll": "100ms", "settle": {"quiet": f"{int(_QUIET_SECONDS * 1000)}ms"}}
        limit = {"bytesPerSecond": rate} if rate is not None else {}
        await order(bus, dataset=_DATASET, files=rule | limit)

    def files(self) -> dict[str, str]:
        """Give what the ledger has."""
        ledger = load(self.root / _DATASET / "v1")
        return {file.path: file.sha256 for file in ledger.files} if ledger is not None else {}

    def cpu(self) -> dict[str, float]:
        """Give the CPU seconds of each part so far."""
        return {name: part.cpu_seconds for name, part in self.parts.items()}

    def memory(self, suffix: str) -> dict[str, float]:
        """Give the most memory that the parts of Atoll had."""
        return {f"{name}_mb{suffix}": self.parts[name].most_mb for name in ("gateway", "sink")}


def write_content(path: Path, megabytes: int) -> str:
    """Make a file that does not compress, a piece at a time; give its SHA-256."""
    piece, whole = os.urandom(MEGABYTE - 32), hashlib.sha256()
    with path.open("wb") as file:
        for number in range(megabytes):
            head = hashlib.sha256(b"%d" % number).digest()
            file.write(head + piece)
            whole.update(head + piece)
    return whole.hexdigest()


def copy(source: Path, target: Path) -> float:
    """Copy a file and sync it; give the seconds."""
    start = time.monotonic()
    subprocess.run(["cp", str(source), str(target)], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    took = time.monotonic() - start
    target.unlink()
    return took


async def until_filed(world: World, count: int) -> float:
    """Wait until the ledger has so many files; give the instant."""
    found = 0
    while found < count:
        await asyncio.sleep(0.02)
        found = len(await asyncio.to_thread(world.files))
    return time.monotonic()


async def large(world: World, bus: Bus, *, megabytes: int, runs: int) -> dict[str, Any]:
    """Send large files one after the other."""
    rows = []
    content = world.home / "content"
    for number in range(runs):
        sha256 = write_content(content, megabytes)
        before = copy(content, world.home / "other" / "copy")
        cpu, known = world.cpu(), len(world.files())
        name = f"scan-{number}"
        shutil.move(content, world.folder / name)
        start = time.monotonic()
        end = await until_filed(world, known + 1)
        used = {part: value - cpu[part] for part, value in world.cpu().items()}
        assert world.files()[name] == sha256
        after = copy(world.folder / name, world.home / "other" / "copy")
        (world.folder / name).unlink()
        await bus.api(f"STREAM.PURGE.{chunks_stream(GATEWAY)}", {})
        took = end - start - _QUIET_SECONDS
        row = {
            "seconds": took,
            "mb_per_second": megabytes / took,
            "cp_seconds": (before + after) / 2,
            "ratio": (before + after) / 2 / took,
        }
        rows.append(row | {f"{name}_ms_per_mb": 1000 * value / megabytes for name, value in used.items()})
    found = {key: median(row[key] for row in rows) for key in rows[0]}
    return found | {"megabytes": megabytes, "two_copies_ratio": 2 * found["ratio"]}


async def small(world: World, count: int) -> dict[str, Any]:
    """Send many files of 4 kB at once."""
    known = len(world.files())
    (world.home / "many").mkdir()
    for number in range(count):
        (world.home / "many" / f"{number}.csv").write_bytes(b"%d" % number * 800)
    cpu = world.cpu()["gateway"]
    start = time.monotonic()
    shutil.move(world.home / "many", world.folder / "many")
    end = await until_filed(world, known + count)
    took = end - start - _QUIET_SECONDS
    return {
        "files": count,
        "files_per_second": count / took,
        "gateway_ms": 1000 * (world.cpu()["gateway"] - cpu) / count,
    }


async def measure(arguments: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Run everything once."""
    world = World(home)
    bus = await Bus.connect(world.url, name="benchmark")
    try:
        rate = None if arguments.rate is None else arguments.rate * MEGABYTE
        await world.prepare(bus, room=2 * arguments.megabytes * MEGABYTE, rate=rate)
        async with passing_on_commits(bus):
            world.start()
            (world.folder / "first").write_bytes(b"all are connected when it has arrived")
            await until_filed(world, 1)
            idle = world.memory("_idle")
            found = await large(world, bus, megabytes=arguments.megabytes, runs=arguments.runs)
            found |= idle | world.memory("")
            return found | {"small": await small(world, arguments.small)} if arguments.small else found
    finally:
        await bus.close()
        world.stop()


def main() -> None:
    """Print the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--small", type=int, default=2000)
    parser.add_argument("--rate", type=int, help="megabytes a second that the gateway sends at most, as on a link")
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as home:
        found = asyncio.run(measure(arguments, Path(home)))
    if arguments.output == "json":
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:24} {value if isinstance(value, dict) else format(value, '.2f')}")


if __name__ == "__main__":
    main()
