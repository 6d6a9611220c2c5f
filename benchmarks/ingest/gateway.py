"""What the gateway's intake costs: readings of 20 instruments from a broker until they are durable and acknowledged.

Every contender drains the same readings, which the broker has queued for its session before: mosquitto_sub into a file
(no durability, no acknowledgement by hand), paho that only acknowledges, and the intake with either receiver, into the
outbox on this disk. One process each, one after the other, in an order that changes with every round; CPU is user and
system time from the connection on.

    python benchmarks/ingest/gateway.py [--readings 60000] [--bytes 200] [--rounds 3]
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

from atoll.edge.gateway.drafts import Message
from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.mqtt import Broker, BrokerAddress, Session, packets
from atoll.edge.gateway.outbox import Outbox
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import RecentPackets
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.resources.stream import StreamSpec

INSTRUMENTS, WINDOW = 20, 100
CONTENDERS = ("mosquitto_sub", "paho alone", "intake, paho", "intake, fast")
Result = dict[str, float]


def leave_out(program: str) -> NoReturn:
    """End as a measure that lacks something on this machine, which is no failure: benchmarks.suite.running."""
    print(f"needs {program} (apt-get install mosquitto mosquitto-clients)", file=sys.stderr)
    sys.exit(77)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=60_000)
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--drain", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drain:
        print(json.dumps(asyncio.run(drain(options.drain, options.port, options.readings))))
        return
    with tempfile.TemporaryDirectory() as home:
        rounds = [measure(Path(home) / str(number), number, options) for number in range(options.rounds)]
    result = {contender: summary(contender, rounds, options.readings) for contender in CONTENDERS}
    print(json.dumps(result)) if options.output == "json" else report(result)


def measure(home: Path, number: int, options: argparse.Namespace) -> dict[str, Result]:
    """Let every contender drain one load."""
    home.mkdir()
    port, broker = start_broker(home)
    try:
        for contender in CONTENDERS:
            subscribe(contender, port)
        asyncio.run(publish(port, options.readings, options.bytes))
        turn = number % len(CONTENDERS)
        order = (*CONTENDERS[turn:], *CONTENDERS[:turn])
        return {contender: run(contender, port, options.readings, home) for contender in order}
    finally:
        broker.terminate()
        broker.wait()


def start_broker(home: Path, *more: str) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a mosquitto that keeps everything in memory, unless `more` lines of its configuration say otherwise."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = home / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
        + "".join(f"{line}\n" for line in more)
    )
    config.chmod(0o644)
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    binary = shutil.which("mosquitto", path=path) or leave_out("mosquitto")
    process = subprocess.Popen([binary, "-c", config], stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return port, process
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("mosquitto does not listen")


def sub_command(contender: str, port: int, *more: str) -> list[str]:
    return ["mosquitto_sub", "-p", str(port), "-c", "-i", contender, "-q", "1", "-t", "lab/#", *more]


def subscribe(contender: str, port: int) -> None:
    """Make the session that the broker queues for."""
    subprocess.run(sub_command(contender, port, "-E"), check=True)


async def publish(port: int, readings: int, size: int) -> None:
    """Publish from all instruments at once, each a window of unacknowledged readings at a time."""
    await asyncio.gather(*(instrument(port, n, readings // INSTRUMENTS, size) for n in range(INSTRUMENTS)))


async def instrument(port: int, number: int, readings: int, size: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connect = packets.Connect(f"instrument-{number}", False, 60, 0, WINDOW, 1 << 20)
    writer.write(connect.encode())
    await reader.readexactly(4)
    for start in range(0, readings, WINDOW):
        batch = [reading(number, index, size) for index in range(start, min(start + WINDOW, readings))]
        writer.write(b"".join(batch))
        await reader.readexactly(4 * len(batch))  # a PUBACK has four bytes
    writer.close()
    await writer.wait_closed()


def reading(instrument: int, index: int, size: int) -> bytes:
    """Give a PUBLISH at QoS 1: half of its payload is noise, so it compresses as measurements do."""
    payload = (f'{{"n": {index}, "v": "{os.urandom(size // 4).hex()}"}}'.encode() + b" " * size)[:size]
    topic = f"lab/i{instrument}/data".encode()
    body = len(topic).to_bytes(2, "big") + topic + (index % 65_535 + 1).to_bytes(2, "big") + payload
    length, encoded = len(body), bytearray()
    while True:
        length, low = length >> 7, length & 127
        encoded.append(low | 128 if length else low)
        if not length:
            return b"\x32" + bytes(encoded) + body


def run(contender: str, port: int, readings: int, home: Path) -> Result:
    """Drain a session in a process of its own."""
    if contender == "mosquitto_sub":
        command = sub_command(contender, port, "-C", str(readings))
        began, before = time.monotonic(), children()
        with (home / "readings").open("wb") as file:
            subprocess.run(command, stdout=file, check=True)
        return {"seconds": time.monotonic() - began, "cpu": children() - before}
    command = [sys.executable, __file__, "--drain", contender, "--port", str(port), "--readings", str(readings)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=home).stdout
    result: Result = json.loads(output)
    return result


def children() -> float:
    times = os.times()
    return times.children_user + times.children_system


async def drain(contender: str, port: int, readings: int) -> Result:
    """Take in all readings that the broker has for a contender."""
    receiver: Any = "fast" if contender.endswith("fast") else "paho"
    versions: Any = ("5",)
    broker = Broker(BrokerAddress("127.0.0.1", port), Session(contender, versions=versions), receiver=receiver)
    broker.subscribe({"lab/#": 1})
    counted = Counted(broker)
    began, cpu = time.monotonic(), time.process_time()
    broker.start()
    intake = asyncio.create_task(into_outbox(counted) if contender.startswith("intake") else only_acknowledge(counted))
    await counted.until(readings)
    result = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    intake.cancel()
    await asyncio.wait({intake})
    await broker.close()
    return result


class Counted:
    """A broker that counts what is acknowledged to it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._left, self._is_through = 0, asyncio.Event()
        self.receive, self.publish = broker.receive, broker.publish

    async def until(self, readings: int) -> None:
        """Wait for the last of so many readings."""
        self._left += readings
        await self._is_through.wait()

    @property
    def is_subscribed(self) -> bool:
        return self._broker.is_subscribed

    def acknowledge(self, messages: Iterable[Message]) -> None:
        batch = list(messages)
        self._broker.acknowledge(batch)
        self._left -= len(batch)
        if not self._left:
            self._is_through.set()


async def only_acknowledge(broker: Counted) -> None:
    while True:
        broker.acknowledge((await broker.receive()).messages)


async def into_outbox(broker: Counted) -> None:
    spec = StreamSpec(gateway="lab", topics=("lab/+/data",), dataset="d.{date}", home="c")
    packer = Packer((StreamOrder(namespace="ns", name="s", spec=spec),), recent=RecentPackets())
    outbox = Outbox(Path(tempfile.mkdtemp(dir=Path.cwd())) / "outbox.db", gateway="lab")
    intake = Intake(outbox, packer, on_stored=lambda: None, on_files=lambda _: None)
    try:
        await intake.run(broker)
    finally:
        outbox.close()


def summary(contender: str, rounds: list[dict[str, Result]], readings: int) -> Result:
    """Give the medians of one contender, beside mosquitto_sub in the same round."""
    return {
        "readings_per_second": median(readings / one[contender]["seconds"] for one in rounds),
        "ratio": median(one["mosquitto_sub"]["seconds"] / one[contender]["seconds"] for one in rounds),
        "cpu_us": median(one[contender]["cpu"] / readings * 1e6 for one in rounds),
        "cpu_ratio": median(one[contender]["cpu"] / one["mosquitto_sub"]["cpu"] for one in rounds),
    }


def report(result: dict[str, Result]) -> None:
    """Print a line for each contender."""
    print(f"{'':16}{'readings/s':>12}{'ratio':>8}{'CPU us':>9}{'CPU ratio':>11}")
    for contender, told in result.items():
        print(
            f"{contender:16}{told['readings_per_second']:12,.0f}{told['ratio']:8.2f}"
            f"{told['cpu_us']:9.1f}{told['cpu_ratio']:11.2f}"
        )


if __name__ == "__main__":
    if shutil.which("mosquitto_sub") is None:
        leave_out("mosquitto_sub")
    main()
