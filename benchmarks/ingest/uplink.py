"""The gateway's outbox and uplink beside the link's limit, window x size / round trip, and how soon after an outage.

    python benchmarks/ingest/uplink.py [--round-trip 0.06] [--outages 20] [-o json]

A real nats-server that syncs before it acknowledges, and a proxy in this process that delays every byte. CPU time is of
this process, which is the gateway; the proxy's part is measured apart, by a run without the delay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import structlog
from delaying_proxy import DelayingProxy
from nats_process import Server

from atoll.edge.gateway.buffers import Rules
from atoll.edge.gateway.drafts import Draft, Packed
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox
from atoll.edge.gateway.uplink import Uplink
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.envelope import Reading
from atoll.federation.bus.extent import StreamExtent
from atoll.federation.bus.subjects import lab_prefix, lab_stream, uplink_prefix

_NOISE = random.Random(1)
_KEY = StreamKey("ns", "anmo")


def batch(count: int, size: int) -> Packed:
    """Give readings that look like an instrument's: half of each is noise."""
    draft = Draft(_KEY, "anmo.run")
    half = size // 2
    for number in range(count):
        payload = b'{"t":%d,"v":"%s"}' % (number, _NOISE.randbytes(half // 2).hex().encode())
        draft.readings.append(Reading(number, "lab/anmo/data", payload.ljust(size, b" ")))
    return Packed(drafts=[draft])


async def make_log(bus: Bus) -> None:
    """Make the log of the gateway."""
    name, prefix, taken_in = lab_stream("lab"), lab_prefix("lab"), uplink_prefix("lab")
    await bus.ensure_log(name, prefix, max_bytes=4_000_000_000, taken_in=taken_in)


async def until_stored(bus: Bus, count: int) -> float:
    """Wait until the log holds so many envelopes; give the instant."""
    while (await StreamExtent.read(bus, lab_stream("lab"))).last_sequence < count:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.01)
    return time.monotonic()


async def throughput(home: Path, *, window: int, size: int, count: int, round_trip: float) -> dict[str, float]:
    """Forward a backlog over a slow link, one without delay, and one envelope at a time: what an answer takes."""
    server = Server.launch(home / "nats")
    outbox = Outbox(home / "outbox.db", gateway="lab")
    outbox.follow(Rules(), is_compressed=False)
    near = await Bus.connect(server.url, name="near")
    await make_log(near)
    rates = []
    for delay, width, envelopes in ((0.0, window, count), (round_trip, window, count), (round_trip, 1, 20)):
        for _ in range(envelopes):
            outbox.store(batch(1, size), now=0)
        proxy = DelayingProxy(server.port, round_trip_seconds=delay)
        await proxy.start()
        far = await Bus.connect(f"nats://127.0.0.1:{proxy.port}", name="far")
        held = (await StreamExtent.read(near, lab_stream("lab"))).last_sequence
        running = asyncio.create_task(Uplink(outbox, gateway="lab", window=width).run(far))
        first = await until_stored(near, held + width)
        last = await until_stored(near, held + envelopes)
        rates.append((envelopes - width) * size / (last - first))
        await stop(running, far)
        await proxy.cut()
    await near.close()
    outbox.close()
    server.kill9()
    limit, met = window * size / round_trip, size / rates[2]
    return {
        "window": window,
        "bytes": size,
        "MB/s": rates[1] / 1e6,
        "window x size / RTT": limit / 1e6,
        "without delay MB/s": rates[0] / 1e6,
        "of the link": rates[1] / limit,
        "one at a time s": met,
        "of window x that": rates[1] * met / (window * size),
    }


async def outages(home: Path, *, count: int, round_trip: float) -> dict[str, float]:
    """Cut the link and give it back; measure from then until a new reading is stored."""
    server = Server.launch(home / "nats")
    proxy = DelayingProxy(server.port, round_trip_seconds=round_trip)
    await proxy.start()
    outbox = Outbox(home / "outbox.db", gateway="lab")
    near = await Bus.connect(server.url, name="near")
    await make_log(near)
    far = await Bus.connect(f"nats://127.0.0.1:{proxy.port}", name="far", spread_seconds=2.0)
    uplink = Uplink(outbox, gateway="lab")
    running = asyncio.create_task(uplink.run(far))
    taken = []
    for number in range(1, count + 1):
        await asyncio.sleep(0.2)
        await proxy.cut()
        outbox.store(batch(1, 200), now=0)
        uplink.wake()
        await asyncio.sleep(_NOISE.uniform(0.5, 4.0))
        await proxy.start()
        back = time.monotonic()
        taken.append(await until_stored(near, number) - back)
    await stop(running, far, near)
    await proxy.cut()
    outbox.close()
    server.kill9()
    return {"outages": count, "median s": median(taken), "longest s": max(taken)}


async def stop(running: asyncio.Task[None], *buses: Bus) -> None:
    """End forwarding, and close the connections."""
    running.cancel()
    await asyncio.wait({running})
    for bus in buses:
        await bus.close()


async def cpu(home: Path, *, envelopes: int) -> dict[str, float]:
    """CPU of this process per reading of 200 bytes, in envelopes of 256: stored, and forwarded without any delay."""
    server = Server.launch(home / "nats")
    found: dict[str, float] = {}
    for is_compressed in (False, True):
        outbox = Outbox(home / f"outbox-{is_compressed}.db", gateway=f"lab{is_compressed}".lower())
        outbox.follow(Rules(), is_compressed=is_compressed)
        batches = [batch(256, 200) for _ in range(envelopes)]
        before = time.process_time()
        for each in batches:
            outbox.store(each, now=0)
        stored = time.process_time() - before
        name = "zstd" if is_compressed else "plain"
        found[f"store {name} us"] = stored / envelopes / 256 * 1e6
        found[f"bytes {name}"] = outbox.bytes / envelopes / 256
        found[f"forward {name} us"] = await _forwarded(outbox, server.url, envelopes * 256) / envelopes / 256 * 1e6
        outbox.close()
    server.kill9()
    return found


async def _forwarded(outbox: Outbox, url: str, readings: int) -> float:
    bus = await Bus.connect(url, name="uplink")
    name = outbox._origin.gateway
    await bus.ensure_log(lab_stream(name), lab_prefix(name), max_bytes=3_000_000_000, taken_in=uplink_prefix(name))
    uplink = Uplink(outbox, gateway=name)
    before = time.process_time()
    running = asyncio.create_task(uplink.run(bus))
    while uplink.sent_readings[_KEY] < readings:  # noqa: ASYNC110 - it has no event for a benchmark
        await asyncio.sleep(0.02)
    spent = time.process_time() - before
    await stop(running, bus)
    return spent


def memory(home: Path, *, small: int, large: int) -> dict[str, float]:
    """Peak memory of a process of its own that has a large outbox, many envelopes and full ones, and forwards all."""
    outbox = Outbox(home / "outbox.db", gateway="lab")
    outbox.follow(Rules(), is_compressed=False)
    for _ in range(small // 500):
        drafts = [Draft(_KEY, "d", readings=[Reading(0, "t", b"x" * 200)]) for _ in range(500)]
        outbox.store(Packed(drafts=drafts), now=0)
    for _ in range(large):
        outbox.store(batch(256, 2000), now=0)
    size, waiting = outbox.bytes, outbox.readings
    outbox.close()
    server = Server.launch(home / "nats")
    command = [sys.executable, __file__, "--forward", str(home / "outbox.db"), server.url, str(waiting)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()[-1])
    server.kill9()
    return {"outbox MB": size / 1e6, "envelopes": small + large, **told}


async def forward(path: Path, url: str, waiting: int) -> None:
    """Forward an outbox, and print what this process took: the part of `memory` that is another process."""
    at_start = peak_mb()
    outbox = Outbox(path, gateway="lab")
    opened = peak_mb()
    spent = await _forwarded(outbox, url, waiting)
    outbox.close()
    print(json.dumps({"at start MB": at_start, "opened MB": opened, "peak MB": peak_mb(), "cpu s": spent}))


def peak_mb() -> float:
    """Give the most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Take all measures."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        names = iter(range(100))

        def place() -> Path:
            path = home / str(next(names))
            path.mkdir()
            return path

        return {
            "memory": memory(place(), small=50_000, large=400),
            "cpu": await cpu(place(), envelopes=400),
            "throughput": [
                await throughput(place(), window=window, size=size, count=count, round_trip=arguments.round_trip)
                for window, size, count in ((8, 50_000, 300), (16, 50_000, 400), (64, 8_000, 1500))
            ],
            "outages": await outages(place(), count=arguments.outages, round_trip=arguments.round_trip),
        }


def main() -> None:
    """Measure and print."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--round-trip", type=float, default=0.06, metavar="SECONDS")
    parser.add_argument("--outages", type=int, default=20)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    parser.add_argument("--forward", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.forward:
        path, url, waiting = arguments.forward
        asyncio.run(forward(Path(path), url, int(waiting)))
        return
    found = asyncio.run(measure(arguments))
    if arguments.output == "json":
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        for row in value if isinstance(value, list) else [value]:
            assert isinstance(row, dict)
            print(f"{name:<11}", "  ".join(f"{key} {number:.4g}" for key, number in row.items()))


if __name__ == "__main__":
    main()
