"""The processes of one data path for benchmarks: gateway and sink as the hub starts them, and the hub's part of it.

Owns how they are started, ordered and looked at; what is measured is the benchmarks'. As a program it is one process:

    python benchmarks/ingest/processes.py gateway|sink '<settings as JSON>'
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from atoll.federation.bus.changes import Change
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import GatewayOrder, StreamOrder
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.membership import Membership
from atoll.federation.bus.subjects import (
    DESIRED_PREFIX,
    DESIRED_STREAM,
    OBSERVED_PREFIX,
    OBSERVED_STREAM,
    chunks_prefix,
    chunks_stream,
    desired_prefix,
    files_prefix,
    lab_prefix,
    lab_stream,
    observed_prefix,
    uplink_prefix,
)
from atoll.federation.resources.stream import StreamSpec

GATEWAY, CLUSTER, NAMESPACE, STREAM = "lab", "home", "ns", "readings"
MEGABYTE = 1_000_000
_LOG_BYTES, _OUTBOX_BYTES = 1 << 30, 10**10


@dataclass(frozen=True)
class Running:
    """A process under measurement."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, part: str, log: Path, **settings: Any) -> Running:
        """Start a gateway or a sink."""
        command = [sys.executable, __file__, part, json.dumps(settings, default=str)]
        with log.open("ab") as output:
            return cls(subprocess.Popen(command, stdout=output, stderr=output))

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far, user and system."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    @property
    def most_mb(self) -> float:
        """The most memory that it ever had, in megabytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / MEGABYTE

    def end(self) -> None:
        """Kill it; doing it twice is harmless."""
        self.process.kill()
        self.process.wait()


async def prepare(bus: Bus) -> None:
    """Make the tables by which everybody is told."""
    await bus.ensure_table(DESIRED_STREAM, DESIRED_PREFIX)
    await bus.ensure_table(OBSERVED_STREAM, OBSERVED_PREFIX)


async def make_room_for_files(bus: Bus, size: int) -> None:
    """Make the stream of the gateway's chunks."""
    stream, prefix = chunks_stream(GATEWAY), files_prefix(GATEWAY)
    await bus.ensure_chunks(stream, prefix, max_bytes=size, taken_in=chunks_prefix(GATEWAY))


async def order(bus: Bus, **spec: Any) -> None:
    """Do what a hub does for a Stream: its log, the gateway's order and the sink's."""
    taken_in = uplink_prefix(GATEWAY)
    await bus.ensure_log(lab_stream(GATEWAY), lab_prefix(GATEWAY), max_bytes=_LOG_BYTES, taken_in=taken_in)
    created = (await LogTrimmer(bus, lab_stream(GATEWAY)).extent()).created
    whole = StreamSpec.model_validate({"gateway": GATEWAY, "home": CLUSTER, **spec})
    stream = StreamOrder(namespace=NAMESPACE, name=STREAM, spec=whole, log_created=created)
    desired = bus.table(DESIRED_STREAM, desired_prefix("cluster", CLUSTER))
    await desired.put(f"stream/{NAMESPACE}/{STREAM}", stream.encode())
    told = GatewayOrder(outbox_bytes=_OUTBOX_BYTES, streams=(stream,))
    await bus.table(DESIRED_STREAM, desired_prefix("gateway", GATEWAY)).put("streams", told.encode())


async def heard(bus: Bus) -> None:
    """Return when the gateway has been heard of."""
    async for _ in bus.table(OBSERVED_STREAM, observed_prefix("gateway", GATEWAY)).follow("heartbeat"):
        return


@contextlib.asynccontextmanager
async def passing_on_commits(bus: Bus) -> AsyncIterator[None]:
    """Do what the hub does with the reports of sinks: tell the gateway what they have in files."""
    observed = bus.table(OBSERVED_STREAM, observed_prefix("gateway", GATEWAY))
    desired = bus.table(DESIRED_STREAM, desired_prefix("gateway", GATEWAY))

    async def pass_on() -> None:
        async for item in observed.follow("committed"):
            if isinstance(item, Change) and item.value is not None:
                await desired.put(item.key, item.value)

    task = asyncio.create_task(pass_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _be_sink(nats: str, folder: str, **_: Any) -> None:
    """Be a sink until killed."""
    from atoll.edge.sink.main import run
    from atoll.edge.sink.settings import SinkSettings

    await run(SinkSettings(CLUSTER, NAMESPACE, Membership(nats), Path(folder)))


async def _be_gateway(nats: str, folder: str, **more: Any) -> None:
    """Be a gateway until killed, with nothing of a sink in its memory."""
    from atoll.edge.enrolment import EnrolmentSettings
    from atoll.edge.gateway.file_source.roots import Roots
    from atoll.edge.gateway.main import run
    from atoll.edge.gateway.mqtt.settings import BrokerSettings
    from atoll.edge.gateway.settings import GatewaySettings

    broker = BrokerSettings(more.get("broker"), receiver=more.get("receiver", "paho"))
    files = Roots.parse(more.get("files", ()))
    await run(GatewaySettings(GATEWAY, EnrolmentSettings(nats), Path(folder), broker, files=files))


if __name__ == "__main__":
    be = {"gateway": _be_gateway, "sink": _be_sink}[sys.argv[1]]
    asyncio.run(be(**json.loads(sys.argv[2])))
