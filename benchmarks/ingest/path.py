"""The whole way of readings: 20 instruments, Mosquitto, gateway, NATS, sink, files, with every step durable.

A broker has queued the same readings for each contender, one after the other, in an order that changes each round:
`mosquitto_sub > file`; a second Mosquitto that bridges from the first, with `mosquitto_sub > file` at its own end; one
that bridges on into the MQTT listener of a nats-server, with `mosquitto_sub > file` there; and Atoll with either
receiver. Of the first three only that nats-server syncs to disk. Atoll's processes run and wait for their orders; the
time is from the orders (of the bridge: from its start) until the bytes of all readings are in files. CPU is that of all
processes behind the first broker meanwhile.

With `--latency N`, N readings one at a time through an idle path: from the instrument's send until the byte is in its
file, beside what a write and fsync of that size takes on the same disk.

    python benchmarks/ingest/path.py [--readings 60000] [--bytes 200] [--rounds 3] [--latency 200] [-o json]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

from bridges import Result, bridged, bridged_into_nats
from nats_process import Server
from processes import GATEWAY, Running, heard, order, prepare

from atoll.edge.gateway.mqtt import Session
from atoll.federation.bus.connection import Bus
from atoll.federation.resources.gateway import GatewaySpec
from gateway import instrument, leave_out, publish, run, start_broker, subscribe

CONTENDERS = ("mosquitto_sub", "bridge", "bridge, NATS", "atoll, fast", "atoll, paho")
# NATS syncs each message by itself, which takes a millisecond: of as many as the others get it would take minutes.
_NATS_PART = 10
_DATASET, _FILES = "d.run", "d.run/v1/lab*"
# The sink has no word before its first order; until then it only starts.
_START_SECONDS, _DEADLINE_SECONDS, _LOOK_SECONDS = 5.0, 120.0, 0.02


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=60_000)
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=int, default=200, help="readings through an idle path; 0 leaves it out")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    rounds = [one_round(number, options) for number in range(options.rounds)]
    found = {contender: medians(rounds, contender) for contender in CONTENDERS}
    if options.latency:
        found["latency"] = latency(options.latency)
    print(json.dumps(found) if options.output == "json" else text(found))


def one_round(number: int, options: argparse.Namespace) -> dict[str, Result]:
    """Let every contender take the same load."""
    turn = number % len(CONTENDERS)
    return {contender: carried(contender, options) for contender in (*CONTENDERS[turn:], *CONTENDERS[:turn])}


def carried(contender: str, options: argparse.Namespace) -> Result:
    """Load a broker for a contender, and let it take all of that; gives the time and CPU of a reading."""
    readings = options.readings // (_NATS_PART if contender == "bridge, NATS" else 1)
    found = _carried(contender, readings, options.bytes)
    return {key: value / readings for key, value in found.items()}


def _carried(contender: str, readings: int, size: int) -> Result:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        port, broker = start_broker(home)
        stack.callback(broker.kill)
        subscribe(session_of(contender), port)
        asyncio.run(publish(port, readings, size))
        if contender == "mosquitto_sub":
            return run(contender, port, readings, home)
        if contender.startswith("bridge"):
            bridge = bridged if contender == "bridge" else bridged_into_nats
            return bridge(port, home / "second", readings)
        with Site(home, port, contender.rpartition(" ")[2]) as site:
            return asyncio.run(site.carry(readings * size))


def session_of(contender: str) -> str:
    """Give the session that the broker queues for."""
    if contender.startswith("bridge"):
        return "bridge"
    return Session.of(GATEWAY, GatewaySpec().mqtt).client_id if contender.startswith("atoll") else contender


class Site:
    """NATS, a gateway and a sink behind a broker."""

    def __init__(self, home: Path, broker: int, receiver: str) -> None:
        self._volume = home / "volume"
        self._volume.mkdir()
        server = Server.launch(home / "nats")
        self._url = server.url
        self._parts = {"nats": Running(server.process)}
        places = {"gateway": home / "state", "sink": self._volume}
        for part, folder in places.items():
            more = {"broker": f"mqtt://127.0.0.1:{broker}", "receiver": receiver} if part == "gateway" else {}
            self._parts[part] = Running.start(part, home / f"{part}.log", nats=self._url, folder=folder, **more)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        for part in reversed(self._parts.values()):
            part.end()

    async def carry(self, wanted: int) -> Result:
        """Order the Stream and wait until so many bytes are in files."""
        bus = await self._ready()
        try:
            before, began = self._cpu(), time.monotonic()
            await order(bus, topics=["lab/#"], dataset=_DATASET)
            while self.written() < wanted:
                assert time.monotonic() - began < _DEADLINE_SECONDS, "not all readings came"
                await asyncio.sleep(_LOOK_SECONDS)
            seconds = time.monotonic() - began
        finally:
            await bus.close()
        parts = {f"{name}_cpu": value - before[name] for name, value in self._cpu().items()}
        return {"seconds": seconds, "cpu": sum(parts.values()), **parts}

    async def one_at_a_time(self, port: int, count: int) -> list[float]:
        """Order the Stream, and give the seconds that each of some readings takes through the idle path."""
        bus = await self._ready()
        found: list[float] = []
        try:
            await order(bus, topics=["lab/#"], dataset=_DATASET)
            for number in range(count + 1):
                before, began = self.written(), time.monotonic()
                await instrument(port, number % 20, 1, 200)
                found.append(await self._until_more(before) - began)
        finally:
            await bus.close()
        return found[1:]  # the first one waits for the order, and makes the folder, the ledger and the file

    async def _until_more(self, before: int) -> float:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while self.written() == before:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.001)
        return time.monotonic()

    async def _ready(self) -> Bus:
        bus = await Bus.connect(self._url, name="benchmark")
        await prepare(bus)
        await heard(bus)
        await asyncio.sleep(_START_SECONDS)
        return bus

    def written(self) -> int:
        """Give the bytes in files."""
        return sum(path.stat().st_size for path in self._volume.glob(_FILES))

    def _cpu(self) -> dict[str, float]:
        return {name: part.cpu_seconds for name, part in self._parts.items()}


def latency(count: int) -> Result:
    """Measure the idle path, and the disk under it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        port, broker = start_broker(home)
        stack.callback(broker.kill)
        subscribe(session_of("atoll, fast"), port)
        site = stack.enter_context(Site(home, port, "fast"))
        found = asyncio.run(site.one_at_a_time(port, count))
        return {**spread("path", found), **spread("fsync", [synced(home / "probe") for _ in range(count)])}


def synced(path: Path) -> float:
    """Write and sync as much as a reading is; give the seconds."""
    began = time.monotonic()
    with path.open("ab", buffering=0) as file:
        file.write(b"x" * 200)
        os.fsync(file.fileno())
    return time.monotonic() - began


def spread(name: str, seconds: Sequence[float]) -> Result:
    """Give median and 99th percentile in milliseconds."""
    return {f"{name}_p50_ms": median(seconds) * 1000, f"{name}_p99_ms": quantiles(seconds, n=100)[98] * 1000}


def medians(rounds: list[dict[str, Result]], contender: str) -> Result:
    """Give medians: readings a second, beside mosquitto_sub in the same round, CPU microseconds a reading."""
    mine = [one[contender] for one in rounds]
    return {
        "readings_per_second": 1 / median(one["seconds"] for one in mine),
        "ratio": median(one["mosquitto_sub"]["seconds"] / one[contender]["seconds"] for one in rounds),
        **{
            f"{key.removesuffix('_cpu')}_us": median(one[key] for one in mine) * 1e6
            for key in mine[0]
            if key.endswith("cpu")
        },
    }


def text(found: dict[str, Result]) -> str:
    """Write a table."""
    columns = ("gateway_us", "nats_us", "sink_us")
    lines = [f"{'':14}{'readings/s':>12}{'ratio':>8}{'CPU us':>9}" + "".join(f"{name:>12}" for name in columns)]
    for name, one in found.items():
        if name == "latency":
            lines.append("one at a time: " + ", ".join(f"{key} {value:.1f}" for key, value in one.items()))
            continue
        parts = "".join(f"{one[key]:12.1f}" if key in one else f"{'':12}" for key in columns)
        speed = f"{one['readings_per_second']:12,.0f}{one['ratio']:8.2f}"
        lines.append(f"{name:14}{speed}{one['cpu_us']:9.1f}{parts}")
    return "\n".join(lines)


if __name__ == "__main__":
    if shutil.which("mosquitto_sub") is None:
        leave_out("mosquitto_sub")
    main()
