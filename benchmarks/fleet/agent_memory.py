"""How much memory an agent needs beside a large cluster, and how soon a change there is told.

    python benchmarks/fleet/agent_memory.py [--nodes 5000] [--pods 100000] [--changes 20] [-o json]

The agent is the whole process that users run, with a real nats-server for its reports; the cluster is another process.
Beside it, a plain client follows nodes and pods through the same door and keeps the whole objects. Fails above the
limit of 700 MB, or if the agent's report of the cluster is wrong.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import structlog
import yaml

from atoll.edge.member.informer import Informer
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Kind
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import InventoryReport
from atoll.federation.bus.subjects import (
    DESIRED_PREFIX,
    DESIRED_STREAM,
    OBSERVED_PREFIX,
    OBSERVED_STREAM,
    observed_prefix,
)
from atoll.federation.bus.table import Table
from atoll.local.nats import NatsSettings, find_server, write_config

CLUSTER = "big"
LIMIT_MB = 700
PARTS = ("inventory", *(f"inventory/{part}" for part in ("nodes", "storage", "devices", "queues", "network")))
MAX_REPORT_BYTES = 512 * 1024
WAIT_SECONDS = 120.0


@contextlib.contextmanager
def process(*command: str | Path, log: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a command for the time of a block."""
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(log.open("a")) if log else None
        running = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True))
        stack.callback(running.kill)
        yield running


def memory_mb(pid: int) -> tuple[float, float]:
    """Read a process' resident memory and the most that it ever was, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = {
        name: int(rest.split()[0]) / 1000 for name, _, rest in (line.partition(":") for line in lines) if "kB" in rest
    }
    return values["VmRSS"], values["VmHWM"]


def free_port() -> int:
    """Give a loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """Read how long a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def plain(kubeconfig: Path) -> None:
    """Follow nodes and pods and keep them whole; say so on standard output."""
    kube = await Kube.connect(kubeconfig)
    informers = [Informer(kube, Kind("v1", kind), project=lambda obj: obj) for kind in ("Node", "Pod")]
    tasks = [asyncio.create_task(informer.run()) for informer in informers]
    for informer in informers:
        await informer.has_synced.wait()
    print("synced", flush=True)
    await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def observed_table(home: Path) -> AsyncIterator[tuple[str, Table]]:
    """Run a nats-server; give its address and the table of the agent's reports."""
    settings = NatsSettings(free_port(), home / "nats")
    write_config(settings, home / "nats.conf")
    with process(find_server(), "-c", home / "nats.conf", log=home / "nats.log"):
        bus = await Bus.connect(settings.url, name="benchmark", wait_seconds=10)
        try:
            for stream, prefix in ((DESIRED_STREAM, DESIRED_PREFIX), (OBSERVED_STREAM, OBSERVED_PREFIX)):
                await bus.ensure_table(stream, prefix)
            yield settings.url, bus.table(OBSERVED_STREAM, observed_prefix("cluster", CLUSTER))
        finally:
            await bus.close()


async def reported(table: Table, *, free_gpus: int | None = None) -> InventoryReport:
    """Wait for the inventory, or for one with so many free GPUs."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        change = await table.get("inventory")
        if change and change.value:
            report = InventoryReport.decode(change.value)
            if free_gpus in (None, sum(gpu.count for gpu in report.inventory.free_gpus)):
                return report
        await asyncio.sleep(0.02)
    raise SystemExit(f"the agent reported no such inventory within {WAIT_SECONDS:g} s")


async def change_seconds(url: str, table: Table, report: InventoryReport, count: int) -> list[float]:
    """Delete pods that have a GPU, one after the other; measure until the GPU is reported free."""
    free = sum(gpu.count for gpu in report.inventory.free_gpus)
    times: list[float] = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        for pod in await gpu_pods(http, count):
            began = time.perf_counter()
            (await http.delete(f"/api/v1/namespaces/{pod[0]}/pods/{pod[1]}")).raise_for_status()
            free += 1
            await reported(table, free_gpus=free)
            times.append(time.perf_counter() - began)
            await asyncio.sleep(1.5)  # changes that come alone; a burst is told once a second
    return sorted(times)


async def gpu_pods(http: httpx.AsyncClient, count: int) -> list[tuple[str, str]]:
    """Name some pods that have a GPU."""
    answer = (await http.get("/api/v1/pods", params={"limit": str(100 * count)})).json()
    found = [
        (item["metadata"]["namespace"], item["metadata"]["name"])
        for item in answer["items"]
        if "nvidia.com/gpu" in item["spec"]["containers"][0]["resources"]["requests"]
    ]
    return found[:count]


async def measure_agent(home: Path, kubeconfig: Path, url: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure the agent from its start to its reports of single changes."""
    async with observed_table(home) as (nats, table):
        began = time.monotonic()
        arguments = ["--cluster", CLUSTER, "--nats", nats, "--state-dir", home / "agent", "--kubeconfig", kubeconfig]
        with process(sys.executable, "-m", "atoll.cli", "agent", *arguments, log=home / "agent.log") as agent:
            report = await reported(table)
            first_seconds = time.monotonic() - began
            assert report.inventory.nodes == options.nodes, f"{report.inventory.nodes} nodes were reported"
            times = await change_seconds(url, table, report, options.changes)
            await asyncio.sleep(3)
            busy = cpu_seconds(agent.pid)
            await asyncio.sleep(10)
            busy = (cpu_seconds(agent.pid) - busy) / 10
            rss, peak = memory_mb(agent.pid)
            sizes = {part: len(change.value or b"") for part in PARTS if (change := await table.get(part))}
    assert max(sizes.values()) < MAX_REPORT_BYTES, sizes
    return {
        "agent_rss_mb": round(rss, 1),
        "agent_peak_mb": round(peak, 1),
        "first_report_seconds": round(first_seconds, 1),
        "change_told_median_seconds": round(times[len(times) // 2], 3),
        "change_told_slowest_seconds": round(times[-1], 3),
        "idle_cores": round(busy, 4),
        "shapes": len(report.inventory.shapes),
        **{f"bytes {part}": size for part, size in sizes.items()},
    }


def measure_plain(kubeconfig: Path) -> dict[str, float]:
    """Measure a client that keeps whole objects."""
    with process(sys.executable, __file__, "--plain", kubeconfig) as client:
        assert client.stdout is not None
        assert client.stdout.readline().strip() == "synced"
        time.sleep(3)
        rss, peak = memory_mb(client.pid)
    return {"plain_rss_mb": round(rss, 1), "plain_peak_mb": round(peak, 1)}


def measure(options: argparse.Namespace) -> dict[str, float | str]:
    """Serve the cluster, then measure agent and plain client one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = Path(__file__).with_name("big_cluster.py")
        sizes = ["--nodes", str(options.nodes), "--pods", str(options.pods)]
        with process(sys.executable, server, *sizes) as cluster:
            assert cluster.stdout is not None
            url = f"http://127.0.0.1:{int(cluster.stdout.readline())}"
            kubeconfig = write_kubeconfig(home / "kubeconfig", url)
            result = asyncio.run(measure_agent(home, kubeconfig, url, options)) | measure_plain(kubeconfig)
    return {
        "nodes": options.nodes,
        "pods": options.pods,
        **result,
        "ratio": round(result["plain_rss_mb"] / result["agent_rss_mb"], 1),
        "limit_mb": LIMIT_MB,
        "python": platform.python_version(),
        "cores": os.cpu_count() or 0,
    }


def write_kubeconfig(path: Path, url: str) -> Path:
    """Write how to reach an API server that asks for no credentials."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CLUSTER,
        "clusters": [{"name": CLUSTER, "cluster": {"server": url}}],
        "users": [{"name": CLUSTER, "user": {}}],
        "contexts": [{"name": CLUSTER, "context": {"cluster": CLUSTER, "user": CLUSTER}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def main(arguments: Sequence[str]) -> None:
    """Parse, measure, print."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=20, help="How many single changes are timed.")
    parser.add_argument("--plain", type=Path, metavar="KUBECONFIG", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    if options.plain:
        asyncio.run(plain(options.plain))
        return
    result = measure(options)
    if options.output == "json":
        print(json.dumps(result))
    else:
        width = max(map(len, result))
        for name, value in result.items():
            print(f"{name:{width}}  {value}")
    if float(result["agent_peak_mb"]) > LIMIT_MB:
        raise SystemExit(f"the agent took {result['agent_peak_mb']} MB, more than {LIMIT_MB}")


if __name__ == "__main__":
    main(sys.argv[1:])
