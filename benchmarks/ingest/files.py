"""A file from a folder on the gateway to a dataset on the home's volume, beside `cp` and fsync of the same file.

    PYTHONPATH=tests:tests/gateway python benchmarks/ingest/files.py [--megabytes 400] [--runs 3] [--small 2000]

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

import psutil
from datapath import CLUSTER, GATEWAY, NAMESPACE, Process, edge_process, order_streams, passing_on_commits

from atoll.edge.sink.ledger import load
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.bus.subjects import (
    DESIRED_PREFIX,
    DESIRED_STREAM,
    OBSERVED_PREFIX,
    OBSERVED_STREAM,
    chunks_prefix,
    chunks_stream,
    files_prefix,
)
from atoll.federation.resources.stream import StreamSpec
from atoll.local.nats import NatsSettings, find_server, write_config
from nats_servers import free_port

_MEGABYTE = 1_000_000
_QUIET_SECONDS = 0.2
_DATASET = "run"


class World:
    """The processes of one data path, and where their files are."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder, self.root = home / "instruments", home / "volume"
        for folder in (self.folder, self.root, home / "other"):
            folder.mkdir()
        settings = NatsSettings(free_port(), home / "nats")
        write_config(settings, home / "nats.conf")
        self.url = settings.url
        self.nats = Process([str(find_server()), "-c", str(home / "nats.conf")], home / "nats.log")
        self.gateway = edge_process(
            "gateway", home, gateway=GATEWAY, nats_url=self.url, state_dir=home / "state", files=[str(self.folder)]
        )
        self.sink = edge_process("sink", home, cluster=CLUSTER, namespace=NAMESPACE, nats_url=self.url, root=self.root)

    async def prepare(self, bus: Bus, room: int) -> None:
        """Do what the hub does for a gateway with files."""
        await bus.ensure_table(DESIRED_STREAM, DESIRED_PREFIX)
        await bus.ensure_table(OBSERVED_STREAM, OBSERVED_PREFIX)
        stream, prefix = chunks_stream(GATEWAY), files_prefix(GATEWAY)
        await bus.ensure_chunks(stream, prefix, max_bytes=room, taken_in=chunks_prefix(GATEWAY))
        rule = {"poll": "100ms", "settle": {"quiet": f"{int(_QUIET_SECONDS * 1000)}ms"}}
        spec = StreamSpec.model_validate({"gateway": GATEWAY, "dataset": _DATASET, "home": CLUSTER, "files": rule})
        await order_streams(bus, StreamOrder(namespace=NAMESPACE, name="scans", spec=spec))

    def files(self) -> dict[str, str]:
        """Give what the ledger has."""
        ledger = load(self.root / _DATASET / "v1")
        return {file.path: file.sha256 for file in ledger.files} if ledger is not None else {}


def copy(source: Path, target: Path) -> float:
    """Copy a file and sync it; give the seconds."""
    start = time.monotonic()
    subprocess.run(["cp", str(source), str(target)], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    took = time.monotonic() - start
    target.unlink()
    return took


def usage(process: Process) -> tuple[float, float]:
    """Give CPU seconds and the most memory in megabytes of a running process."""
    running = psutil.Process(process._process.pid)  # type: ignore[union-attr]
    times = running.cpu_times()
    peak = Path(f"/proc/{running.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    return times.user + times.system, int(peak) * 1024 / _MEGABYTE


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
        piece = os.urandom(_MEGABYTE)
        content.write_bytes(b"".join(hashlib.sha256(b"%d" % n).digest() + piece[32:] for n in range(megabytes)))
        before = copy(content, world.home / "other" / "copy")
        cpu = {name: usage(getattr(world, name))[0] for name in ("gateway", "sink", "nats")}
        known = len(world.files())
        name = f"scan-{number}"
        shutil.move(content, world.folder / name)
        start = time.monotonic()
        end = await until_filed(world, known + 1)
        used = {name: usage(getattr(world, name))[0] - value for name, value in cpu.items()}
        assert world.files()[name] == hashlib.sha256((world.folder / name).read_bytes()).hexdigest()
        after = copy(world.folder / name, world.home / "other" / "copy")
        (world.folder / name).unlink()
        await bus.api(f"STREAM.PURGE.{chunks_stream(GATEWAY)}", {})
        took = end - start - _QUIET_SECONDS
        row = {"seconds": took, "cp_seconds": (before + after) / 2, "ratio": (before + after) / 2 / took}
        rows.append(row | {f"{name}_ms_per_mb": 1000 * value / megabytes for name, value in used.items()})
    found = {key: median(row[key] for row in rows) for key in rows[0]}
    return found | {"megabytes": megabytes, "two_copies_ratio": 2 * found["ratio"]}


async def small(world: World, count: int) -> dict[str, Any]:
    """Send many files of 4 kB at once."""
    known = len(world.files())
    (world.home / "many").mkdir()
    for number in range(count):
        (world.home / "many" / f"{number}.csv").write_bytes(b"%d" % number * 800)
    cpu = usage(world.gateway)[0]
    start = time.monotonic()
    shutil.move(world.home / "many", world.folder / "many")
    end = await until_filed(world, known + count)
    took = end - start - _QUIET_SECONDS
    return {
        "files": count,
        "files_per_second": count / took,
        "gateway_ms": 1000 * (usage(world.gateway)[0] - cpu) / count,
    }


async def measure(arguments: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Run everything once."""
    world = World(home)
    world.nats.start()
    bus = await Bus.connect(world.url, name="benchmark")
    await world.prepare(bus, room=2 * arguments.megabytes * _MEGABYTE)
    async with passing_on_commits(world.url):
        world.gateway.start()
        world.sink.start()
        try:
            (world.folder / "first").write_bytes(b"all are connected when it has arrived")
            await until_filed(world, 1)
            idle = {f"{name}_mb_idle": usage(getattr(world, name))[1] for name in ("gateway", "sink")}
            found = await large(world, bus, megabytes=arguments.megabytes, runs=arguments.runs)
            memory = {f"{name}_mb": usage(getattr(world, name))[1] for name in ("gateway", "sink")}
            return found | idle | memory | {"small": await small(world, arguments.small)}
        finally:
            world.gateway.end()
            world.sink.end()
            await bus.close()
            world.nats.end()


def main() -> None:
    """Print the measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--small", type=int, default=2000)
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
